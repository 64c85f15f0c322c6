"""Queries: finding deployments and apps."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.deployments.model import Actor, Live, Phase, Trigger
from bot.deployments.progress import Progress
from bot.errors import Declined
from tests.support.builders import NOW, OLD, OLD_SHA, SHA, containers
from tests.support.fake_dokku import DOWN, FakeDokku
from tests.support.rig import SERVER, Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time

ADA = Actor(user="U0ADA", team="T01", name="ada")
OLD_ID, NEW_ID = "01K9ZB0000000000000000000A", "01K9ZC0000000000000000000B"


def history() -> Rig:
    old = waiting(
        id=OLD_ID,
        phase=Phase.SUCCEEDED,
        live=Live.NEW,
        sha=OLD_SHA,
        after=containers(OLD),
        created_at=NOW - timedelta(days=1),
        started_at=NOW - timedelta(days=1),
        request_key="1",
    )
    newer = waiting(
        id=NEW_ID,
        phase=Phase.FAILED,
        live=Live.PREVIOUS,
        created_at=NOW - timedelta(hours=1),
        request_key="2",
    )
    return a_rig(old, newer, start=False)


@in_virtual_time
async def test_find_by_app_prefers_running_then_waiting_then_newest() -> None:
    rig = history()
    assert (await rig.service.queries.find("web")).id == NEW_ID
    queued = waiting(id="01QUEUED", request_key="3")
    running = waiting(
        id="01RUNS", phase=Phase.BUILDING, request_key="4", created_at=NOW + timedelta(seconds=1)
    )
    rig.store.rows[queued.id] = queued
    assert (await rig.service.queries.find("WEB")).id == queued.id
    rig.store.rows[running.id] = running
    assert (await rig.service.queries.find("web", server=SERVER)).id == running.id
    with pytest.raises(Declined, match="No deployment of `web` was found"):
        await rig.service.queries.find("web", server="another")


@in_virtual_time
async def test_find_takes_a_unique_part_of_an_id() -> None:
    rig = history()
    assert (await rig.service.queries.find(OLD_ID)).id == OLD_ID
    assert (await rig.service.queries.find("01k9zb")).id == OLD_ID
    assert (await rig.service.queries.find("00000A")).id == OLD_ID
    with pytest.raises(Declined):
        await rig.service.queries.find("000000")


@in_virtual_time
async def test_snapshot_prefers_the_cache() -> None:
    rig = history()
    row = rig.row(NEW_ID)
    assert rig.service.queries.snapshot(row) == (row, Progress())
    rig.cache.put(row)
    rig.cache.note(row.id, Progress(step="step 1 of 2"))
    assert rig.service.queries.snapshot(row) == (row, Progress(step="step 1 of 2"))


@in_virtual_time
async def test_look_ups_by_id_message_and_app() -> None:
    rig = history()
    row = rig.row(NEW_ID)
    assert row.message is not None
    assert await rig.service.queries.store.get(NEW_ID) == row
    assert await rig.service.queries.store.get("nobody") is None
    found = await rig.service.queries.store.by_message(row.message.channel, row.message.ts)
    assert found is not None
    assert [one.id for one in await rig.service.queries.history("web")] == [NEW_ID, OLD_ID]
    assert await rig.service.queries.store.unfinished() == []
    rig.store.logs[NEW_ID] = ["one"]
    assert await rig.service.queries.store.logs.read(NEW_ID) == "one\n"
    assert rig.service.queries.catalog.policy("web").dokku_app == "web"


@in_virtual_time
async def test_known_apps_leaves_out_servers_that_do_not_answer() -> None:
    rig = a_rig(start=False)
    rig.servers.known["slow"] = FakeDokku(hanging={"apps"})
    rig.servers.known["down"] = FakeDokku(down=DOWN)
    began = rig.clock.monotonic()
    apps = await rig.service.queries.known_apps()
    assert [(one.app, one.server) for one in apps] == [("web", SERVER)]
    assert rig.clock.monotonic() - began <= 0.6
    assert list(rig.service.queries.servers.names()) == [SERVER, "slow", "down"]


@in_virtual_time
async def test_refused_retry_or_rollback_says_why() -> None:
    rig = history()
    running = waiting(id="01RUNS", phase=Phase.BUILDING, request_key="4")
    rig.store.rows[running.id] = running

    async def tries(act: str, deployment_id: str, words: str) -> None:
        with pytest.raises(Declined, match=words):
            await getattr(rig.service, act)(
                deployment_id,
                actor=ADA,
                trigger=Trigger.BUTTON,
                request_key="b",
                channel="C01",
            )

    await tries("retry", "nobody", "no longer on record")
    await tries("retry", running.id, "has not ended yet. Retry it when it has ended.")
    await tries("retry", OLD_ID, "That deployment succeeded")
    await tries("rollback", NEW_ID, "No release of web was proven live")
    live = waiting(
        id="01LIVE",
        phase=Phase.FAILED,
        live=Live.PREVIOUS,
        rollback_sha=OLD_SHA,
        request_key="5",
        created_at=NOW - timedelta(minutes=1),
    )
    rig.store.rows[live.id] = live
    del rig.store.rows[running.id]
    await tries("rollback", live.id, f"`{OLD_SHA[:7]}` is already live")
    assert OLD_SHA != SHA


@in_virtual_time
async def test_snapshot_is_what_was_read_and_not_what_this_replica_saw_before() -> None:
    rig = history()
    queries = rig.service.queries
    seen = waiting(id="01SEEN", phase=Phase.QUEUED)
    rig.cache.put(seen)
    rig.cache.note(seen.id, Progress(place=1))
    ended = replace(seen, phase=Phase.SUCCEEDED, live=Live.NEW)
    assert queries.snapshot(ended) == (ended, Progress(place=1))
    # It ended here since the row was read.
    rig.cache.put(ended)
    assert queries.snapshot(seen)[0] == ended
    corrected = replace(ended, live=Live.PREVIOUS)
    assert queries.snapshot(corrected)[0] == corrected
