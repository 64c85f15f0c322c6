"""Pauses and limits of the bot's side of Slack. Tests pass their own to `open_bot`."""

from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class EditLimits:
    """How often messages are edited. Times in seconds.

    Slack allows about 50 `chat.update` a minute for all messages of a workspace together.
    Source: Slack docs, "Rate limits" (tier 3, one-minute windows, `Retry-After`).
    """

    per_minute: int = 45
    """Edits of all messages together."""
    spacing_s: float = 2.0
    """Between two edits of one message."""
    refresh_s: float = 10.0
    """A running message is refreshed this often while few deployments run."""
    refreshes_per_minute: int = 40
    """All routine refreshes together; with many deployments each message gets fewer."""
    routine_spacing_s: float = 0.5
    """Between the start of a routine edit and the edit before it: no bursts after a restart."""
    overdue_s: float = 90.0
    """A refresh that waited this much longer than it should is as urgent as a new phase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeLimits:
    """How often open Home tabs are refreshed.

    Slack allows about 100 `views.publish` a minute for a workspace. Source: Slack docs, "Rate
    limits" (tier 4). Openings need some of them.
    """

    look: timedelta = timedelta(seconds=2)
    """Between two looks whether something is due."""
    spacing: timedelta = timedelta(seconds=5)
    """Between two versions of one person's tab, while few have one open."""
    per_minute: int = 60
    """Refreshes of all tabs together; with many open ones each gets fewer."""
    people: int = 50
    """Those who opened it last; who opened it before them sees a new version on the next visit."""
    open_for: timedelta = timedelta(minutes=10)
    """Slack does not say when a tab is closed."""
    pause: timedelta = timedelta(seconds=30)
    """After a call without an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackLimits:
    """All of them."""

    edits: EditLimits = field(default_factory=EditLimits)
    home: HomeLimits = field(default_factory=HomeLimits)
    form_check_s: float = 1.0
    """How long the ack of a submitted form may wait for the list of apps; Slack waits 3 s."""
    options_s: float = 2.0
    """How long a searched field of the form waits for the repository; Slack waits 3 s."""
    untried_reply: timedelta = timedelta(seconds=30)
    """A thread reply younger than this, never tried here, cannot have been sent by another
    process: each holds its rows for longer. Older ones are looked for in the thread first."""
    message_comes: timedelta = timedelta(minutes=2)
    """So long a reply waits for a message that a killed process did not post: the next one does."""
    thread_page: int = 200
    """Messages per page when a thread is searched."""
