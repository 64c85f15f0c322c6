"""Two approvers at the same instant, on two replicas: the first decision counts."""

import asyncio
from datetime import timedelta

import pytest

from bot.deployments.model import Actor, Approval, Deployment, Failure, Phase, Resolved
from bot.deployments.queue.removal import QueueRemoval
from bot.deployments.requests.approvals import Approvals
from bot.deployments.state.repository import DeploymentCache, DeploymentRepository
from bot.deployments.timing import Timing
from bot.errors import Declined
from bot.store.sql_store import SqlStore
from tests.contract.store.stories import StillClock, create
from tests.support.fake_dokku import FakeDokku
from tests.support.rig import FakeAnnouncer, FakeObserver, FakeServers

ROUNDS = 5
SHA = "ab" * 20


class Replica:
    """The approvals of one replica, on its own connections."""

    def __init__(self, store: SqlStore, clock: StillClock) -> None:
        self.woken = 0
        deployments = DeploymentRepository(
            store=store,
            cache=DeploymentCache(clock=clock, ttl=timedelta(minutes=5)),
            announcer=FakeAnnouncer(),
            observer=FakeObserver(),
        )
        removal = QueueRemoval(
            deployments=deployments,
            servers=FakeServers({"production": FakeDokku()}),
            timing=Timing(),
            clock=clock,
        )
        self.approvals = Approvals(
            deployments=deployments,
            look_up=self._look_up,
            removal=removal,
            clock=clock,
            look_for_work=self._wake,
            read_commits=lambda _moved: None,
        )

    async def _look_up(self, row: Deployment) -> Resolved:
        return Resolved(ref=row.ref, repo=row.repo or "", sha=row.sha)

    def _wake(self) -> None:
        self.woken += 1


@pytest.fixture
def replicas(store: SqlStore, other: SqlStore, clock: StillClock) -> list[Replica]:
    return [Replica(store, clock), Replica(other, clock)]


def person(name: str) -> Actor:
    return Actor(user=f"U0{name.upper()}", team="T01", name=name)


async def test_first_decision_counts_on_two_replicas(
    store: SqlStore, replicas: list[Replica]
) -> None:
    first, second = (one.approvals for one in replicas)
    for number in range(ROUNDS):
        row = await create(
            store,
            app=f"app{number}",
            dokku_app=f"app{number}",
            request_key=f"key{number}",
            phase=Phase.AWAITING_APPROVAL,
            approval=Approval.SECOND_PERSON,
            queued_at=None,
            sha=SHA,
            ready=True,
        )
        answers = await asyncio.gather(
            first.approve(row.id, actor=person("grace"), through="button", shown=SHA),
            second.approve(row.id, actor=person("eve"), through="button", shown=SHA),
            first.reject(row.id, actor=person("alan"), through="button", reason="no"),
            second.reject(row.id, actor=person("bob"), through="cli"),
            return_exceptions=True,
        )
        done = [one for one in answers if isinstance(one, str)]
        refused = [one for one in answers if isinstance(one, Declined)]
        assert (len(done), len(refused)) == (1, 3)
        assert all("Nothing was changed" in str(one) for one in refused)
        stored = await store.get(row.id)
        assert stored is not None
        if done[0].startswith("Approved"):
            assert (stored.phase, stored.failure) == (Phase.QUEUED, None)
            assert stored.approved_by in {person("grace"), person("eve")}
        else:
            assert (stored.phase, stored.failure) == (Phase.FAILED, Failure.REJECTED)
            assert stored.approved_by is None
        trail = [entry.action for _, entry in await store.audit_of(row.id)]
        assert len([one for one in trail if one in {"approved", "ended"}]) == 1
