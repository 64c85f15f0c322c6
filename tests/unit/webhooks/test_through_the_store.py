"""From the change of a row to the receiver: planner, store and sender together."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.clock import SystemClock
from bot.deployments.model import Actor, AuditEntry, Deployment, Event, Phase, Trigger, Who
from bot.outbox import Endpoint
from bot.simulators.receiver import Behaviour, Receiver, open_receiver
from bot.store.engine import open_store
from bot.store.sql_store import SqlStore
from bot.webhooks.payload import planner
from bot.webhooks.sender import Sender, open_sender

SECRET = "whsec_c3dvcmRmaXNoIGFuZCBtb3Jl"
ADA = Actor(user="U0123", team="T01", name="ada")
WAITING = Deployment(
    id="01K9ZB00000000000000000000",
    server="default",
    app="myapp",
    dokku_app="myapp",
    repo=None,
    ref="main",
    requested_by=ADA,
    trigger=Trigger.COMMAND,
    request_key="r",
    channel="C01",
    created_at=datetime.now(UTC),
)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with open_receiver(secret=SECRET) as receiver:
        yield receiver


async def cancel(store: SqlStore) -> Deployment:
    await store.create(WAITING, AuditEntry(actor=ADA, through="command", action="requested"))
    return await store.save(
        replace(
            WAITING, phase=Phase.CANCELLED, finished_at=datetime.now(UTC), reason="cancelled by ada"
        ),
        was=Phase.QUEUED,
        by=Who.SERVICE,
        audit=AuditEntry(actor=ADA, through="button", action="ended"),
        event=Event(type="deployment.finished", log_tail=("a line",)),
    )


async def test_result_is_delivered_after_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    endpoints = [Endpoint(url=receiver.url, secret=SECRET)]
    clock = SystemClock()
    url = f"sqlite:///{tmp_path / 'bot.db'}"
    receiver.answer_for_test(Behaviour(status=503))
    plan = planner(endpoints, clock=clock)

    async with open_store(url, clock=clock, planner=plan) as store:
        async with open_sender(
            endpoints=endpoints, outbox=store.outbox, clock=clock, allow_private=True
        ) as sender:
            store.database.subscribe(lambda kind, _id: kick(sender, kind))
            await cancel(store)
            await receiver.wait_for(1)
        (row,) = await store.outbox.outgoing()
        assert (row.tries, row.last_error) == (1, "it answered 503")
        assert await store.outbox.replay(row.id)

    async with (
        open_store(url, clock=clock, planner=plan) as store,
        open_sender(endpoints=endpoints, outbox=store.outbox, clock=clock, allow_private=True),
    ):
        (delivered,) = await receiver.wait_delivered(1)
    assert [one.webhook_id for one in receiver.received] == [row.id, row.id]
    assert delivered.body["data"]["status"] == "cancelled"
    assert delivered.body["data"]["log_tail"] == ["a line"]
    assert delivered.body == row.body


def kick(sender: Sender, kind: str) -> None:
    if kind == "outbox":
        sender.on_change("outbox", "")
