"""Requests of shells: taken once, over in time, answered with the deployment of their key."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.deployments.model import Actor, Trigger
from bot.deployments.requests.from_shell import ShellAnswer, ShellRequest, ShellRequestKind
from bot.store.inbox import KEPT, TAKEN_AGAIN, SqlInbox
from bot.store.shared_tables import shell_requests
from bot.store.sql_store import SqlStore
from tests.contract.store.stories import Dial, a_deployment, said

WITHIN, HOLD = timedelta(seconds=30), timedelta(seconds=20)
ASK = ShellRequest(
    id="01R",
    kind=ShellRequestKind.ROLLBACK,
    actor=Actor(user="cli", name="ada"),
    channel="C01",
    app="myapp",
    ref="a1b2c3d",
)


@pytest.fixture
def inbox(store: SqlStore, dial: Dial) -> SqlInbox:
    return SqlInbox(store.database, now_ms=dial.now_ms)


async def test_request_is_read_as_it_was_left(inbox: SqlInbox, store: SqlStore) -> None:
    assert not await store.database.has_rows(shell_requests)
    await inbox.put(ASK, within=WITHIN)
    assert await store.database.has_rows(shell_requests)
    assert list(await inbox.waiting()) == [ASK]
    await inbox.forget(ASK.id)
    assert not await store.database.has_rows(shell_requests)


async def test_one_of_many_takes_it(inbox: SqlInbox) -> None:
    await inbox.put(ASK, within=WITHIN)
    taken = await asyncio.gather(*(inbox.take(ASK.id, HOLD) for _ in range(5)))
    assert taken.count(True) == 1
    assert list(await inbox.waiting()) == []


async def test_nobody_takes_it_when_its_shell_has_stopped_waiting(
    inbox: SqlInbox, dial: Dial
) -> None:
    await inbox.put(ASK, within=WITHIN)
    dial.ahead += WITHIN + timedelta(seconds=1)
    assert list(await inbox.waiting()) == []
    assert not await inbox.take(ASK.id, HOLD)


async def test_request_of_a_bot_that_died_is_taken_again(inbox: SqlInbox, dial: Dial) -> None:
    await inbox.put(ASK, within=WITHIN)
    dial.ahead += WITHIN - timedelta(seconds=2)
    assert await inbox.take(ASK.id, HOLD)
    assert list(await inbox.waiting()) == []
    dial.ahead += HOLD + timedelta(seconds=1)
    assert list(await inbox.waiting()) == [ASK]
    assert await inbox.take(ASK.id, HOLD)
    # Not for ever: by then its shell has told that it got no answer.
    dial.ahead += TAKEN_AGAIN
    assert list(await inbox.waiting()) == []


async def test_taken_request_is_not_withdrawn(inbox: SqlInbox) -> None:
    await inbox.put(ASK, within=WITHIN)
    await inbox.put(replace(ASK, id="02R"), within=WITHIN)
    assert await inbox.take(ASK.id, HOLD)
    assert not await inbox.withdraw(ASK.id)
    assert await inbox.withdraw("02R")
    assert not await inbox.take("02R", HOLD)


async def test_answer_is_there_for_its_shell_alone(inbox: SqlInbox, dial: Dial) -> None:
    await inbox.put(ASK, within=WITHIN)
    assert await inbox.take(ASK.id, HOLD)
    assert await inbox.answered(ASK.id) is None
    await inbox.answer(ASK, ShellAnswer(refusal="It is locked."))
    assert await inbox.answered(ASK.id) == ShellAnswer(refusal="It is locked.")
    dial.ahead += HOLD + timedelta(seconds=1)
    assert list(await inbox.waiting()) == []


async def test_deployment_that_a_dead_bot_stored_is_the_answer(
    inbox: SqlInbox, store: SqlStore
) -> None:
    await inbox.put(ASK, within=WITHIN)
    stored = replace(a_deployment(), request_key=ASK.key, trigger=Trigger.CLI)
    await store.create(stored, said("requested"))
    await inbox.answer(ASK, ShellAnswer())
    assert await inbox.answered(ASK.id) == ShellAnswer(deployment_id=stored.id)


async def test_forgotten_answers_do_not_pile_up(
    inbox: SqlInbox, store: SqlStore, dial: Dial
) -> None:
    await inbox.put(ASK, within=WITHIN)
    dial.ahead += KEPT + WITHIN + timedelta(seconds=1)
    await inbox.put(replace(ASK, id="02R"), within=WITHIN)
    assert [one.id for one in await inbox.waiting()] == ["02R"]
    await inbox.forget("02R")
    assert not await store.database.has_rows(shell_requests)
