"""How long the parts of an SSH connection wait, and how much they carry."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SshLimits:
    """Pauses in seconds and other limits. Bootstrap passes them in; tests shorten them."""

    # --- logins
    connect_s: float = 10.0
    """One login, from the name lookup to the accepted key."""
    login_tries: int = 3
    """Tries of one login for questions: OpenSSH drops logins that come too fast (MaxStartups)."""
    cool_down_s: float = 1.0
    """Pause before the next login after a failed one; doubled by each further failure."""
    longest_cool_down_s: float = 30.0
    login_again_s: float = 5.0
    """Between logins to a server that did not answer, while nothing is asked of it."""

    # --- keepalives
    question_alive_s: float = 15.0
    question_alive_count: int = 3
    deploy_alive_s: float = 30.0
    """Dokku survives a network blackout that the bot waits out, and kills the deploy when the bot
    gives up first. So a deploy's connection is given up after 10 minutes only."""
    deploy_alive_count: int = 20

    # --- questions
    question_s: float = 8.0
    """One answer."""
    most_patience: int = 4
    """A slow server gets at most this many times as long for an answer."""
    secrets_s: float = 3.0
    """An app's config, asked for before each deploy: longer would delay the deploy."""
    late_secrets_s: float = 60.0
    """So much longer its answer is waited for, while the deploy goes on."""
    output_s: float = 60.0
    """The whole text of a build."""
    silence_s: float = 2.0
    """A caller that stops waiting after this time proves that the server does not answer."""
    answer_bytes: int = 64 * 1024 * 1024
    channels: int = 8
    """Questions at once on one connection. OpenSSH allows 10; it frees a channel a little late."""
    channel_tries: int = 8
    fewer_channels_s: float = 60.0
    """For this long a channel that the server refused is not tried again."""
    heavy: int = 1
    """Questions at once that cost a server much (`ps:inspect`): more only compete for its CPU."""
    heavy_times: int = 2
    """How many times as long as another question such a one may take."""
    quiet_s: float = 1.0
    """A log that is followed has been read when nothing more came for this long."""
    followed_s: float = 4.0
    """The longest look at a log that never falls silent, or that is empty."""
    abandoned_s: float = 120.0
    """A connection whose answer did not come in time is closed after this time."""

    # --- deploys
    start_s: float = 30.0
    """Sending the deploy command on an open connection."""
    stream_chars: int = 16_000_000
    """Output that is kept until the bot takes it."""
    run_s: float = 60.0
    """The answer to `run:detached`: 3 s were recorded, and a busy server takes longer."""
    head_s: float = 3.0
    """The first line of a build's output."""
    follow_alive_count: int = 3
    """A connection that only reads a build's output is cheap to lose: the bot opens another."""
    follow_burst_s: float = 0.5
    """After such a pause, all that was stored of a followed build's output has arrived."""
    follow_quiet_s: float = 1.0
    """After so long without output, the bot checks the record: the build may have ended."""
    longest_follow_pause_s: float = 10.0
    """Between two such questions while it goes on printing nothing."""
    hang_up_s: float = 1.0
    """A polite close; afterwards the connection is cut."""
