"""A bot that dies by SIGKILL before or after a chosen call to the outside.

Whatever the bot commits, asks, sends or posts goes through a few methods. In the bot's own process
they are wrapped: a wrapper counts, and kills the process with no chance to clean up.
"""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from bot.deployments.model import Deployment, Phase
from bot.dokku.connection import Connection
from bot.dokku.driver import Driver
from bot.git import GitRefs
from bot.slack import bolt
from bot.slack.client import SlackClient
from bot.store.leases import SqlLeases, SqlLocks
from bot.store.logs import SqlLogs
from bot.store.outbox import SqlOutbox
from bot.store.sql_store import SqlStore
from bot.webhooks.sender import Post
from tests.support.bot_process import Run

When = Literal["before", "after"]
ARMED = "armed"
"""The file in the bot's folder that arms a death which is not armed from the start."""
DIED = "died"
"""The file that names the call at which the process died."""
BEFORE: When = "before"
AFTER: When = "after"

SLACK_CALLS = (
    "authenticate",
    "ephemeral",
    "find_by_metadata",
    "has_reply",
    "open_view",
    "permalink",
    "person",
    "post",
    "post_reply",
    "publish_home",
    "update",
    "update_view",
    "upload",
)
COMMITS: tuple[tuple[type, str, tuple[str, ...]], ...] = (
    (
        SqlStore,
        "store",
        ("ask_cancel", "correct", "create", "place_commits", "place_message", "withdraw"),
    ),
    (SqlLeases, "leases", ("claim", "release", "renew")),
    (SqlLogs, "logs", ("append", "replace")),
    (SqlLocks, "locks", ("follow", "put", "remove", "unfollow")),
    (SqlOutbox, "outbox", ("delivered", "give_up", "retry", "take")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """Where a process dies."""

    call: str = "*"
    """A pattern of calls, such as `ssh git:sync` or `store.save * > succeeded`."""
    when: When | None = None
    """None: before and after count alike."""
    number: int = 1
    """It dies at the so many-th."""
    armed: bool = True
    """False: nothing counts before the file `ARMED` exists."""
    sign: signal.Signals = signal.SIGKILL
    """SIGSTOP: it is suspended, and may be continued."""

    def __str__(self) -> str:
        return f"{self.when or 'at'} {self.call}" + (f" #{self.number}" if self.number > 1 else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class MortalRun:
    """`deploybot run` that ends in this death; picklable."""

    run: Run
    death: Death

    def __call__(self) -> int:
        _wrap_all(_Fate(self.death, Path.cwd()).at)
        return self.run()


class _Fate:
    """Counts, and kills."""

    def __init__(self, death: Death, folder: Path) -> None:
        self._death = death
        self._armed = death.armed
        self._folder = folder
        self._count = 0

    def at(self, call: str, when: When) -> None:
        """The process stands right before or right after a call."""
        death = self._death
        if death.when not in {None, when} or not fnmatchcase(call, death.call):
            return
        if not self._armed:
            self._armed = (self._folder / ARMED).exists()
            if not self._armed:
                return
        self._count += 1
        if self._count == death.number:
            (self._folder / DIED).write_text(f"{when} {call}")
            os.kill(os.getpid(), death.sign)


At = Callable[[str, When], None]
Naming = Callable[..., str]


def _wrap_all(at: At) -> None:
    for owner, prefix, methods in COMMITS:
        for method in methods:
            _wrap(owner, method, at, _named(f"{prefix}.{method}"))
    _wrap(SqlStore, "save", at, _save_name)
    for method in SLACK_CALLS:
        _wrap(SlackClient, method, at, _named(f"slack.{method}"))
    _wrap(Connection, "run", at, lambda _self, argv, **_options: f"ssh {argv[0]}")
    _wrap(Driver, "deploy", at, _named("ssh git:sync"))
    for method in ("commits", "resolve"):
        _wrap(GitRefs, method, at, _named(f"git.{method}"))
    _wrap(Post, "__call__", at, _named("webhook.post"))
    _wrap(bolt._Socket, "handle", at, _named("slack.ack"))


def _wrap(owner: type, method: str, at: At, name: Naming) -> None:
    original = getattr(owner, method)

    async def wrapped(*args: Any, **options: Any) -> Any:
        call = name(*args, **options)
        at(call, BEFORE)
        answer = await original(*args, **options)
        at(call, AFTER)
        return answer

    setattr(owner, method, wrapped)


def _named(name: str) -> Naming:
    return lambda *_args, **_options: name


def _save_name(_self: SqlStore, row: Deployment, *, was: Phase, **_options: Any) -> str:
    return f"store.save {was} > {row.phase}" if was is not row.phase else f"store.save {was}"
