from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.simulators.slack.http_mode import signature
from bot.simulators.slack.manifest import AppConfig, ManifestError
from bot.simulators.slack.model import NotPossible
from bot.simulators.slack.simulator import SlackSimulator, open_slack
from tests.unit.simulators.slack.conftest import MANIFEST, QUICK


@pytest.fixture
async def slack() -> AsyncIterator[SlackSimulator]:
    async with open_slack(manifest=MANIFEST, mode="http", timings=QUICK) as simulator:
        yield simulator


class Site:
    """An HTTP server that passes everything to a Bolt app, or gives a fixed answer."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.statuses: list[web.Response] = []
        self.received: list[dict[str, Any]] = []
        self.url = ""


@pytest.fixture
async def site(slack: SlackSimulator) -> AsyncIterator[Site]:
    site = Site()
    app = AsyncApp(
        signing_secret=slack.signing_secret,
        client=AsyncWebClient(token=slack.bot_token, base_url=slack.api_url),
    )

    async def command(ack: AsyncAck, body: dict[str, Any]) -> None:
        site.received.append(body)
        await ack("received")

    async def listen(ack: AsyncAck, body: dict[str, Any]) -> None:
        site.received.append(body)
        await ack()

    app.command("/sample")(command)
    app.shortcut("take_sample")(listen)
    app.event("message")(listen)
    app.event("app_mention")(listen)
    bolt = app.web_app(path="/slack/events")

    @web.middleware
    async def note(request: web.Request, handler: Any) -> web.StreamResponse:
        site.requests.append(request)
        site.bodies.append(await request.read())
        if site.statuses:
            return site.statuses.pop(0)
        answer: web.StreamResponse = await handler(request)
        return answer

    bolt.middlewares.append(note)
    runner = web.AppRunner(bolt, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    yield site
    await runner.cleanup()


async def test_bolt_accepts_the_challenge_and_the_signatures(
    slack: SlackSimulator, site: Site
) -> None:
    await slack.set_request_url(site.url)
    ada, deploys = slack.user("ada"), slack.channel("deploys")

    result = await slack.command(ada, deploys, "/sample", "text & more")
    message = await slack.say(ada, deploys, "@samplebot hi")
    await slack.shortcut(ada, message, callback_id="take_sample")
    await slack.until(lambda: len(slack.deliveries) == 4)

    assert result.response == "received"
    assert [m.text for m in slack.ephemerals(ada)] == ["received"]
    assert site.received[0]["text"] == "text &amp; more"
    kinds = {body.get("type") for body in site.received}
    assert kinds == {None, "event_callback", "message_action"}


async def test_signature_matches_slack(slack: SlackSimulator, site: Site) -> None:
    await slack.set_request_url(site.url)

    request, body = site.requests[0], site.bodies[0]
    timestamp = request.headers["X-Slack-Request-Timestamp"]
    expected = signature(slack.signing_secret, timestamp, body)
    assert request.headers["X-Slack-Signature"] == expected
    # The example of Slack's own page on verifying requests.
    assert (
        signature(
            "8f742231b10e8888abcd99yyyzzz85a5",
            "1531420618",
            b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
            b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
            b"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
            b"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
            b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
        )
        == "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    )


async def test_events_are_retried_with_slacks_headers(slack: SlackSimulator, site: Site) -> None:
    await slack.set_request_url(site.url)
    site.statuses = [web.Response(status=500)]

    await slack.say(slack.user("ada"), slack.channel("oncall"), "hi")
    await slack.until(lambda: len(slack.deliveries) == 2)

    assert site.requests[-1].headers["X-Slack-Retry-Num"] == "1"
    assert site.requests[-1].headers["X-Slack-Retry-Reason"] == "http_error"


async def test_app_can_decline_retries(slack: SlackSimulator, site: Site) -> None:
    await slack.set_request_url(site.url)
    site.statuses = [web.Response(status=500, headers={"X-Slack-No-Retry": "1"})]

    await slack.say(slack.user("ada"), slack.channel("oncall"), "first")
    await slack.until(lambda: len(slack.deliveries) == 1)
    await slack.say(slack.user("ada"), slack.channel("oncall"), "second")
    await slack.until(lambda: len(slack.deliveries) == 2)

    assert slack.deliveries[1].retry is None


async def test_command_fails_without_the_app(slack: SlackSimulator) -> None:
    with pytest.raises(NotPossible):
        await slack.set_request_url("http://127.0.0.1:9/")

    result = await slack.command(slack.user("ada"), slack.channel("deploys"), "/sample")

    assert not result.acked
    assert "dispatch_failed" in slack.notices[0].text


async def test_http_mode_has_no_sockets(slack: SlackSimulator) -> None:
    client = AsyncWebClient(base_url=slack.api_url)

    with pytest.raises(SlackApiError, match="socket_mode_not_enabled"):
        await client.apps_connections_open(app_token=slack.app_token)


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("settings", "event_subscriptions"), {"bot_events": ["star_added"]}, "not modelled"),
        (("oauth_config", "scopes"), {"bot": ["commands"]}, "needs the scope"),
        (("settings", "interactivity"), {"is_enabled": False}, "need interactivity"),
        (("features", "slash_commands"), [{"command": "no", "description": ""}], "not a slash"),
        (("features", "bot_user"), {}, "lacks 'display_name'"),
    ],
)
def test_invalid_manifest_is_refused(path: tuple[str, str], value: Any, complaint: str) -> None:
    part, key = path
    manifest = MANIFEST | {part: MANIFEST[part] | {key: value}}

    with pytest.raises(ManifestError, match=complaint):
        AppConfig.from_manifest(manifest)
