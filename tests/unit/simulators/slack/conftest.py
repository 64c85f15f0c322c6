import logging
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.simulators.slack.clock import Timings
from bot.simulators.slack.delivery import Ack, Envelope, NoAck, Retry
from bot.simulators.slack.simulator import SlackSimulator, open_slack

MANIFEST: dict[str, Any] = {
    "_metadata": {"major_version": 2, "minor_version": 1},
    "display_information": {"name": "Sample App", "description": "Something to install"},
    "features": {
        "bot_user": {"display_name": "samplebot", "always_online": True},
        "app_home": {"home_tab_enabled": True, "messages_tab_enabled": True},
        "slash_commands": [
            {
                "command": "/sample",
                "description": "Do something",
                "usage_hint": "this or that",
                "should_escape": True,
            }
        ],
        "shortcuts": [
            {
                "name": "Take a sample",
                "type": "message",
                "callback_id": "take_sample",
                "description": "Takes a sample of this message",
            }
        ],
    },
    "oauth_config": {
        "scopes": {
            "bot": [
                "commands",
                "chat:write",
                "app_mentions:read",
                "channels:history",
                "channels:read",
                "groups:history",
                "groups:read",
                "im:history",
                "im:read",
                "im:write",
                "files:write",
                "users:read",
                "usergroups:read",
            ]
        }
    },
    "settings": {
        "event_subscriptions": {
            "bot_events": [
                "app_mention",
                "app_home_opened",
                "message.channels",
                "message.groups",
                "message.im",
            ]
        },
        "interactivity": {"is_enabled": True},
        "socket_mode_enabled": True,
    },
}
QUICK = Timings(ack_s=0.3, event_retries_s=(0.02, 0.02, 0.02), disconnect_warning_s=0.05)


@pytest.fixture
def manifest() -> dict[str, Any]:
    return MANIFEST


@pytest.fixture(autouse=True)
def _calm_libraries() -> None:
    logging.getLogger("slack_bolt").setLevel(logging.CRITICAL)
    logging.getLogger("slack_sdk").setLevel(logging.CRITICAL)


@pytest.fixture
async def slack() -> AsyncIterator[SlackSimulator]:
    async with open_slack(manifest=MANIFEST, timings=QUICK) as simulator:
        yield simulator


@pytest.fixture
def client(slack: SlackSimulator) -> AsyncWebClient:
    return AsyncWebClient(token=slack.bot_token, base_url=slack.api_url)


def plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


class App:
    """A transport that records envelopes and acknowledges them with `answer`."""

    def __init__(self) -> None:
        self.got: list[Envelope] = []
        self.answer: Any = None
        self.silent = False

    async def attempt(
        self, envelope: Envelope, *, retry: Retry | None, timeout_s: float
    ) -> Ack | NoAck:
        self.got.append(envelope)
        if self.silent:
            return NoAck(reason="timeout")
        return Ack(after_s=0.0, response=self.answer)

    def last(self, kind: str) -> dict[str, Any]:
        return next(e.payload for e in reversed(self.got) if e.kind == kind)


@pytest.fixture
def app(slack: SlackSimulator) -> App:
    app = App()
    slack._delivery._transport = app
    return app


def buttons(*action_ids: str, **more: Any) -> list[dict[str, Any]]:
    elements = [
        {"type": "button", "action_id": one, "text": plain(one.title()), "value": "v", **more}
        for one in action_ids
    ]
    return [{"type": "actions", "block_id": "row", "elements": elements}]


async def refusal(call: Awaitable[Any]) -> str:
    with pytest.raises(SlackApiError) as refused:
        await call
    return str(refused.value.response["error"])
