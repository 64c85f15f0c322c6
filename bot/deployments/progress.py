"""What is shown beside a deployment, and what a waiting one waits for. Volatile."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.deployments.model import Actor
from bot.names import quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """What keeps the first in a queue from starting, although this bot runs nothing."""

    what: str
    """One phrase for people."""
    since: datetime | None = None
    """Since when it runs, by the bot's clock; None: not known."""
    stuck: bool = False
    """It has run for longer than a deployment may: it may never end by itself."""
    advice: str = ""
    """What an operator can do about it; empty: it passes by itself."""
    build: str | None = None
    """Of a build that approvers may cancel on the server: its id."""
    left: bool = False
    """It is the build of the deployment ahead, whose connection to it was lost."""
    by: Actor | None = None
    """Of a lock: who holds it."""
    until: datetime | None = None
    """Of a lock: its end, if it has one."""
    why: str = ""
    """Of a lock: the holder's reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What is shown beside the row of a deployment. Volatile: a restart may lose it."""

    step: str | None = None
    tail: tuple[str, ...] = ()
    """Last lines of the log, cleaned and redacted, oldest first (<= 40)."""
    excerpt: tuple[str, ...] = ()
    """After a failure: the lines around the error (<= 10)."""
    checked_at: datetime | None = None
    """When Dokku last answered."""
    stale_since: datetime | None = None
    """Set while Dokku does not answer."""
    stale_why: str | None = None
    """Why it does not answer, as a sentence."""
    slow: bool = False
    """It took the question and has not answered yet: it is busy, not gone."""
    place: int | None = None
    """Place among the waiting, from 1."""
    waits_for: str | None = None
    """One phrase: what a waiting deployment waits for."""
    blocker: Blocker | None = None
    """What it waits for, if that is not this bot's."""
    reading_end: bool = False
    """The command ended, and the evidence is being read."""
    cut_off: bool = False
    """The connection to the command is gone, so it can only be watched."""
    handed_over: bool = False
    """The process that drives it is about to stop; another one goes on."""
    usual: timedelta | None = None
    """Median duration of good deployments, once 3 are known."""
    others: str | None = None
    """One sentence about outside changes while it runs."""
    live_sha: str | None = None
    """Before the start: the last commit proven live, if nothing came after it."""
    notes: tuple[str, ...] = ()
    """Sentences beside the facts."""


def moved_words(ref: str, was: str | None, now: str | None) -> str:
    """What happened to the ref of a deployment that awaits its approval, without a full stop."""
    return f"{quoted(ref)} moved from {short_words(was)} to {short_words(now)} after the request"


def short_words(sha: str | None) -> str:
    """A commit inside a sentence."""
    return sha[:7] if sha else "a commit that is not known before Dokku fetches it"
