"""Setting, ending and taking over locks: who may, and who gets a notice."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.deployments.lock import ALL, Locked
from bot.deployments.locks.service import LockAsk, LockService
from bot.deployments.model import Actor, AppKey, AppPolicy
from bot.deployments.requests.access import Access
from bot.errors import Declined
from tests.support.memory_store import MemoryStore
from tests.support.rig import FakeCatalog, FakePeople
from tests.support.virtual_time import LoopClock, in_virtual_time

ADA = Actor(user="U0ADA", team="T01", name="ada")
GRACE = Actor(user="U0GRACE", team="T01", name="grace")
SHELL = Actor(user="cli", name="root")
KEY = AppKey(server="production", dokku_app="web")


class Rules(FakeCatalog):
    """One app with the rules that a test sets."""

    def __init__(self, **rules: Any) -> None:
        super().__init__()
        self.rules = rules

    def listed(self) -> list[AppPolicy]:
        return [self.policy("web")]


def ask(**changes: Any) -> LockAsk:
    given: dict[str, Any] = {"app": "web", "actor": ADA, "through": "command", "channel": "C01"}
    return LockAsk(**given | changes)


def a_service(**rules: Any) -> tuple[LockService, MemoryStore, LoopClock]:
    clock = LoopClock()
    store = MemoryStore(clock)
    catalog = Rules(**rules)
    access = Access(people=FakePeople(), catalog=catalog, clock=clock)
    access.set_home("T01")
    service = LockService(store=store, catalog=catalog, guard=access, clock=clock)
    return service, store, clock


@in_virtual_time
async def test_holder_changes_and_ends_the_lock_and_nobody_is_told() -> None:
    service, store, clock = a_service()
    first = await service.lock(ask(reason="a  b\nc", lasts=timedelta(hours=2)))
    assert first.lock.reason == "a b c"
    assert first.lock.until == clock.now() + timedelta(hours=2)
    second = await service.lock(ask())
    assert second.former == first.lock
    assert await service.held() == [second.lock]
    await service.unlock(second.lock, actor=ADA, through="command")
    assert await service.held() == []
    assert not store.locks.notices
    assert store.actions("lock:production/web") == ["locked", "locked", "unlocked"]


@in_virtual_time
async def test_someone_else_is_refused_until_the_lock_has_ended() -> None:
    service, store, clock = a_service()
    await service.lock(ask(lasts=timedelta(minutes=1)))
    with pytest.raises(Locked, match="locked by ada"):
        await service.lock(ask(actor=GRACE))
    await clock.sleep(timedelta(minutes=1))
    change = await service.lock(ask(actor=GRACE))
    assert change.former is None
    assert [one.kind for one in store.locks.notices] == ["lock.ended"]


@pytest.mark.parametrize(
    ("guarded", "lists"), [(True, "`/deploy queue`"), (False, "`deploybot locks`")]
)
@in_virtual_time
async def test_refusals_name_the_list_of_where_they_are_read(guarded: bool, lists: str) -> None:
    service, store, clock = a_service()
    if not guarded:
        service = LockService(store=store, catalog=Rules(), clock=clock)
    with pytest.raises(Declined, match=lists):
        await service.find("web", None)
    with pytest.raises(Declined, match=lists):
        await service.by_id("01GONE")
    lock = (await service.lock(ask())).lock
    await service.unlock(lock, actor=ADA, through="command")
    with pytest.raises(Declined, match=lists):
        await service.unlock(lock, actor=ADA, through="command")


@in_virtual_time
async def test_take_over_keeps_end_and_reason_and_tells_the_former_holder() -> None:
    service, store, _ = a_service()
    lock = (await service.lock(ask(lasts=timedelta(hours=1), reason="audit"))).lock
    change = await service.take_over(lock, actor=GRACE, through="button")
    assert (change.lock.holder, change.lock.until, change.lock.reason) == (
        GRACE,
        lock.until,
        "audit",
    )
    (notice,) = store.locks.notices
    assert (notice.to, notice.kind) == ("U0ADA", "lock.taken_over")
    with pytest.raises(Declined, match="changed by someone else"):
        await service.unlock(lock, actor=ADA, through="button")
    with pytest.raises(Declined, match="already hold"):
        await service.take_over(change.lock, actor=GRACE, through="button")


@in_virtual_time
async def test_only_approvers_end_the_lock_of_someone_else_where_there_are_any() -> None:
    service, store, _ = a_service(approvers=frozenset({"U0LIN"}))
    lock = (await service.lock(ask())).lock
    for act in (service.unlock, service.take_over):
        with pytest.raises(Declined, match="Only approvers of web can do that: <@U0LIN>"):
            await act(lock, actor=GRACE, through="button")
    await service.unlock(lock, actor=replace(GRACE, user="U0LIN"), through="button")
    assert [one.to for one in store.locks.notices] == ["U0ADA"]


@in_virtual_time
async def test_only_deployers_lock_an_app_and_nobody_from_another_workspace() -> None:
    service, _, _ = a_service(deployers=frozenset({"U0ADA"}))
    for app in ("web", "all"):
        with pytest.raises(Declined, match="aren't allowed"):
            await service.lock(ask(app=app, actor=GRACE))
        with pytest.raises(Declined, match="own workspace"):
            await service.lock(ask(app=app, actor=replace(ADA, team="T99")))
        await service.lock(ask(app=app))


@in_virtual_time
async def test_lock_on_every_app_is_found_for_each_and_takes_no_server() -> None:
    service, _, _ = a_service()
    lock = (await service.lock(ask(app="all"))).lock
    assert lock.key == ALL
    assert await service.find("web", None) == lock
    with pytest.raises(Declined, match="takes no server"):
        await service.lock(ask(app="all", server="production"))
    await service.unlock(lock, actor=ADA, through="command")
    with pytest.raises(Declined, match="No lock is on every app"):
        await service.find("all", None)
    with pytest.raises(Declined, match="web is not locked"):
        await service.find("web", None)


@in_virtual_time
async def test_operator_ends_any_lock_and_is_sent_no_message() -> None:
    service, store, clock = a_service(approvers=frozenset({"U0LIN"}))
    shell = LockService(store=store, catalog=Rules(), clock=clock)
    mine = (await service.lock(ask())).lock
    await shell.unlock(mine, actor=SHELL, through="cli")
    assert [one.to for one in store.locks.notices] == ["U0ADA"]
    theirs = (await shell.lock(ask(actor=SHELL, channel=""))).lock
    await service.unlock(theirs, actor=replace(ADA, user="U0LIN"), through="command")
    assert len(store.locks.notices) == 1
