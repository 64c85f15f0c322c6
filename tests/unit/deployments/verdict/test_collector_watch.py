"""The watch over a new release, until it is proven stable or not."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.deployments.dokku_facts import BuildStatus, Containers
from bot.deployments.model import Failure, Live, Phase
from bot.deployments.verdict.collector import EvidenceCollector, Stability
from bot.deployments.verdict.decisions import Cause, Ended
from bot.deployments.verdict.stability import Look
from bot.deployments.verdict.wording import sentence_of
from tests.support.builders import (
    CONFIG_SET,
    NEW,
    OLD,
    OTHER_RELEASE,
    RESTARTED_NEW,
    containers,
    evidence,
)
from tests.support.fake_dokku import DOWN, FakeDokku
from tests.support.virtual_time import LoopClock, in_virtual_time

SETTLE = timedelta(seconds=10)
AGAIN = timedelta(seconds=2)


async def watched(
    dokku: FakeDokku,
    first: Containers | None = None,
    *,
    most: timedelta = timedelta(minutes=30),
    settle: timedelta = SETTLE,
) -> Stability:
    clock = LoopClock()
    collector = EvidenceCollector(dokku, clock=clock, look_again=AGAIN)
    now = clock.monotonic()
    look = Look(began=now, done=now, containers=first or containers(NEW))
    return await collector.watch("web", evidence(), look, settle=settle, most=most)


async def watch(
    dokku: FakeDokku, first: Containers | None = None, *, most: timedelta = timedelta(minutes=30)
) -> tuple[Ended, Containers | None]:
    end = await watched(dokku, first, most=most)
    return end.ended, end.after


@in_virtual_time
async def test_two_looks_a_settle_time_apart_prove_success() -> None:
    dokku = FakeDokku(now=containers(NEW))
    verdict, after = await watch(dokku)
    assert (verdict.phase, verdict.live) == (Phase.SUCCEEDED, Live.NEW)
    assert after == containers(NEW)
    assert 10 <= LoopClock().monotonic() < 11
    assert dokku.asked == ["containers", "builds"]


@in_virtual_time
async def test_unanswered_looks_prove_nothing() -> None:
    dokku = FakeDokku(now=containers(NEW))
    dokku.fail("containers", DOWN, times=3)
    verdict, _ = await watch(dokku)
    assert verdict.phase is Phase.SUCCEEDED
    assert dokku.asked.count("containers") == 4


@in_virtual_time
async def test_server_that_never_answers_ends_as_unknown() -> None:
    end = await watched(FakeDokku(down=DOWN), most=timedelta(minutes=2))
    assert (end.ended.failure, end.ended.live) == (Failure.INTERNAL, Live.UNKNOWN)
    assert (end.after, end.unanswered) == (None, str(DOWN))
    assert 120 <= LoopClock().monotonic() < 135


@in_virtual_time
async def test_earlier_failed_look_is_not_reported() -> None:
    dokku = FakeDokku(now=containers(NEW))
    dokku.fail("containers", DOWN, times=3)
    assert (await watched(dokku)).unanswered is None


@in_virtual_time
async def test_restart_of_the_release_restarts_the_settle_time() -> None:
    verdict, _ = await watch(FakeDokku(now=containers(RESTARTED_NEW)))
    assert (verdict.phase, verdict.live) == (Phase.SUCCEEDED, Live.NEW)
    assert 20 <= LoopClock().monotonic() < 25


@in_virtual_time
async def test_crash_ends_the_watch() -> None:
    verdict, _ = await watch(FakeDokku(now=containers(replace(NEW, restarts=1))))
    assert (verdict.failure, verdict.live) == (Failure.CRASHED, Live.NEW)


@in_virtual_time
@pytest.mark.parametrize("settle", [timedelta(seconds=1), SETTLE, timedelta(minutes=10)])
@pytest.mark.parametrize(
    ("down", "cause"),
    [
        ({"state": "created"}, Cause.NEVER_STARTED),
        ({"state": "exited", "started_at": "0001-01-01T00:00:00Z"}, Cause.NEVER_STARTED),
        ({"state": "dead"}, Cause.CRASHED),
        ({"state": "removing"}, Cause.CRASHED),
        ({"state": "paused"}, Cause.NOT_RUNNING),
        ({"state": "exited", "exit_code": 0}, Cause.ENDED_BY_ITSELF),
        ({"state": "exited", "exit_code": 1}, Cause.CRASHED),
    ],
)
async def test_container_that_does_not_run_is_reported_within_a_minute(
    down: dict[str, Any], cause: Cause, settle: timedelta
) -> None:
    now = containers(replace(NEW, **down))
    end = await watched(FakeDokku(now=now), now, settle=settle)
    assert (end.ended.cause, end.ended.live) == (cause, Live.NONE)
    assert end.ended.down == ((cause, "web.1"),)
    assert LoopClock().monotonic() < 60


@in_virtual_time
async def test_container_that_is_just_being_started_is_waited_for() -> None:
    first = containers(replace(NEW, state="created", started_at="0001-01-01T00:00:00Z"))
    verdict, _ = await watch(FakeDokku(now=containers(NEW)), first)
    assert (verdict.phase, verdict.live) == (Phase.SUCCEEDED, Live.NEW)


@in_virtual_time
async def test_another_or_previous_release_in_place_ends_the_watch() -> None:
    verdict, _ = await watch(FakeDokku(now=containers(OTHER_RELEASE)))
    assert (verdict.failure, verdict.live) == (Failure.INTERRUPTED, Live.UNKNOWN)
    verdict, _ = await watch(FakeDokku(now=containers(OLD)))
    assert (verdict.failure, verdict.live) == (Failure.INTERRUPTED, Live.PREVIOUS)


@in_virtual_time
async def test_replacing_command_is_named() -> None:
    dokku = FakeDokku(now=containers(OTHER_RELEASE))
    dokku.add_record("b1", BuildStatus.SUCCEEDED)
    dokku.add_record("p1", BuildStatus.SUCCEEDED, source="git-hook")
    verdict, _ = await watch(dokku)
    said = "It was replaced by git push before it was confirmed as stable."
    assert sentence_of(verdict).startswith(said)
    assert dokku.asked == ["containers", "builds"]


@in_virtual_time
async def test_unreadable_records_keep_the_earlier_ones() -> None:
    dokku = FakeDokku(now=containers(OTHER_RELEASE))
    dokku.fail("builds")
    clock = LoopClock()
    collector = EvidenceCollector(dokku, clock=clock, look_again=AGAIN)
    look = Look(began=clock.monotonic(), done=clock.monotonic(), containers=containers(NEW))
    end = await collector.watch(
        "web", evidence(others=(CONFIG_SET,)), look, settle=SETTLE, most=SETTLE
    )
    assert end.others == (CONFIG_SET,)
    assert sentence_of(end.ended).startswith("It was replaced by config:set")
    assert end.after == containers(OTHER_RELEASE)


@in_virtual_time
async def test_outside_records_begun_during_the_watch_are_returned() -> None:
    dokku = FakeDokku(now=containers(NEW))
    dokku.add_record("b1", BuildStatus.SUCCEEDED)
    dokku.add_record("g1", BuildStatus.SUCCEEDED)
    clock = LoopClock()
    collector = EvidenceCollector(dokku, clock=clock, look_again=AGAIN)
    look = Look(began=clock.monotonic(), done=clock.monotonic(), containers=containers(NEW))
    end = await collector.watch("web", evidence(), look, settle=SETTLE, most=SETTLE)
    assert [one.id for one in end.others] == ["g1"]
    unknown = await collector.watch("web", evidence(record=None), look, settle=SETTLE, most=SETTLE)
    assert unknown.others == ()
