"""Writes of deployments are complete, guarded and audited."""

import asyncio
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import timedelta

import pytest

from bot.deployments.dokku_facts import AppReport, Container, Containers, Snapshot
from bot.deployments.model import (
    Approval,
    CancelRequest,
    Deployment,
    Event,
    Failure,
    Live,
    MessagePlace,
    Phase,
    Trigger,
    Who,
)
from bot.deployments.refs import Commit, Commits
from bot.deployments.states import ENDINGS
from bot.errors import Duplicate, LeaseLost, StaleState, StoreError
from bot.outbox import Outgoing
from bot.store.engine import open_store
from bot.store.sql_store import SqlStore
from tests.contract.store.stories import (
    ADA,
    BEGIN,
    LEASE,
    Dial,
    StillClock,
    a_deployment,
    create,
    move,
    own,
    said,
    start,
)

SNAPSHOT = Snapshot(
    builds=frozenset({"b1", "b2"}),
    report=AppReport(metadata="https://x#" + "a" * 40, source="git:sync", locked=True),
    containers=Containers(
        listed=(
            Container(id="a" * 12, process="web.1", image="sha256:1", state="running", restarts=2),
            Container(id="b" * 12, process="web.2", image="sha256:1", state="exited"),
        )
    ),
    proven="d" * 40,
)
COMMIT = Commit(sha="a" * 40, subject="Fix naïve text", author="Ada")
FULL = a_deployment(
    commits=Commits(head=COMMIT, base="b" * 40, ahead=1, behind=2, listed=(COMMIT,)),
    repo="https://git.example.com/x.git",
    sha="a" * 40,
    ready=True,
    phase=Phase.FAILED,
    failure=Failure.BUILD_FAILED,
    live=Live.PREVIOUS,
    reason="The build failed — naïve \x00 \ud800 text",
    evidence="row 9",
    trigger=Trigger.BUTTON,
    message=MessagePlace(channel="C01", ts="1.2", permalink="https://slack.example.com/p"),
    queued_at=BEGIN + timedelta(seconds=1),
    started_at=BEGIN + timedelta(seconds=2),
    finished_at=BEGIN + timedelta(seconds=3),
    attempt=2,
    before=SNAPSHOT,
    build_id="b3",
    left_build="b3",
    exit_status=4294967295,
    url="http://myapp.example.com",
    previous_sha="b" * 40,
    retry_of="R",
    rollback_of="S",
    rollback_sha="c" * 40,
    came_from="main",
    after=Containers(),
    corrected_from={"status": "failed", "failure": None, "live": "unknown"},
    late_over=True,
    crash_told=True,
    cancel=CancelRequest(by=ADA, at=BEGIN),
    approval=Approval.SECOND_PERSON,
    approved_by=ADA,
    max_duration=timedelta(minutes=7, milliseconds=250),
    fence=7,
)


async def test_every_field_is_stored_and_read(store: SqlStore) -> None:
    empty = a_deployment()
    assert [f.name for f in fields(Deployment) if getattr(FULL, f.name) == f.default] == []
    for deployment in (FULL, empty):
        await store.create(deployment, said("requested"))
    read = await store.get(FULL.id)
    assert read == replace(FULL, reason="The build failed — naïve \ufffd ? text")
    assert await store.get(empty.id) == empty
    assert await store.get("nobody") is None


def _was_stopped(snapshot: Snapshot | None) -> bool:
    """Not part of what makes two reads equal."""
    return snapshot is not None and snapshot.containers is not None and snapshot.containers.stopped


@pytest.mark.parametrize(
    "snapshot",
    [
        Snapshot(builds=None, report=AppReport(), containers=None),
        Snapshot(
            builds=frozenset(),
            report=AppReport(),
            containers=Containers(),
            runner="runner",
            run="runner.run.3676",
        ),
        Snapshot(builds=frozenset(), report=AppReport(), containers=Containers()),
        Snapshot(builds=frozenset(), report=AppReport(), containers=Containers(stopped=True)),
    ],
)
async def test_unread_empty_and_stopped_containers_stay_distinct(
    store: SqlStore, snapshot: Snapshot
) -> None:
    deployment = await create(store, before=snapshot)
    read = await store.get(deployment.id)
    assert read is not None
    assert read.before == snapshot
    assert _was_stopped(read.before) == _was_stopped(snapshot)


async def test_same_request_twice_is_one_deployment(store: SqlStore) -> None:
    first = await create(store)
    second = a_deployment(request_key=first.request_key)
    with pytest.raises(Duplicate) as caught:
        await store.create(second, said("requested"))
    assert caught.value.deployment_id == first.id
    assert await store.get(second.id) is None
    assert await store.audit_of(second.id) == []


async def test_twenty_simultaneous_requests_create_one_deployment(
    store: SqlStore, other: SqlStore
) -> None:
    asks = [a_deployment(request_key="same") for _ in range(20)]
    answers = await asyncio.gather(
        *((store, other)[n % 2].create(ask, said("requested")) for n, ask in enumerate(asks)),
        return_exceptions=True,
    )
    created = [ask for ask, answer in zip(asks, answers, strict=True) if answer is None]
    assert len(created) == 1
    assert {answer.deployment_id for answer in answers if isinstance(answer, Duplicate)} == {
        created[0].id
    }
    assert len(await store.recent()) == 1


async def test_same_id_twice_is_refused(store: SqlStore) -> None:
    first = await create(store)
    with pytest.raises(StoreError, match="refused a row"):
        await store.create(a_deployment(id=first.id), said("requested"))


async def test_owner_moves_to_a_result_and_each_move_is_audited(
    store: SqlStore, clock: StillClock
) -> None:
    deployment = await start(store)
    deployment = await move(store, deployment, Phase.BUILDING, Phase.RELEASING, Phase.CHECKING)
    clock.move(timedelta(seconds=5))
    ended = replace(deployment, phase=Phase.SUCCEEDED, live=Live.NEW, finished_at=clock.now())
    fresh = await store.save(
        ended,
        was=Phase.CHECKING,
        by=Who.OWNER,
        audit=said("ended", rule="3"),
        event=Event(type="deployment.finished"),
    )
    assert fresh == ended
    assert await store.get(ended.id) == ended
    trace = await store.audit_of(ended.id)
    assert [entry.action for _, entry in trace] == ["requested", *["moved"] * 4, "ended"]
    assert trace[-1] == (clock.now(), said("ended", rule="3"))
    assert [out.kind for out in await store.outbox.outgoing()] == ["deployment.finished"]


async def test_state_audit_and_outbox_are_written_together_or_not_at_all(
    url: str, clock: StillClock
) -> None:
    def refuse(deployment: Deployment, event: Event) -> Sequence[Outgoing]:
        raise LookupError(event.type)

    async with open_store(url, clock=clock, planner=refuse, migrate=True) as store:
        deployment = await own(store, await create(store))
        with pytest.raises(LookupError, match="refused"):
            await store.save(
                replace(deployment, phase=Phase.STARTING),
                was=Phase.QUEUED,
                by=Who.OWNER,
                audit=said("started"),
                event=Event(type="refused"),
            )
        row = await store.get(deployment.id)
        assert row is not None
        assert row.phase is Phase.QUEUED
        assert [entry.action for _, entry in await store.audit_of(deployment.id)] == ["requested"]


async def test_move_without_an_audit_entry_is_an_error(store: SqlStore) -> None:
    deployment = await own(store, await create(store))
    with pytest.raises(ValueError, match="needs an audit entry: queued to starting"):
        await store.save(replace(deployment, phase=Phase.STARTING), was=Phase.QUEUED, by=Who.OWNER)


async def test_forbidden_move_is_refused(store: SqlStore) -> None:
    deployment = await own(store, await create(store))
    for to, by in [
        (Phase.SUCCEEDED, Who.OWNER),
        (Phase.BUILDING, Who.OWNER),
        (Phase.STARTING, Who.SERVICE),
    ]:
        with pytest.raises(StaleState, match=f"from queued to {to} by the {by}"):
            await store.save(
                replace(deployment, phase=to), was=Phase.QUEUED, by=by, audit=said("moved")
            )


async def test_stale_phase_is_refused_with_the_stored_one(store: SqlStore) -> None:
    deployment = await start(store)
    await move(store, deployment, Phase.BUILDING)
    with pytest.raises(StaleState, match="is building by now, not starting"):
        await store.save(
            replace(deployment, phase=Phase.FETCHING),
            was=Phase.STARTING,
            by=Who.OWNER,
            audit=said("moved"),
        )
    with pytest.raises(StaleState, match="is building by now, not queued"):
        await store.save(
            replace(deployment, phase=Phase.CANCELLED),
            was=Phase.QUEUED,
            by=Who.SERVICE,
            audit=said("cancelled"),
        )


@pytest.mark.parametrize("end", sorted(ENDINGS))
async def test_ended_deployment_is_never_saved_again(store: SqlStore, end: Phase) -> None:
    deployment = await start(store)
    if end is Phase.SUCCEEDED:
        deployment = await move(store, deployment, Phase.CHECKING)
    ended = await move(store, deployment, end)
    for phase in Phase:
        with pytest.raises(StaleState, match="an end never changes"):
            await store.save(
                replace(ended, phase=phase, reason="x"),
                was=end,
                by=Who.OWNER,
                audit=said("moved"),
            )
    assert await store.get(ended.id) == ended


async def test_one_deployment_per_app_runs_at_a_time(store: SqlStore) -> None:
    running = await start(store, app="first", dokku_app="shared")
    second = await own(store, await create(store, app="second", dokku_app="shared"))
    with pytest.raises(
        StaleState, match=f"another deployment of shared runs on production: {running.id}"
    ):
        await move(store, second, Phase.STARTING)
    await start(store, app="second", dokku_app="second")
    await start(store, server="staging", dokku_app="shared")
    await move(store, running, Phase.FAILED)
    assert (await move(store, second, Phase.STARTING)).phase is Phase.STARTING


async def test_running_row_cannot_be_created_beside_a_running_one(store: SqlStore) -> None:
    running = await start(store)
    with pytest.raises(StaleState, match=running.id):
        await create(store, phase=Phase.CHECKING)


async def test_simultaneous_starts_of_an_app_leave_one_running(
    store: SqlStore, other: SqlStore
) -> None:
    heads = [await own(store, await create(store)) for _ in range(8)]
    answers = await asyncio.gather(
        *(move((store, other)[n % 2], head, Phase.STARTING) for n, head in enumerate(heads)),
        return_exceptions=True,
    )
    assert len([answer for answer in answers if isinstance(answer, Deployment)]) == 1
    assert len([answer for answer in answers if isinstance(answer, StaleState)]) == 7


async def test_owner_needs_its_lease(store: SqlStore) -> None:
    deployment = await create(store)
    with pytest.raises(LeaseLost, match="nobody holds it under number 0, not 5"):
        await move(store, replace(deployment, fence=5), Phase.STARTING)
    with pytest.raises(LeaseLost, match="nobody"):
        await move(store, deployment, Phase.STARTING)
    with pytest.raises(LeaseLost, match="not there any more"):
        await move(store, a_deployment(), Phase.STARTING)


async def test_service_writes_without_a_lease_only_while_queued(store: SqlStore) -> None:
    deployment = await create(store)
    owned = await own(store, deployment)
    owned = await store.save(replace(owned, attempt=1), was=Phase.QUEUED, by=Who.OWNER)
    known = await store.save(
        replace(deployment, sha="a" * 40, ready=True), was=Phase.QUEUED, by=Who.SERVICE
    )
    assert (known.sha, known.ready, known.fence) == ("a" * 40, True, owned.fence)
    running = await move(store, known, Phase.STARTING)
    with pytest.raises(StaleState, match="only its owner writes to it"):
        await store.save(running, was=Phase.STARTING, by=Who.SERVICE)


async def test_only_a_correction_changes_an_ended_deployment(store: SqlStore) -> None:
    ended = await move(
        store, await start(store), Phase.FAILED, failure=Failure.LOST_CONTACT, live=Live.UNKNOWN
    )
    proven = replace(ended, phase=Phase.SUCCEEDED, failure=None, live=Live.NEW)
    event = Event(type="deployment.corrected", corrected_from={"status": "failed"})
    fresh = await store.correct(proven, audit=said("corrected"), event=event)
    assert fresh == proven
    assert [e.action for _, e in await store.audit_of(ended.id)][-1] == "corrected"
    assert [out.kind for out in await store.outbox.outgoing()] == ["deployment.corrected"]


async def test_correction_of_a_former_owner_is_refused(store: SqlStore, dial: Dial) -> None:
    ended = await move(
        store, await start(store), Phase.FAILED, failure=Failure.LOST_CONTACT, live=Live.UNKNOWN
    )
    dial.ahead += LEASE + timedelta(seconds=1)
    newer = replace(await own(store, ended, "two"), live=Live.NEW)
    stopped = replace(ended, live=Live.PREVIOUS)
    with pytest.raises(LeaseLost):
        await store.correct(stopped, audit=said("corrected"), event=None)
    fresh = await store.correct(newer, audit=said("corrected"), event=None)
    assert fresh == newer
    with pytest.raises(LeaseLost):
        await store.correct(stopped, audit=said("corrected"), event=None)
    assert await store.get(ended.id) == newer


async def test_correction_needs_an_ended_phase_before_and_after(store: SqlStore) -> None:
    running = await start(store)
    event = Event(type="deployment.corrected")
    with pytest.raises(StaleState, match="is starting by now, not ended"):
        await store.correct(
            replace(running, phase=Phase.FAILED), audit=said("corrected"), event=event
        )
    with pytest.raises(StaleState, match="to no end"):
        await store.correct(running, audit=said("corrected"), event=event)
    assert await store.get(running.id) == running


async def test_subscribers_are_called_after_commits_only(store: SqlStore) -> None:
    calls: list[tuple[str, str]] = []

    def note(kind: str, deployment_id: str) -> None:
        if deployment_id:  # without one: PostgreSQL's notices begin now, look once at everything
            calls.append((kind, deployment_id))

    leave = store.database.subscribe(note)

    async def news() -> list[tuple[str, str]]:
        await asyncio.sleep(0)
        new = list(calls)
        calls.clear()
        return new

    deployment = await create(store)
    assert await news() == [("queued", deployment.id)]
    await store.save(replace(deployment, ready=True), was=Phase.QUEUED, by=Who.SERVICE)
    assert await news() == [("queued", deployment.id)]
    owned = await own(store, deployment)
    running = await move(store, owned, Phase.STARTING)
    assert await news() == []
    await store.ask_cancel(running.id, ADA, BEGIN)
    assert await news() == [("cancel", running.id)]
    with pytest.raises(StaleState):
        await move(store, replace(running, phase=Phase.QUEUED), Phase.STARTING)
    assert await news() == []
    await store.save(
        replace(running, phase=Phase.FAILED),
        was=Phase.STARTING,
        by=Who.OWNER,
        audit=said("ended"),
        event=Event(type="deployment.finished"),
    )
    assert await news() == [("outbox", running.id), ("ended", running.id)]
    leave()
    await create(store)
    assert await news() == []
