"""Delivery from Slack to the app: three seconds to acknowledge, retries only for events."""

import asyncio
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from bot.simulators.slack.changes import ChangeLog
from bot.simulators.slack.clock import Clock, Timings
from bot.simulators.slack.model import Json

EnvelopeKind = Literal["events_api", "slash_commands", "interactive"]
FailureReason = Literal["timeout", "http_error", "connection_failed"]


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """One command, interaction or event for the app."""

    kind: EnvelopeKind
    payload: Json
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True, kw_only=True)
class Retry:
    """The number of this retry, and why the previous attempt failed."""

    number: int
    reason: FailureReason


@dataclass(frozen=True, kw_only=True)
class Ack:
    """The app acknowledged. `response` is the body that it sent (dict, plain text, or None)."""

    after_s: float
    response: Json | str | None


@dataclass(frozen=True, kw_only=True)
class NoAck:
    """The app did not acknowledge."""

    reason: FailureReason
    final: bool = False
    """The app asked for no retry (`x-slack-no-retry`)."""


class Transport(Protocol):
    """Socket Mode or HTTP."""

    async def attempt(
        self, envelope: Envelope, *, retry: Retry | None, timeout_s: float
    ) -> Ack | NoAck:
        """Deliver the envelope once."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One entry of the delivery log."""

    at: datetime
    envelope: Envelope
    retry: Retry | None
    outcome: Ack | NoAck


class Delivery:
    """Gives envelopes to the transport and keeps a log of all attempts."""

    def __init__(
        self, *, transport: Transport, clock: Clock, timings: Timings, changes: ChangeLog
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._timings = timings
        self._changes = changes
        self._tasks: set[asyncio.Task[None]] = set()
        self._may_go = asyncio.Event()
        self._may_go.set()
        self.attempts: list[Attempt] = []
        self.acks_to_lose = 0

    async def send(self, envelope: Envelope, *, retry: Retry | None = None) -> Ack | NoAck:
        """Deliver once; commands and interactions are never retried."""
        await self._may_go.wait()
        at = self._clock.now()
        outcome = await self._transport.attempt(
            envelope, retry=retry, timeout_s=self._timings.ack_s
        )
        if isinstance(outcome, Ack) and self.acks_to_lose > 0:
            self.acks_to_lose -= 1
            outcome = NoAck(reason="timeout")
        self.attempts.append(Attempt(at=at, envelope=envelope, retry=retry, outcome=outcome))
        self._changes.add("delivery", f"{envelope.kind} {type(outcome).__name__}")
        return outcome

    def publish(self, payload: Json) -> None:
        """Send an event, again after each pause until the app acknowledges it."""
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
        """Run something in the background; it is cancelled when the workspace closes."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def pause_for_test(self) -> None:
        """Nothing leaves Slack until `resume_for_test`."""
        self._may_go.clear()

    def resume_for_test(self) -> None:
        """Deliver everything that has waited."""
        self._may_go.set()

    async def close(self) -> None:
        """Stop all deliveries."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
