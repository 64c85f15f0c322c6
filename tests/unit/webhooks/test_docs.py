import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from bot.deployments.model import Actor, Deployment, Event, Failure, Live, Status, Trigger
from bot.webhooks.payload import EVENTS, standard_body
from bot.webhooks.sender import signed_headers, signing_key

PAGE = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text()
NOW = datetime.now(UTC)
DEPLOYMENT = Deployment(
    id="01K9ZB6T0V3J5N8QW2YX4RCDEF",
    server="production",
    app="myapp",
    dokku_app="myapp",
    repo=None,
    ref="main",
    requested_by=Actor(user="U0123"),
    trigger=Trigger.COMMAND,
    request_key="r",
    channel="C01",
    created_at=NOW,
)


def block(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def keys(value: object, path: str = "") -> set[str]:
    if not isinstance(value, Mapping):
        return {path}
    return {path} | {k for name, inner in value.items() for k in keys(inner, f"{path}.{name}")}


@pytest.fixture(scope="module")
def is_genuine() -> Callable[[str, Mapping[str, str], bytes], bool]:
    space: dict[str, Any] = {}
    exec(block("python"), space)
    return cast("Callable[[str, Mapping[str, str], bytes], bool]", space["is_genuine"])


def test_example_has_exactly_the_sent_fields() -> None:
    body = standard_body(DEPLOYMENT, Event(type="deployment.finished"), at=NOW)
    assert keys(json.loads(block("json"))) == keys(body)


def test_every_field_is_documented() -> None:
    event = Event(type="deployment.corrected", corrected_from={})
    body = standard_body(DEPLOYMENT, event, at=NOW)
    data = cast("dict[str, object]", body.pop("data"))
    rows = set(re.findall(r"^\| `((?:data\.)?\w+)` \|", PAGE, re.MULTILINE))
    options = {"url", "secret", "events", "apps", "format"}
    assert rows - options == set(body) | {f"data.{key}" for key in data}


@pytest.mark.parametrize("words", [EVENTS, Failure, Live, Trigger, Status])
def test_every_value_is_documented(words: frozenset[str]) -> None:
    assert [word for word in words if f"`{word}`" not in PAGE] == []


@pytest.mark.parametrize("secret", ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "any other text"])
def test_snippet_accepts_only_what_the_bot_signs(
    secret: str, is_genuine: Callable[[str, Mapping[str, str], bytes], bool]
) -> None:
    body = '{"type":"deployment.finished","data":{"reason":"é"}}'
    now = datetime.now(UTC)
    headers = signed_headers(signing_key(secret), webhook_id="01K9", at=now, body=body)
    assert is_genuine(secret, headers, body.encode())
    assert not is_genuine(secret, headers, body.encode() + b" ")
    assert not is_genuine(secret + "aaaa", headers, body.encode())
    assert not is_genuine(secret, {}, body.encode())
    assert not is_genuine(secret, {**headers, "webhook-id": "other"}, body.encode())
    assert not is_genuine(secret, {**headers, "webhook-timestamp": "soon"}, body.encode())
    rotated = {**headers, "webhook-signature": f"v1,abc {headers['webhook-signature']}"}
    assert is_genuine(secret, rotated, body.encode())
    old = signed_headers(
        signing_key(secret), webhook_id="01K9", at=now - timedelta(minutes=6), body=body
    )
    assert not is_genuine(secret, old, body.encode())
