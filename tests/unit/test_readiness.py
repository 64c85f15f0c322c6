"""What `/readyz` asks, and how often."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from bot.clock import SystemClock
from bot.metrics import Metrics
from bot.readiness import TOKEN_EVERY_S, WRITE_EVERY_S, Readiness, Seldom
from bot.simulators.slack.simulator import SlackSimulator, open_slack
from bot.slack.bolt import Intake, open_intake
from bot.slack.client import open_client
from bot.slack.manifest import manifest
from tests.support.fake_service import FakeService


class Seconds:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def listening(*, socket: bool) -> AsyncIterator[tuple[SlackSimulator, Intake]]:
    app = manifest() if socket else manifest("http", "https://deploybot.example.com")
    async with (
        open_slack(manifest=app, mode="socket" if socket else "http") as slack,
        open_client(slack.bot_token, base_url=slack.api_url) as client,
        open_intake(
            client=client,
            service=FakeService(client),
            clock=SystemClock(),
            app_token=slack.app_token if socket else None,
            signing_secret=None if socket else slack.signing_secret,
            drain=timedelta(0),
        ) as intake,
    ):
        yield slack, intake


@pytest.mark.parametrize("socket", [True, False])
async def test_revoked_token_is_a_reason(socket: bool) -> None:
    async with listening(socket=socket) as (slack, intake):
        clock = Seconds()
        readiness = Readiness(intake=intake, seconds=clock)
        assert (await readiness.check()).parts["slack"] is None
        slack.fail_for_test("auth.test", error="token_revoked", times=1)

        assert (await readiness.check()).parts["slack"] is None  # not asked again yet
        clock.now = TOKEN_EVERY_S
        why = (await readiness.check()).parts["slack"]
        assert why is not None
        assert "Slack refuses my token (token_revoked)" in why
        assert (await readiness.check()).parts["slack"] == why
        clock.now *= 2
        assert (await readiness.check()).parts["slack"] is None


async def test_slack_without_an_answer_is_a_reason_the_second_time() -> None:
    async with listening(socket=False) as (slack, intake):
        clock = Seconds()
        readiness = Readiness(intake=intake, seconds=clock)
        slack.fail_for_test("auth.test", status=503, times=2)
        found = []
        for _ in range(3):
            found.append((await readiness.check()).parts["slack"])
            clock.now += TOKEN_EVERY_S

    first, second, third = found
    assert first is None
    assert second is not None
    assert "503" in second
    assert third is None


async def test_rate_limited_look_is_no_reason() -> None:
    async with listening(socket=False) as (slack, intake):
        slack.fail_for_test("auth.test", status=429, times=2)

        assert [await intake.token_problem() for _ in range(2)] == [None, None]


async def test_many_callers_share_one_look() -> None:
    clock = Seconds()
    seldom = Seldom(WRITE_EVERY_S, clock)
    looks = 0
    answered = asyncio.Event()

    async def look() -> str:
        nonlocal looks
        looks += 1
        await answered.wait()
        return f"look {looks}"

    hasty = asyncio.ensure_future(seldom.answer(look))
    others = [asyncio.ensure_future(seldom.answer(look)) for _ in range(20)]
    await asyncio.sleep(0)
    hasty.cancel()  # its time is up: the look goes on
    await asyncio.wait([hasty])
    answered.set()

    assert await asyncio.gather(*others) == ["look 1"] * 20
    assert await seldom.answer(look) == "look 1"
    clock.now = WRITE_EVERY_S
    assert await seldom.answer(look) == "look 2"


async def test_metrics_say_whether_slack_is_connected() -> None:
    metrics = Metrics()
    await Readiness().measure(metrics)
    assert "deploybot_slack_connected 0.0" in metrics.page().decode()
    assert 'deploybot_outbox_age_seconds{receiver="slack"} NaN' in metrics.page().decode()
    async with listening(socket=False) as (_, intake):
        await Readiness(intake=intake).measure(metrics)
        assert "deploybot_slack_connected 1.0" in metrics.page().decode()
