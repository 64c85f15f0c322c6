"""The limit of running deployments per server, across all replicas."""

from datetime import timedelta

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.model import Deployment, Phase
from bot.deployments.states import RUNNING
from tests.support.builders import NOW
from tests.support.dokku_of_apps import DokkuOfApps
from tests.support.memory_store import MemoryStore
from tests.support.rig import SERVER, Rig, a_rig, waiting
from tests.support.virtual_time import LoopClock, in_virtual_time

APPS = ("web", "api", "shop")


def queued() -> list[Deployment]:
    return [
        waiting(
            id=f"D-{app}",
            app=app,
            dokku_app=app,
            request_key=app,
            queued_at=NOW + timedelta(milliseconds=number),
        )
        for number, app in enumerate(APPS)
    ]


def a_limited_rig(store: MemoryStore, dokku: DokkuOfApps, *, most: int) -> Rig:
    rig = a_rig(store=store, start=False, max_running=most)
    rig.servers.known[SERVER] = dokku
    rig.start()
    return rig


def a_store() -> MemoryStore:
    store = MemoryStore(LoopClock())
    for row in queued():
        store.rows[row.id] = row
        store.leases[row.id] = store.new_lease()
    return store


def running(store: MemoryStore) -> set[str]:
    return {row.app for row in store.rows.values() if row.phase in RUNNING}


@in_virtual_time
async def test_next_deployment_starts_when_a_slot_is_free() -> None:
    store, dokku = a_store(), DokkuOfApps(*APPS)
    rig = a_limited_rig(store, dokku, most=2)
    await rig.passes(30)
    assert running(store) == dokku.begun() == {"web", "api"}
    assert rig.progress("D-shop").place == 1
    assert rig.progress("D-shop").waits_for == "a free slot on the server (2 of 2 in use)"
    dokku.of["api"].streams[0].succeed()
    await rig.until_ended("D-api", within_s=60)
    await rig.until_phase(Phase.STARTING, Phase.BUILDING, deployment_id="D-shop")
    assert running(store) == {"web", "shop"}
    assert rig.progress("D-shop").waits_for is None


@in_virtual_time
async def test_two_replicas_share_the_slots() -> None:
    store, dokku = a_store(), DokkuOfApps(*APPS)
    rigs = [a_limited_rig(store, dokku, most=1) for _ in range(2)]
    for ended in range(len(APPS)):
        await rigs[0].passes(30)
        assert len(running(store)) == 1
        (app,) = dokku.begun()
        assert app == APPS[ended]
        dokku.of[app].streams[0].succeed()
        await rigs[0].until_ended(f"D-{app}", within_s=60)
    assert {row.phase for row in store.rows.values()} == {Phase.SUCCEEDED}
    assert store.actions("D-shop").count("starting") == 1


@in_virtual_time
async def test_store_enforces_the_lower_limit_of_another_replica() -> None:
    store, dokku = a_store(), DokkuOfApps(*APPS)
    rig = a_limited_rig(store, dokku, most=0)
    # As when two replicas look at once and both see a free slot.
    store.max_running = {SERVER: 1}
    await rig.passes(60)
    assert running(store) == {"web"}
    assert rig.progress("D-api").waits_for == "a free slot on the server (1 of 1 in use)"
    assert store.actions("D-api") == []
    dokku.of["web"].streams[0].succeed()
    await rig.until_ended("D-web", within_s=60)
    await rig.until_phase(Phase.STARTING, Phase.BUILDING, deployment_id="D-api")


@in_virtual_time
async def test_deployment_blocked_by_outside_build_uses_no_slot() -> None:
    store, dokku = a_store(), DokkuOfApps(*APPS)
    dokku.of["web"].add_record("p1", source="git-hook")
    rig = a_limited_rig(store, dokku, most=1)
    await rig.passes(30)
    assert running(store) == {"api"}
    dokku.of["web"].set_status("p1", BuildStatus.SUCCEEDED)
    await rig.passes(30)
    assert running(store) == {"api"}
    assert rig.progress("D-web").waits_for == "a free slot on the server (1 of 1 in use)"
    dokku.of["api"].streams[0].succeed()
    await rig.until_ended("D-api", within_s=60)
    await rig.passes(30)
    assert running(store) == {"web"}


@in_virtual_time
async def test_refused_start_frees_its_slot() -> None:
    store, dokku = a_store(), DokkuOfApps(*APPS)
    rig = a_limited_rig(store, dokku, most=1)
    stream = await dokku.of["web"].stream()
    stream.say("> fetching", "> error locked web currently has a deploy lock in place.")
    await rig.passes(1)
    stream.end(1)
    await rig.until_phase(Phase.QUEUED, deployment_id="D-web")
    await rig.passes(6)
    assert len(running(store)) == 1


@in_virtual_time
async def test_what_runs_on_another_replica_costs_no_question_each() -> None:
    store, dokku = a_store(), DokkuOfApps(*APPS)
    one = a_limited_rig(store, dokku, most=0)
    await one.passes(10)
    assert running(store) == set(APPS)
    two = a_limited_rig(store, dokku, most=0)
    store.calls.clear()
    await two.passes(60)
    assert "claim" not in store.calls
    assert store.calls.count("free") <= store.calls.count("unfinished")
    assert two.dispatcher.active == 0
