import asyncio
import hashlib
import hmac
import io
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request
from structlog.testing import capture_logs

from bot.clock import Clock, SystemClock
from bot.deployments.model import Phase
from bot.errors import ConfigError
from bot.simulators.patience import stretched
from bot.simulators.slack.delivery import Ack, Envelope
from bot.simulators.slack.simulator import SlackSimulator, open_slack
from bot.slack.bolt import Intake, open_intake
from bot.slack.client import open_client
from bot.slack.limits import SlackLimits
from bot.slack.listeners.desk import claim_all
from bot.slack.manifest import manifest
from bot.slack.signatures import RequestCheck
from tests.support.builders import a_deployment
from tests.support.fake_service import FakeService
from tests.support.stage import Stage, open_stage

LIMIT_S = 10


class HastyClock(Clock):
    """Waits a hundredth of what it is asked to."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, duration: timedelta) -> None:
        await asyncio.sleep(duration.total_seconds() / 100)


class TurnedClock(HastyClock):
    """A clock that only a test moves."""

    at = 0.0

    def monotonic(self) -> float:
        return self.at


@asynccontextmanager
async def intake_for(
    slack: SlackSimulator, *, bot_token: str = "", app_token: str = "", first_wait_s: float = 5.0
) -> AsyncIterator[Intake]:
    async with (
        open_client(bot_token or slack.bot_token, base_url=slack.api_url) as client,
        open_intake(
            client=client,
            service=FakeService(client),
            clock=HastyClock(),
            app_token=app_token or slack.app_token,
            first_wait=timedelta(seconds=first_wait_s),
            source_of=lambda setting: f"where {setting} was read",
        ) as intake,
    ):
        yield intake


async def connected(intake: Intake) -> None:
    for _ in range(1000):
        if await intake.is_connected():
            return
        await asyncio.sleep(0.01)
    pytest.fail("not connected within 10 s")


@pytest.mark.parametrize(
    ("bot_token", "app_token", "setting"),
    [("xoxb-wrong", "", "SLACK_BOT_TOKEN"), ("", "xapp-wrong", "SLACK_APP_TOKEN")],
)
async def test_refused_token_is_reported_with_its_source_and_the_fix(
    bot_token: str, app_token: str, setting: str
) -> None:
    async with open_slack(manifest=manifest()) as slack:
        with pytest.raises(ConfigError, match="invalid_auth") as refused:
            async with intake_for(slack, bot_token=bot_token, app_token=app_token):
                pass
        assert refused.value.setting == setting
        assert refused.value.source == f"where {setting} was read"
        assert refused.value.fix
        assert "wrong" not in str(refused.value)


async def test_start_waits_for_an_unreachable_slack() -> None:
    async with open_slack(manifest=manifest()) as slack:
        slack.fail_for_test("auth.test", status=503, times=4)
        slack.fail_for_test("apps.connections.open", status=500, times=2)
        async with intake_for(slack, first_wait_s=0) as intake:
            assert not await intake.is_connected()
            await connected(intake)


async def test_token_refused_after_the_start_ends_the_intake() -> None:
    async with open_slack(manifest=manifest()) as slack:
        slack.fail_for_test("auth.test", error="internal_error")
        slack.fail_for_test("auth.test", error="token_revoked")
        async with intake_for(slack, first_wait_s=0) as intake:
            with pytest.raises(ConfigError, match="token_revoked"):
                await asyncio.wait_for(intake.failure(), LIMIT_S)


@pytest.mark.parametrize("how", ["refreshed", "cut"])
async def test_lost_connection_is_reopened(how: str) -> None:
    async with open_stage() as stage:
        if how == "refreshed":
            await stage.slack.disconnect_all_for_test()
        else:
            stage.slack.drop_tcp_for_test()
        hub = stage.slack._hub
        await stage.slack.until(
            lambda: len(hub.sent_per_connection) > 1 and hub.open_connections == 1, timeout_s=30
        )
        await connected(stage.intake)
        await stage.deploy("status")
        assert await stage.whisper() == "Nothing is running or queued."


async def test_receiving_a_request_only_asks_once_who_the_person_is() -> None:
    async with open_stage() as stage:
        before = len(stage.slack.calls)
        for count in (1, 2):
            await stage.deploy("status")
            await stage.whisper(count)
        assert [call.method for call in stage.slack.calls[before:]] == ["users.info"]
        assert len(stage.acks) == 2
        assert 0 < stage.acks[0] < 1


async def test_repeated_event_is_answered_once() -> None:
    async with open_stage() as stage:
        stage.slack.lose_acks_for_test(2)
        direct = stage.slack.dm(stage.ada)
        await stage.slack.say(stage.ada, direct, "status")
        await stage.slack.until(lambda: len(stage.slack.deliveries) > 2)
        await stage.deploy("status")
        await stage.whisper()
        assert len([one for one in stage.slack.messages(direct) if one.bot_id]) == 1


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("events_api", {"event": {"type": "member_joined_channel", "user": "U1"}}),
        ("events_api", {"event": {"type": "message", "subtype": "channel_join", "user": "U1"}}),
        ("interactive", {"type": "block_actions", "actions": [{"action_id": "a_link"}]}),
        ("interactive", {"type": "view_closed", "view": {"callback_id": "other"}}),
        (
            "interactive",
            {"type": "view_submission", "view": {"type": "modal", "callback_id": "other"}},
        ),
        ("interactive", {"type": "shortcut", "callback_id": "other"}),
        ("interactive", {"type": "message_action", "callback_id": "other"}),
        ("interactive", {"type": "block_suggestion", "action_id": "other", "block_id": "b"}),
    ],
)
async def test_request_without_a_handler_is_acknowledged(
    kind: Any, payload: dict[str, Any]
) -> None:
    async with open_stage() as stage:
        common = {"team_id": "T1", "type": "event_callback", "event_id": "Ev1", "trigger_id": "1"}
        body = {**common, "user": {"id": "U1"}, "view": {"id": "V1"}, **payload}
        outcome = await stage.slack._delivery.send(Envelope(kind=kind, payload=body))
        assert isinstance(outcome, Ack)


async def test_running_listeners_finish_before_the_intake_closes() -> None:
    async with open_stage() as stage:
        async with stage.slack.hold_for_test("chat.postMessage") as hold:
            await stage.deploy("myapp")
            closing = asyncio.create_task(stage.intake.close(timedelta(seconds=LIMIT_S)))
            await stage.slack.until(lambda: stage.slack.open_connections == 0)
            assert not closing.done()
            hold.release()
            await asyncio.wait_for(closing, LIMIT_S)
        assert stage.service.rows
        assert not await stage.intake.is_connected()


async def test_listeners_are_cancelled_at_the_drain_limit() -> None:
    async with open_stage() as stage, stage.slack.hold_for_test("chat.postMessage"):
        await stage.deploy("myapp")
        await stage.slack.until(lambda: stage.service.requests)
        await asyncio.wait_for(stage.intake.close(timedelta(0)), LIMIT_S)


async def test_person_whose_request_is_cut_off_is_told() -> None:
    async with open_stage() as stage, stage.slack.hold_for_test("chat.postMessage") as hold:
        await stage.deploy("myapp")
        await hold.arrived()
        closing = asyncio.create_task(stage.intake.close(stretched(timedelta(seconds=1))))
        assert (await stage.whisper()).startswith("deploybot was restarted while it worked on this")
        await asyncio.wait_for(closing, LIMIT_S)


async def test_answer_to_a_request_that_is_cut_off_delays_the_end_no_further() -> None:
    async with (
        open_stage() as stage,
        stage.slack.hold_for_test("chat.postMessage") as hold,
        stage.slack.hold_for_test("chat.postEphemeral"),
    ):
        await stage.slack.say(stage.ada, stage.deploys, f"<@{stage.slack.bot.id}> deploy myapp")
        await hold.arrived()
        await asyncio.wait_for(stage.intake.close(timedelta(milliseconds=200)), LIMIT_S)
        assert stage.slack.ephemerals(stage.ada) == []


async def test_undeliverable_answer_is_only_logged() -> None:
    async with open_stage() as stage:
        for method in ("chat.postEphemeral", "chat.postMessage"):
            stage.slack.fail_for_test(method, error="fatal_error", times=5)
        text = f"<@{stage.slack.bot.id}> lock myapp"
        await stage.slack.say(stage.ada, stage.deploys, text)
        await stage.slack.until(
            lambda: any(call.method == "chat.postMessage" for call in stage.slack.calls)
        )
        stage.slack.clear_faults_for_test()
        await stage.deploy("status")
        assert (await stage.whisper()).startswith("Nothing is running or queued.")


async def test_socket_that_stays_disconnected_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK would try the address of a refused connection for ever."""
    async with open_slack(manifest=manifest()) as slack, intake_for(slack) as intake:
        hub = slack._hub
        await slack.until(lambda: hub.open_connections == 1)

        async def never(_self: object) -> bool:
            return False

        with monkeypatch.context() as lost:
            lost.setattr("bot.slack.bolt.SocketModeClient.is_connected", never)
            await slack.until(lambda: len(hub.sent_per_connection) > 1)
        await connected(intake)


async def test_http_mode_works_like_socket_mode() -> None:
    async with open_stage("http") as stage:
        assert await stage.intake.is_connected()
        await stage.deploy("")
        view = await stage.view("Branch, tag or commit")
        result = await stage.slack.submit(stage.ada, view, {"app": "myapp", "ref": "a..b"})
        assert "not a valid branch" in result.errors["ref"]
        await stage.slack.submit(stage.ada, view, {"app": "myapp", "ref": "main"})
        message = await stage.live_message()
        await stage.slack.click(stage.ada, message, action_id="deployment_cancel")
        assert await stage.whisper() == "Cancelling it."
        await stage.slack.say(stage.ada, stage.deploys, "status", thread_ts=message.ts)
        await stage.replies(message)
        assert len(stage.acks) > 4


def signed(secret: str, body: str, timestamp: str) -> dict[str, str]:
    base = f"v0:{timestamp}:{body}".encode()
    digest = hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()
    return {
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": f"v0={digest}",
        "Content-Type": "application/json",
    }


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 200),
        ({"X-Slack-Signature": "v0=" + "0" * 64}, 401),
        ({"X-Slack-Signature": "v0=é"}, 401),
        ({"X-Slack-Request-Timestamp": "soon"}, 401),
        ({"X-Slack-Request-Timestamp": "٣"}, 401),
        ({"X-Slack-Request-Timestamp": "9" * 5000}, 401),
        ({"X-Slack-Request-Timestamp": "1000"}, 401),
        ({"X-Slack-Request-Timestamp": ""}, 401),
    ],
)
async def test_unsigned_request_is_refused(change: dict[str, str], status: int) -> None:
    async with open_stage("http") as stage, aiohttp.ClientSession() as session:
        body = json.dumps({"type": "url_verification", "challenge": "x"})
        headers = signed(stage.slack.signing_secret, body, str(int(time.time()))) | change
        async with session.post(stage.url, data=body.encode(), headers=headers) as answer:
            assert answer.status == status


CHALLENGE = '{"type": "url_verification", "challenge": "x"}'
SSL_CHECK = "token=abc&ssl_check=1"


async def test_unsigned_ssl_check_is_answered_and_does_nothing() -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    async with open_stage("http") as stage, aiohttp.ClientSession() as session:
        async with session.post(stage.url, data=SSL_CHECK, headers=form) as answer:
            assert (answer.status, await answer.text()) == (200, "")
        async with session.get(f"{stage.url}?{SSL_CHECK}") as answer:
            assert answer.status == 200
        command = f"{SSL_CHECK}&command=%2Fdeploy&text=myapp+main&user_id={stage.ada.id}"
        async with session.post(stage.url, data=command, headers=form) as answer:
            assert (answer.status, await answer.text()) == (200, "")
        async with session.post(stage.url, data="ssl_check=0", headers=form) as answer:
            assert answer.status == 401
        async with session.get(stage.url) as answer:
            assert answer.status == 405
        assert stage.service.requests == []


async def refuse(stage: Stage, secret: str, *, age_s: int = 0, body: str = CHALLENGE) -> int:
    headers = signed(secret, body, str(int(time.time()) - age_s))
    async with (
        aiohttp.ClientSession() as session,
        session.post(stage.url, data=io.BytesIO(body.encode()), headers=headers) as answer,
    ):
        return answer.status


@pytest.mark.parametrize(
    ("ask", "status", "kind", "words"),
    [
        ({"secret": "wrong"}, 401, "bad_signature", "SLACK_SIGNING_SECRET is wrong"),
        ({"age_s": 412}, 401, "old_timestamp", r"differs by 41[23] s: it is ahead of"),
        ({"age_s": -412}, 401, "old_timestamp", r"differs by 41[123] s: it is behind"),
        ({"secret": "wrong", "age_s": 412}, 401, "bad_signature", "SLACK_SIGNING_SECRET is wrong"),
        ({"body": "x" * 2_000_000}, 413, "too_large", "larger than any of Slack's"),
    ],
)
async def test_refused_request_is_logged_once_a_minute_with_its_likely_cause(
    ask: dict[str, Any], status: int, kind: str, words: str
) -> None:
    async with open_stage("http") as stage:
        given = {"secret": stage.slack.signing_secret} | ask
        with capture_logs() as logs:
            for _ in range(3):
                assert await refuse(stage, **given) == status
            assert await refuse(stage, stage.slack.signing_secret) == 200
        (warning,) = [one for one in logs if one["event"] == "slack_request_refused"]
        assert (warning["log_level"], warning["kind"]) == ("warning", kind)
        assert re.search(words, warning["why"])


async def test_each_kind_of_refusal_has_its_own_warning() -> None:
    check = RequestCheck("secret", clock := TurnedClock())
    request = make_mocked_request("POST", "/slack/events")
    stamp = {"X-Slack-Request-Timestamp": "1000", "X-Slack-Signature": "v0=0"}
    wrong = make_mocked_request("POST", "/slack/events", headers=stamp)
    with capture_logs() as logs:
        for _ in range(5):
            assert not check.is_from_slack(request, "")
            assert not check.is_from_slack(wrong, "")
        clock.at += 61
        assert not check.is_from_slack(request, "")
    assert [(one["kind"], one["refused"]) for one in logs] == [
        ("unsigned", 1),
        ("bad_signature", 1),
        ("unsigned", 5),
    ]


@pytest.mark.parametrize(("body", "status"), [(b"\xff\xfe", 400), (b"{", 400), (b"[]", 400)])
async def test_unreadable_body_is_refused(body: bytes, status: int) -> None:
    async with open_stage("http") as stage, aiohttp.ClientSession() as session:
        text = body.decode(errors="replace")
        headers = signed(stage.slack.signing_secret, text, str(int(time.time())))
        async with session.post(stage.url, data=body, headers=headers) as answer:
            assert answer.status == status


async def test_requests_get_503_until_slack_has_answered() -> None:
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(open_slack(manifest=manifest()))
        client = await stack.enter_async_context(open_client("x", base_url=slack.api_url))
        intake = Intake(
            client=client,
            service=FakeService(client),
            clock=SystemClock(),
            app_token=None,
            signing_secret="s",
            observe_ack=lambda _seconds: None,
            source_of=str,
            limits=SlackLimits(),
            in_channel=lambda _channel, _back: None,
            claim=claim_all,
        )
        assert not await intake.is_connected()
        request = make_mocked_request("POST", "/slack/events")
        assert (await intake.handle_http(request)).status == 503
        with pytest.raises(RuntimeError):
            await intake.failure()
        await intake.close(timedelta(0))


async def test_acks_are_fast_while_listeners_fail_at_once() -> None:
    async with open_stage() as stage:
        stage.service.broken = True
        for _ in range(5):
            result = await stage.slack.command(stage.ada, stage.deploys, "/deploy", "myapp")
            assert result.acked
        assert "Something went wrong" in await stage.whisper(5)
        stage.service.broken = False
        stage.service.known(a_deployment(app="myapp", phase=Phase.BUILDING))
        await stage.deploy("status myapp")
        assert "Building" in await stage.whisper(6)
