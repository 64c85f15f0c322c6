"""A release that was reported live is watched for a while; a crash is reported once."""

from datetime import timedelta
from typing import Any

import pytest

from bot.deployments.model import Deployment, Live, Phase
from bot.errors import DatabaseDown
from tests.support.builders import NEW, NEW_WORKER, NOW, a_snapshot, containers
from tests.support.fake_dokku import DOWN, FakeDokku, a_container_now
from tests.support.memory_store import MemoryStore
from tests.support.rig import Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time


def success(**changes: Any) -> Deployment:
    given: dict[str, Any] = {
        "phase": Phase.SUCCEEDED,
        "live": Live.NEW,
        "started_at": NOW - timedelta(minutes=5),
        "created_at": NOW - timedelta(minutes=5),
        "finished_at": NOW - timedelta(minutes=1),
        "before": a_snapshot(),
        "after": containers(NEW, NEW_WORKER),
    }
    return waiting(**(given | changes))


def a_bot(*rows: Deployment, **options: Any) -> Rig:
    rig = a_rig(*rows, start=False, **options)
    rig.dokku.now = containers(NEW, NEW_WORKER)
    return rig


def crashed(rig: Rig, **changes: object) -> None:
    rig.dokku.now = a_container_now(NEW, **(changes or {"restarts": 1}))


async def look(rig: Rig, for_s: float = 5.0) -> list[str]:
    """Look once; returns the texts posted in the thread so far."""
    await rig.crashes.look()
    await rig.passes(for_s)
    return [event.text or "" for _, event in rig.store.events]


@in_virtual_time
async def test_stable_release_is_not_reported() -> None:
    rig = a_bot(success())
    assert await look(rig) == []
    assert not rig.row().crash_told


@pytest.mark.parametrize("changes", [{"restarts": 1}, {"state": "restarting"}])
@in_virtual_time
async def test_crash_is_reported_once_and_changes_no_status(changes: dict[str, object]) -> None:
    rig = a_bot(success())
    crashed(rig, **changes)
    (text,) = await look(rig)
    assert "web.1 of web has crashed" in text
    assert "worker" not in text
    assert await look(rig) == [text]
    row = rig.row()
    assert (row.phase, row.live, row.crash_told) == (Phase.SUCCEEDED, Live.NEW, True)
    assert rig.store.actions(row.id) == ["crash_seen"]
    assert [event.type for _, event in rig.store.events] == ["deployment.note"]
    assert rig.store.owner(row.id) is None


@in_virtual_time
async def test_all_crashed_processes_are_named_in_order() -> None:
    rig = a_bot(success())
    rig.dokku.now = containers(
        *(one for each in (NEW_WORKER, NEW) for one in a_container_now(each, restarts=3).listed)
    )
    (text,) = await look(rig)
    assert "web.1, worker.1 of web" in text


@in_virtual_time
async def test_restarts_known_at_the_result_are_not_reported() -> None:
    known = a_container_now(NEW, restarts=2)
    rig = a_bot(success(after=known))
    rig.dokku.now = known
    assert await look(rig) == []
    crashed(rig, restarts=3)
    assert len(await look(rig)) == 1


@in_virtual_time
async def test_crash_of_another_releases_container_is_not_reported() -> None:
    rig = a_bot(success())
    crashed(rig, id="f" * 12, restarts=9)
    assert await look(rig) == []


@in_virtual_time
async def test_unreadable_containers_are_read_again() -> None:
    rig = a_bot(success())
    rig.dokku.now = None
    assert await look(rig) == []
    crashed(rig)
    rig.dokku.fail("containers", DOWN)
    assert await look(rig) == []
    assert len(await look(rig)) == 1


@pytest.mark.parametrize("method", ["lately_succeeded", "newer", "claim", "get", "correct"])
@in_virtual_time
async def test_database_outage_is_retried_at_the_next_look(method: str) -> None:
    rig = a_bot(success())
    crashed(rig)
    rig.store.fail(method, DatabaseDown("away"))
    assert await look(rig) == []
    assert rig.store.owner(rig.row().id) is None
    assert len(await look(rig)) == 1


@in_virtual_time
async def test_only_the_newest_release_is_watched() -> None:
    later = waiting(id="LATER", request_key="later", created_at=NOW, started_at=NOW)
    rig = a_bot(success(), later)
    crashed(rig)
    assert await look(rig) == []
    assert rig.dokku.asked == []


@pytest.mark.parametrize("phase", [Phase.QUEUED, Phase.CANCELLED, Phase.FAILED])
@in_virtual_time
async def test_deployment_that_never_started_replaces_nothing(phase: Phase) -> None:
    later = waiting(id="LATER", request_key="later", created_at=NOW, phase=phase)
    rig = a_bot(success(), later)
    crashed(rig)
    assert len(await look(rig)) == 1


@in_virtual_time
async def test_unreadable_and_old_results_are_not_watched() -> None:
    rig = a_bot(
        success(after=None),
        success(
            id="OLD",
            request_key="old",
            dokku_app="api",
            finished_at=NOW - timedelta(minutes=10, seconds=1),
        ),
    )
    crashed(rig)
    assert await look(rig) == []
    assert rig.dokku.asked == []


@in_virtual_time
async def test_only_one_of_two_replicas_reports_a_crash() -> None:
    store = MemoryStore(a_bot().clock)
    one = a_bot(success(), store=store)
    two = a_bot(store=store, dokku=one.dokku)
    crashed(one)
    await two.crashes.look()
    assert len(await look(one)) == 1
    assert len(await look(two)) == 1


@in_virtual_time
async def test_dead_server_does_not_delay_looks_at_another() -> None:
    rig = a_bot(success(id="DEAD", request_key="dead", server="staging"))
    dead = FakeDokku()
    dead.hanging = {"containers"}
    rig.servers.known["staging"] = dead
    began = rig.clock.monotonic()
    await rig.crashes.look()
    assert rig.clock.monotonic() == began
    await rig.passes(30)
    rig.store.rows[success().id] = success()
    rig.store.leases[success().id] = rig.store.new_lease()
    crashed(rig)
    assert len(await look(rig, for_s=1)) == 1
    # The dead server is not asked again while a question is open.
    assert dead.asked == ["containers"]
