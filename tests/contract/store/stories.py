"""Builders and steps for the tests of the store."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement
from ulid import ULID

from bot.clock import Clock
from bot.deployments.model import Actor, AuditEntry, Deployment, Event, Phase, Trigger, Who
from bot.deployments.ports import Store
from bot.outbox import Outgoing
from bot.store.database import NowMs
from bot.store.sql_store import SqlStore

BEGIN = datetime(2026, 11, 24, 9, 30, 0, 123456, tzinfo=UTC)
ADA = Actor(user="U0ADA", team="T01", name="ada")
LEASE = timedelta(seconds=20)
HOOK = "webhook:https://ops.example.com/hooks"


class StillClock(Clock):
    """A clock that only moves when the test moves it."""

    def __init__(self) -> None:
        self._now = BEGIN

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return (self._now - BEGIN).total_seconds()

    async def sleep(self, duration: timedelta) -> None:
        self.move(duration)

    def move(self, duration: timedelta) -> None:
        self._now += duration


class Dial:
    """The database's clock, put forward."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now_ms(self) -> ColumnElement[int]:
        return NowMs() + self.ahead // timedelta(milliseconds=1)


def said(action: str, **detail: str) -> AuditEntry:
    return AuditEntry(actor=ADA, through="command", action=action, detail=detail)


def a_deployment(**changes: Any) -> Deployment:
    """A queued deployment with a new id and request key."""
    identity = str(ULID())
    plain = Deployment(
        id=identity,
        server="production",
        app="myapp",
        dokku_app="myapp",
        repo=None,
        ref="main",
        requested_by=ADA,
        trigger=Trigger.COMMAND,
        request_key=f"trigger-{identity}",
        channel="C01",
        created_at=BEGIN,
        queued_at=BEGIN,
    )
    return replace(plain, **changes)


def plan_both(deployment: Deployment, event: Event) -> Sequence[Outgoing]:
    """A mention and a webhook for each event."""
    return [
        Outgoing(
            id=str(ULID()),
            deployment_id=deployment.id,
            lane=lane,
            kind=event.type,
            body={"id": deployment.id, "phase": deployment.phase.value},
        )
        for lane in ("slack", HOOK)
    ]


async def create(store: Store, **changes: Any) -> Deployment:
    deployment = a_deployment(**changes)
    await store.create(deployment, said("requested"))
    return deployment


async def own(store: SqlStore, deployment: Deployment, replica: str = "one") -> Deployment:
    """Claim it; the deployment as its owner writes it."""
    fence = await store.leases.claim(deployment.id, replica, LEASE)
    assert fence is not None
    return replace(deployment, fence=fence)


async def move(
    store: SqlStore, deployment: Deployment, *phases: Phase, **changes: Any
) -> Deployment:
    """Walk through phases as the owner."""
    for phase in phases:
        deployment = await store.save(
            replace(deployment, phase=phase, **changes),
            was=deployment.phase,
            by=Who.OWNER,
            audit=said("moved", to=phase.value),
        )
    return deployment


async def start(store: SqlStore, **changes: Any) -> Deployment:
    """A deployment that its owner has started."""
    deployment = await own(store, await create(store, **changes))
    return await move(store, deployment, Phase.STARTING)
