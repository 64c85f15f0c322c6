"""Every duration and limit that the domain counts with."""

from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class LockTiming:
    """How a deploy lock behaves before Dokku 0.38, where it is the only proof of a death."""

    pause: timedelta = timedelta(milliseconds=500)
    """Between two questions about a lock that is held."""
    dies_within: timedelta = timedelta(seconds=6)
    """How long after the connection ended the lock is watched closely: a deploy that prints is
    dead, and its lock free, within 2 s (recording m1)."""
    stays_free: timedelta = timedelta(seconds=3)
    """A good end frees the lock first and writes the recorded source 0.4 s later (recording b)."""
    fetch_lives_on: timedelta = timedelta(seconds=60)
    """How long a silent fetch, which holds no lock, may outlive its connection: 11 s were seen.
    Whatever prints after it kills it before the release. A cancel waits as long for a fetch to
    become a build, so it never takes more than twice as long as the proof takes without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Settings first (product contract, section 4), then limits that no setting changes."""

    poll_interval: timedelta = timedelta(seconds=10)
    poll_timeout: timedelta = timedelta(seconds=8)
    max_poll_errors: int = 5
    settle: timedelta = timedelta(seconds=10)
    queue_ttl: timedelta = timedelta(hours=2)
    approval_ttl: timedelta = timedelta(hours=2)
    tracker_ttl: timedelta = timedelta(minutes=5)
    late_interval: timedelta = timedelta(seconds=60)
    late_duration: timedelta = timedelta(hours=2)

    # Leases
    lease: timedelta = timedelta(seconds=20)
    heartbeat: timedelta = timedelta(seconds=5)
    answer_within: timedelta = timedelta(seconds=4)
    """The longest wait for the answer to a renewal; then the next one is sent beside it."""
    store_retry: timedelta = timedelta(seconds=1)
    """Between tries while the database does not answer."""

    withdraw_within: timedelta = timedelta(seconds=5)
    """How long the error of a failed request waits until its row is withdrawn."""

    # Waiting
    twin_look: timedelta = timedelta(milliseconds=200)
    """Between looks whether the message of another request for the same commit is posted."""
    twin_posts_within: timedelta = timedelta(seconds=5)
    """How long a request waits for that message before it is added anyway."""
    most_waiting_of_app: int = 50
    """A longer queue of one app only deploys what nobody waits for any more."""
    most_waiting_of_person: int = 300
    """Enough for someone who deploys every app; too few to fill the database."""

    # Starting
    look_for_work: timedelta = timedelta(seconds=5)
    """How often each replica looks for queued deployments and missing messages."""
    longest_look_pause: timedelta = timedelta(seconds=1)
    """A look for work is followed by a pause as long as itself, but never by a longer one."""
    lookup_grace: timedelta = timedelta(milliseconds=500)
    start_window: timedelta = timedelta(seconds=60)
    start_tries: int = 3
    cancel_request_look: timedelta = timedelta(seconds=5)
    """Between two tries to start, how often a cancel request is looked for."""
    record_wait: timedelta = timedelta(seconds=5)
    """How long a record may be shown running after the command's end, and how long a command that
    was sent may take to get its record."""
    trace_pause: timedelta = timedelta(milliseconds=500)
    """Between looks for the record of a command that may have been sent."""
    posting: timedelta = timedelta(seconds=20)
    """A younger row without a message is probably being posted by another process."""
    place_pause: timedelta = timedelta(seconds=1)
    """Before another try, after another replica took the last free place on a server."""

    # In a one-off container
    run_wait: timedelta = timedelta(seconds=60)
    """How long a container may take until its build begins: 3 s were recorded (m9)."""

    # Running
    first_poll: timedelta = timedelta(seconds=1)
    """The build record exists half a second after the start; its id must be stored at once."""
    log_look: timedelta = timedelta(milliseconds=250)
    """Between looks at the output: lines come in bursts, and each look may write."""
    log_flush: timedelta = timedelta(seconds=1)
    log_last_tries: int = 5
    """How often a store that refuses the last lines is asked again."""
    silent_intervals: int = 5
    """A connection that sends nothing for this many poll intervals no longer counts as contact."""
    log_grows_within: timedelta = timedelta(seconds=2)
    """Between two looks at the log of a build that may live, where no earlier look is known."""
    log_looked_lately: timedelta = timedelta(seconds=30)
    """A look older than this does not count as the earlier one."""
    record_fresh: timedelta = timedelta(seconds=2)
    """How old an answer about a build may be when `builds:cancel`, which takes no id, is sent. What
    waits needs longer to see that the build has ended, to start and to take the deploy lock."""
    server_cancel_pause: timedelta = timedelta(seconds=30)
    """After a request to cancel a build on the server, so long none is taken again."""
    queue_hold_tries: int = 10
    queue_hold_pause: timedelta = timedelta(milliseconds=500)
    """How often, and how long after each other, the first of a queue is tried to be held back."""
    cancel_tries: int = 5
    cancel_pause: timedelta = timedelta(seconds=1)

    # Finishing
    record_pause: timedelta = timedelta(milliseconds=100)
    read_pause: timedelta = timedelta(seconds=2)
    """Between tries to read the evidence."""
    look_again: timedelta = timedelta(seconds=2)
    """Between looks that only wait for the server to be readable, for processes to be replaced, or
    for a command that was hung up on to die."""
    watch_death_for: timedelta = timedelta(seconds=60)
    """How long after a cancel hung up the command's death is looked for at that pace: a silent
    fetch was seen to outlive its client by 11 s (recording l6)."""
    start_again_within: timedelta = timedelta(minutes=10)
    """A loss older than this is not followed by a second start."""
    own_error_tries: int = 3
    own_error_pause: timedelta = timedelta(seconds=2)
    """After an unexpected error of the bot, a worker goes on this often, with this pause."""
    hand_over_notice: timedelta = timedelta(seconds=2)
    """So long before the drain ends, messages say that what runs is handed over: each may be edited
    every 2 s."""
    drain_grace: timedelta = timedelta(seconds=1)
    """At shutdown, how long work that has not begun gets to stop by itself."""

    # After the result
    late_look: timedelta = timedelta(minutes=2)
    """The longest look at one deployment, the settle time included."""
    sent_lives_on: timedelta = timedelta(minutes=16)
    """A command that a silent network swallowed may still arrive: TCP resends it for 15 min."""
    crash_looks: timedelta = timedelta(minutes=10)
    """For how long after a success a crash loop is reported in the thread."""

    lock: LockTiming = field(default_factory=LockTiming)
