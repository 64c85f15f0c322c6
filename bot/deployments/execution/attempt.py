"""What is known of the command of one deployment while it is driven: one record, one owner."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from bot.deployments.model import LogFacts
from bot.deployments.ports import DeployStream


class Attempt:
    """The connection, the output, the time limit and the checks of the current start.

    Its worker makes it. Others read its fields; every change goes through a method.
    """

    def __init__(self, now: float) -> None:
        """`now` and all other instants are monotonic seconds."""
        self.last_contact = now
        """When the connection or the former owner was last heard of."""
        self.ended_at = now
        """When the connection ended, however long it had been silent."""
        self.stream: DeployStream | None = None
        self.stream_ended = asyncio.Event()
        self.building = asyncio.Event()
        """Set once the output shows that the build has begun."""
        self.streamed: LogFacts | None = None
        """What the output stated to this process; None: another process read it."""
        self.kept: Sequence[str] | None = None
        """The stored lines, once they were read."""
        self.cap_reached = False
        """The bot itself stopped it, because the longest duration was over."""
        self.last_word = False
        """Waiting longer is not allowed."""
        self.checking_over = False
        """A good end could not be watched for as long as a release may take."""
        self._checking_since: float | None = None

    @property
    def open_stream(self) -> DeployStream | None:
        """The connection to the command, while it is open."""
        return None if self.stream_ended.is_set() else self.stream

    def taken_over(self, since: float, *, cap_reached: bool) -> None:
        """Another owner started it, and was last heard of at `since`."""
        self.last_contact = self.ended_at = since
        self.cap_reached = cap_reached

    def follow(self, stream: DeployStream) -> None:
        """The command was sent."""
        self.stream = stream
        self.stream_ended.clear()

    def connection_ended(self, stream: DeployStream, now: float) -> None:
        """The stream has ended: with the command, or because the connection was lost."""
        self.keep_facts_of(stream)
        self.last_contact = stream.last_byte_at
        self.ended_at = now

    def keep_facts_of(self, stream: DeployStream) -> None:
        """Take what the stream stated so far."""
        self.streamed, self.kept = stream.facts, None

    def keep_lines(self, lines: Sequence[str]) -> None:
        """Remember the stored lines."""
        self.kept = lines

    def begin_again(self) -> None:
        """The first start is proven dead; the second one has no connection yet."""
        self.stream = None
        self.building.clear()

    def stopped_at_cap(self) -> None:
        """The bot stops it because the longest duration is over."""
        self.cap_reached = True

    def stop_waiting(self) -> None:
        """A cancel at the time limit had time to show."""
        self.last_word = True

    def check_again(self, now: float, longest: timedelta) -> None:
        """A good end cannot be watched yet; that may go on for `longest`."""
        if self._checking_since is None:
            self._checking_since = now
        self.checking_over = now - self._checking_since >= longest.total_seconds()
