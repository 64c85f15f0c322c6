"""Rate limits, injected faults, and waiting for something that does not happen."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient

from bot.simulators.slack.simulator import SlackSimulator, open_slack
from tests.unit.simulators.slack.conftest import MANIFEST, refusal

DEPLOYS, ONCALL = "C01DEPLOYS0", "C01ONCALL00"


async def test_rate_limit_answers_429_and_the_sdk_can_wait(
    slack: SlackSimulator, client: AsyncWebClient
) -> None:
    slack.rate_limit_for_test("chat.postMessage", retry_after_s=1, times=1)
    with pytest.raises(SlackApiError) as refused:
        await client.chat_postMessage(channel=DEPLOYS, text="x")
    assert refused.value.response.status_code == 429
    assert refused.value.response.headers["Retry-After"] == "1"

    slack.rate_limit_for_test("chat.postMessage", retry_after_s=0, times=1)
    client.retry_handlers.append(AsyncRateLimitErrorRetryHandler())
    assert (await client.chat_postMessage(channel=DEPLOYS, text="x"))["ok"]
    assert [c.outcome for c in slack.calls] == ["ratelimited", "ratelimited", "ok"]


async def test_enforced_rate_limits_follow_the_tiers() -> None:
    async with open_slack(manifest=MANIFEST, enforce_rate_limits=True) as slack:
        client = AsyncWebClient(token=slack.bot_token, base_url=slack.api_url)
        ts = (await client.chat_postMessage(channel=DEPLOYS, text="x"))["ts"]
        for number in range(50):
            await client.chat_update(channel=DEPLOYS, ts=ts, text=str(number))

        code = await refusal(client.chat_update(channel=DEPLOYS, ts=ts, text="too much"))
        assert code == "ratelimited"
        assert (await client.users_info(user="U01ADA00001"))["ok"]
        slack.advance_clock_for_test(61)
        assert (await client.chat_update(channel=DEPLOYS, ts=ts, text="again"))["ok"]
        for _ in range(10):
            await client.chat_postMessage(channel=DEPLOYS, text="x")
        code = await refusal(client.chat_postMessage(channel=DEPLOYS, text="x"))
        assert code == "ratelimited"
        assert (await client.chat_postMessage(channel=ONCALL, text="x"))["ok"]


async def test_injected_faults(slack: SlackSimulator, client: AsyncWebClient) -> None:
    client.retry_handlers.clear()

    def post() -> Awaitable[Any]:
        return client.chat_postMessage(channel=DEPLOYS, text="x")

    slack.fail_for_test("chat.postMessage", error="fatal_error", times=2)
    assert [await refusal(post()), await refusal(post())] == ["fatal_error"] * 2
    slack.fail_for_test("*", status=503)
    with pytest.raises(SlackApiError) as refused:
        await post()
    assert refused.value.response.status_code == 503
    slack.lose_response_for_test("chat.postMessage")
    with pytest.raises(aiohttp.ClientError):
        await post()
    assert len(slack.messages(slack.channel("deploys"))) == 1
    slack.slow_for_test("chat.postMessage", 30)
    client.timeout = 1
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await post()
    slack.clear_faults_for_test()
    assert (await post())["ok"]


async def test_held_call_continues_after_release(
    slack: SlackSimulator, client: AsyncWebClient
) -> None:
    async with slack.hold_for_test("chat.postMessage") as hold:
        call = asyncio.create_task(client.chat_postMessage(channel=DEPLOYS, text="x"))
        await hold.arrived()
        assert not slack.messages(slack.channel("deploys"))
        hold.release()
        await call
    assert slack.messages(slack.channel("deploys"))


async def test_until_timeout_shows_the_workspace(
    slack: SlackSimulator, client: AsyncWebClient
) -> None:
    await client.chat_postMessage(channel=DEPLOYS, text="here I am")

    def never() -> bool:
        return False

    with pytest.raises(AssertionError, match="here I am"):
        await slack.until(never, timeout_s=0.01)
