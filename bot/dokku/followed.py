"""The output of a build that runs by itself: `builds:output`, read until the build has ended."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import asyncssh

from bot.dokku.channel import Command
from bot.dokku.log_markers import Line
from bot.dokku.stream import Stream
from bot.errors import DokkuError

SENT_AT_ONCE = 1000
"""Lines of a running build that Dokku shows before it follows (`tail -n 1000 -f`)."""


class FollowedBuild(Stream):
    """Closing it ends nothing on the server.

    The command does not end with the build (recording o): the record is asked for whenever the
    output pauses. It has no exit status: that of `builds:output` says nothing of the build.
    """

    def __init__(
        self,
        ssh: asyncssh.SSHClientConnection,
        command: Command,
        *,
        seen: Sequence[str],
        is_over: Callable[[], Awaitable[bool]],
        **more: Any,
    ) -> None:
        """`seen`: the lines that were read before; `more`: as for `Stream`."""
        self._seen = seen
        self._first: list[Line] | None = [] if seen else None
        """What was sent at once, until it is compared with `seen`."""
        self._is_over = is_over
        self.head: str | None = None
        """The first line as it was sent, to compare and never to show."""
        super().__init__(ssh, command, **more)

    @property
    def exit_status(self) -> int | None:
        return None

    async def _read_to_end(self) -> None:
        watching = asyncio.create_task(self._watch())
        try:
            await super()._read_to_end()
        finally:
            watching.cancel()
            await asyncio.wait({watching})
            self._compare()

    def _keep(self, lines: Sequence[Line]) -> None:
        if self.head is None and lines:
            self.head = lines[0].text
        if self._first is None:
            super()._keep(lines)
            return
        self._first += lines
        if len(self._first) >= SENT_AT_ONCE:
            self._compare()

    def _compare(self) -> None:
        first, self._first = self._first, None
        if first:
            super()._keep(first[overlap(self._seen, [line.shown for line in first]) :])
            self._changed.set()

    async def _watch(self) -> None:
        limits, pause_s = self._limits, self._limits.follow_quiet_s
        asked_at = self._monotonic()
        while True:
            due = max(self._last_byte_at + limits.follow_quiet_s, asked_at + pause_s)
            if self._first is not None:
                due = min(due, self._last_byte_at + limits.follow_burst_s)
            await asyncio.sleep(max(limits.follow_burst_s / 2, due - self._monotonic()))
            quiet_s = self._monotonic() - self._last_byte_at
            if self._first is not None and quiet_s >= limits.follow_burst_s:
                self._compare()
            if quiet_s < limits.follow_quiet_s:
                pause_s = limits.follow_quiet_s
            elif self._monotonic() - asked_at >= pause_s:
                asked_at = self._monotonic()
                pause_s = min(2 * pause_s, limits.longest_follow_pause_s)
                if await self._has_ended():
                    self._command.close()
                    return

    async def _has_ended(self) -> bool:
        # Without an answer it goes on: the polls know what a silent server means.
        with suppress(DokkuError):
            return await self._is_over()
        return False


def overlap(seen: Sequence[str], now: Sequence[str]) -> int:
    """How many lines of `now` were the last ones of `seen`: the most that fit.

    Too many only hides lines until the build has ended, when its whole output is read.
    """
    for count in range(min(len(seen), len(now)), 0, -1):
        if seen[-count] == now[0] and list(seen[-count:]) == list(now[:count]):
            return count
    return 0
