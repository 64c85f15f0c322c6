"""Logs are read as they were written, up to a cap that is counted."""

import re

import pytest

from bot.deployments.log_pages import PAGE_CHARACTERS
from bot.errors import LeaseLost
from bot.store.logs import HEAD_BYTES, TAIL_BYTES
from bot.store.sql_store import SqlStore
from tests.contract.store.stories import a_deployment, create, own, said, start

MARKER = re.compile(r"^… (\d+) bytes \((\d+) lines\) of the log are not kept …$", re.MULTILINE)


def numbered(first: int, count: int, width: int = 1000) -> list[str]:
    return [f"{number:08d} ".ljust(width - 1, "x") for number in range(first, first + count)]


def as_text(lines: list[str]) -> str:
    return "".join(line + "\n" for line in lines)


async def test_lines_come_back_in_order(store: SqlStore) -> None:
    running = await start(store)
    assert await store.logs.read(running.id) == ""
    await store.logs.append(running.id, ["-----> Building", "naïve 🚀"], fence=running.fence)
    await store.logs.append(running.id, [], fence=running.fence)
    await store.logs.append(running.id, ["", "\x00 end"], fence=running.fence)
    assert await store.logs.read(running.id) == "-----> Building\nnaïve 🚀\n\n\x00 end\n"
    assert await store.logs.read("nobody") == ""


async def test_logs_of_deployments_are_separate(store: SqlStore) -> None:
    one, two = await start(store), await start(store, dokku_app="other")
    await store.logs.append(one.id, ["one"], fence=one.fence)
    await store.logs.append(two.id, ["two"], fence=two.fence)
    assert await store.logs.read(one.id) == "one\n"
    assert await store.logs.read(two.id) == "two\n"


async def test_replace_keeps_only_the_new_text(store: SqlStore) -> None:
    running = await start(store)
    await store.logs.append(running.id, numbered(0, 200), fence=running.fence)
    await store.logs.replace(running.id, ["whole"], fence=running.fence)
    await store.logs.append(running.id, ["and on"], fence=running.fence)
    assert await store.logs.read(running.id) == "whole\nand on\n"


async def test_log_is_written_only_by_the_owner(store: SqlStore) -> None:
    waiting = await create(store)
    for deployment_id, fence in ((waiting.id, 0), (waiting.id, 1), (a_deployment().id, 0)):
        with pytest.raises(LeaseLost):
            await store.logs.append(deployment_id, ["x"], fence=fence)
        with pytest.raises(LeaseLost):
            await store.logs.replace(deployment_id, ["x"], fence=fence)
    assert await store.logs.read(waiting.id) == ""


async def test_withdrawing_deletes_the_log(store: SqlStore) -> None:
    owned = await own(store, await create(store))
    await store.logs.append(owned.id, ["refused"], fence=owned.fence)
    await store.withdraw(owned.id, said("withdrawn"))
    assert await store.logs.read(owned.id) == ""


@pytest.mark.parametrize("batch", [700, 6000, 30_000])
async def test_middle_of_a_long_log_is_dropped_and_counted(store: SqlStore, batch: int) -> None:
    running = await start(store)
    total = 30_000
    for first in range(0, total, batch):
        lines = numbered(first, min(batch, total - first))
        await store.logs.append(running.id, lines, fence=running.fence)
    text = await store.logs.read(running.id)
    head, size, count, tail = MARKER.split(text)
    whole = as_text(numbered(0, total))
    assert whole.startswith(head)
    assert whole.endswith(tail.removeprefix("\n"))
    assert len(head) >= HEAD_BYTES
    assert len(tail) >= TAIL_BYTES
    assert len(text) <= 16 * 2**20
    assert len(head) + int(size) + len(tail) - 1 == len(whole)
    assert head.count("\n") + int(count) + tail.count("\n") - 1 == total
    assert head.endswith("\n")


async def test_log_at_the_limit_is_kept_whole(store: SqlStore) -> None:
    running = await start(store)
    lines = numbered(0, 16_000)
    await store.logs.replace(running.id, lines, fence=running.fence)
    assert await store.logs.read(running.id) == as_text(lines)


async def every_page(store: SqlStore, deployment_id: str) -> list[str]:
    count = (await store.logs.pages(deployment_id, None)).count
    shown = [await store.logs.pages(deployment_id, number) for number in range(count)]
    assert [one.first for one in shown] == list(range(count))
    return [text for one in shown for text in one.texts]


async def test_pages_are_the_whole_text_and_keep_their_numbers(store: SqlStore) -> None:
    running = await start(store)
    assert (await store.logs.pages(running.id, None)).texts == [""]
    for lines in (numbered(0, 3), numbered(3, 40), ["é" * 9_000], numbered(43, 500), ["end"]):
        await store.logs.append(running.id, lines, fence=running.fence)
    before = await every_page(store, running.id)
    assert "".join(before) == await store.logs.read(running.id)
    assert max(len(text) for text in before) <= PAGE_CHARACTERS
    await store.logs.append(running.id, numbered(543, 500), fence=running.fence)
    after = await every_page(store, running.id)
    assert after[: len(before) - 1] == before[:-1]
    some = await store.logs.pages(running.id, 2, 5)
    assert (some.first, list(some.texts), some.count) == (2, after[2:7], len(after))
    newest = await store.logs.pages(running.id, None, 3)
    assert list(newest.texts) == after[-3:]
    assert (await store.logs.pages(running.id, 999)).texts == after[-1:]


async def test_pages_say_what_was_dropped(store: SqlStore) -> None:
    running = await start(store)
    await store.logs.append(running.id, numbered(0, 20_000), fence=running.fence)
    shown = await store.logs.pages(running.id, 0, 100_000)
    text = "".join(shown.texts)
    assert (shown.first, len(shown.texts)) == (0, shown.count)
    assert text == await store.logs.read(running.id)
    assert MARKER.search(text)


async def test_single_endless_line_is_capped(store: SqlStore) -> None:
    running = await start(store)
    await store.logs.append(running.id, ["é" * 9_000_000], fence=running.fence)
    await store.logs.append(running.id, ["end"], fence=running.fence)
    text = await store.logs.read(running.id)
    head, size, count, tail = MARKER.split(text)
    assert head == "é" * (len(head) - 1) + "\n"
    assert tail == "\n" + "é" * (len(tail) - 6) + "\nend\n"
    assert int(count) == 0
    kept = len(head.encode()) - 1 + len(tail.encode()) - 1
    assert kept + int(size) == 2 * 9_000_000 + 1 + 4
    assert kept <= 16 * 2**20
