"""Which build `builds:cancel` may be sent for, and what proves that a build lives."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from bot.deployments.dokku_facts import BuildRecord, BuildStatus, LogEnd
from bot.deployments.model import Actor, AuditEntry
from bot.deployments.timing import Timing
from bot.deployments.verdict.left_builds import (
    ASKED,
    BUILD,
    SENT,
    Trail,
    is_approved,
    only_running,
    refuse_again,
)
from bot.deployments.verdict.server_cancel import LogWatch, cancel_on_server
from bot.errors import Declined, Withheld
from tests.support.builders import NOW
from tests.support.fake_dokku import FakeDokku
from tests.support.virtual_time import LoopClock, in_virtual_time


def record(build_id: str, status: BuildStatus, *, kind: str = "build") -> BuildRecord:
    return BuildRecord(id=build_id, app="web", status=status, source="git-hook", kind=kind)


RUNNING = record("b1", BuildStatus.RUNNING)


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([], "no record of build b1"),
        ([record("b1", BuildStatus.CANCELED)], "its record says canceled"),
        ([record("b1", BuildStatus.ABANDONED)], "its record says abandoned"),
        ([record("b1", BuildStatus.RUNNING, kind="deploy")], "holds no deploy lock"),
        ([record("b2", BuildStatus.RUNNING), RUNNING], "b2 of web runs as well"),
    ],
)
def test_cancel_that_could_hit_another_process_is_declined(
    records: list[BuildRecord], why: str
) -> None:
    with pytest.raises(Declined, match=why) as declined:
        only_running(records, "b1", "web")
    assert "Nothing was sent." in str(declined.value)


def test_only_running_build_may_be_cancelled() -> None:
    ended, restart = (
        record("b0", BuildStatus.FAILED),
        record("b2", BuildStatus.RUNNING, kind="deploy"),
    )
    assert only_running([restart, RUNNING, ended], "b1", "web") == RUNNING


def trail(*entries: tuple[str, str]) -> Trail:
    by = Actor(user="U1", name="ada")
    return [
        (NOW, AuditEntry(actor=by, through="button", action=action, detail={BUILD: build}))
        for action, build in entries
    ]


def test_an_approval_is_for_one_build_and_one_cancel() -> None:
    assert is_approved(trail((ASKED, "b1")), "b1")
    assert not is_approved(trail((ASKED, "b1"), (SENT, "b1")), "b1")
    assert is_approved(trail((ASKED, "b1"), (SENT, "b1"), (ASKED, "b1")), "b1")
    assert not is_approved(trail((ASKED, "b1"), ("cancelling", "b1"), (SENT, "b1")), "b2")


def test_second_request_within_half_a_minute_is_refused() -> None:
    asked, pause = trail((ASKED, "b1")), timedelta(seconds=30)
    with pytest.raises(Declined, match="ada asked to cancel Dokku build b1"):
        refuse_again(asked, "b1", NOW + timedelta(seconds=29), pause)
    refuse_again(asked, "b1", NOW + pause, pause)
    refuse_again(asked, "b2", NOW, pause)
    refuse_again(asked, "b1", NOW - timedelta(hours=1), pause)  # the clock was set back


@pytest.mark.parametrize(
    ("earlier", "now", "grew"),
    [
        ((1, 2), (1, 2, 3), True),
        ((1, 2, 3), (2, 3, 4), True),  # Dokku shows the last 1,000 lines only
        ((1, 2), (1, 2), False),
        ((1, 2), (1,), False),  # cut short
        ((1, 2), (), False),
        ((), (1, 2), False),  # the first read may have been too late
    ],
)
def test_only_more_lines_prove_that_a_build_lives(
    earlier: tuple[int, ...], now: tuple[int, ...], grew: bool
) -> None:
    assert LogEnd(lines=now).goes_on_from(LogEnd(lines=earlier)) is grew


@in_virtual_time
async def test_growth_counts_only_since_a_look_moments_ago() -> None:
    clock, dokku = LoopClock(), FakeDokku()
    logs = LogWatch(clock=clock, timing=Timing())
    dokku.add_record("b1", text=["one"])
    first = await logs.look(dokku, "web", "b1")
    assert (first.grew, first.grew_at) == (False, None)
    dokku.texts["b1"] = ["one", "two"]
    second = await logs.look(dokku, "web", "b1")
    assert (second.grew, second.grew_at) == (True, clock.now())
    dokku.texts["b1"] = ["one", "two", "three"]
    await clock.sleep(timedelta(minutes=1))
    third = await logs.look(dokku, "web", "b1")
    assert not third.grew  # it may have died since
    assert third.since == first.since
    assert third.grew_at is not None
    assert second.grew_at is not None
    assert third.grew_at > second.grew_at


@in_virtual_time
async def test_growth_while_the_machine_was_suspended_proves_no_life() -> None:
    clock, dokku = LoopClock(), FakeDokku()
    dokku.add_record("b1", text=["one"])
    looking = asyncio.create_task(LogWatch(clock=clock, timing=Timing()).look(dokku, "web", "b1"))
    await clock.sleep(timedelta(seconds=2))
    dokku.texts["b1"] = ["one", "two"]
    asyncio.get_running_loop()._virtual.now_s += 60  # type: ignore[attr-defined]  # no timer ran
    assert not (await looking).grew


@in_virtual_time
async def test_nothing_is_sent_on_an_old_answer_or_without_the_right() -> None:
    clock, dokku = LoopClock(), FakeDokku()
    dokku.add_record("b1")
    more: dict[str, Any] = {"clock": clock, "timing": Timing()}
    with pytest.raises(Withheld):
        await cancel_on_server(dokku, "web", "b1", may_act=lambda: False, **more)
    dokku.answer_s = 1.5  # the cancel waits for its turn, too
    with pytest.raises(Withheld):
        await cancel_on_server(dokku, "web", "b1", may_act=lambda: True, **more)
    assert dokku.cancels == []
    dokku.answer_s = 0.1
    await cancel_on_server(dokku, "web", "b1", may_act=lambda: True, **more)
    assert len(dokku.cancels) == 1
