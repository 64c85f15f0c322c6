"""From Slack to the app: one envelope, three seconds, and retries for events only."""

import asyncio
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from bot.simulators.slack.clock import Clock, Timings
from bot.simulators.slack.feed import Feed
from bot.simulators.slack.model import Json

EnvelopeKind = Literal["events_api", "slash_commands", "interactive"]
FailureReason = Literal["timeout", "http_error", "connection_failed"]


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """Something for the app."""

    kind: EnvelopeKind
    payload: Json
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Which retry this is, and why the last try counted as failed."""

    number: int
    reason: FailureReason


@dataclass(frozen=True, kw_only=True)
class Ack:
    """The app took it. `response` is the body it sent along (dict, plain text, or None)."""

    after_s: float
    response: Json | str | None


@dataclass(frozen=True, kw_only=True)
class NoAck:
    """The app did not take it."""

    reason: FailureReason
    final: bool = False
    """The app asked Slack not to try again (`x-slack-no-retry`)."""


class Transport(Protocol):
    """Socket Mode or HTTP."""

    async def attempt(
        self, envelope: Envelope, *, retry: Retry | None, timeout_s: float
    ) -> Ack | NoAck:
        """Hand the envelope over once."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One line of the delivery log."""

    at: datetime
    envelope: Envelope
    retry: Retry | None
    outcome: Ack | NoAck


class Delivery:
    """Hands envelopes to the transport and keeps the log of all attempts."""

    def __init__(self, *, transport: Transport, clock: Clock, timings: Timings, feed: Feed) -> None:
        self._transport = transport
        self._clock = clock
        self._timings = timings
        self._feed = feed
        self._tasks: set[asyncio.Task[None]] = set()
        self._may_go = asyncio.Event()
        self._may_go.set()
        self.attempts: list[Attempt] = []
        self.acks_to_lose = 0

    async def send(self, envelope: Envelope, *, retry: Retry | None = None) -> Ack | NoAck:
        """One try: all that commands and interactions get."""
        await self._may_go.wait()
        at = self._clock.now()
        outcome = await self._transport.attempt(
            envelope, retry=retry, timeout_s=self._timings.ack_s
        )
        if isinstance(outcome, Ack) and self.acks_to_lose > 0:
            self.acks_to_lose -= 1
            outcome = NoAck(reason="timeout")
        self.attempts.append(Attempt(at=at, envelope=envelope, retry=retry, outcome=outcome))
        self._feed.add("delivery", f"{envelope.kind} {type(outcome).__name__}")
        return outcome

    def publish(self, payload: Json) -> None:
        """Send an event, and again after each pause until the app takes it."""
        self.spawn(self._publish(Envelope(kind="events_api", payload=payload)))

    async def _publish(self, envelope: Envelope) -> None:
        retry: Retry | None = None
        for pause_s in (*self._timings.event_retries_s, None):
            outcome = await self.send(envelope, retry=retry)
            if isinstance(outcome, Ack) or outcome.final or pause_s is None:
                return
            retry = Retry(number=(retry.number if retry else 0) + 1, reason=outcome.reason)
            await asyncio.sleep(pause_s)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something that ends at the latest with the workspace."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def pause_for_test(self) -> None:
        """Nothing leaves Slack until `resume_for_test`."""
        self._may_go.clear()

    def resume_for_test(self) -> None:
        """Let everything go that has waited."""
        self._may_go.set()

    async def close(self) -> None:
        """Stop trying."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
