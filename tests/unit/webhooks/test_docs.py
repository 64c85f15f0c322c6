"""What docs/webhooks.md promises to receivers: fields, words, schema, snippets."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from bot.deployments.model import Actor, Deployment, Event, Failure, Live, Status, Trigger
from bot.webhooks.payload import EVENTS, standard_body
from bot.webhooks.sender import signed_headers, signing_key
from tests.support.webhook_schema import schema_errors

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


def test_example_is_valid_for_the_schema() -> None:
    assert schema_errors(json.loads(block("json"))) == []


def test_schema_tells_a_correction_from_other_events() -> None:
    former: dict[str, str | None] = {
        "status": "failed",
        "failure": "lost_contact",
        "live": "unknown",
    }
    correction = Event(type="deployment.corrected", corrected_from=former)
    body = standard_body(DEPLOYMENT, correction, at=NOW)
    assert schema_errors(body) == []
    assert schema_errors({**body, "type": "deployment.finished"})
    without = {key: value for key, value in cast("Any", body)["data"].items() if key != "live"}
    assert schema_errors({**body, "data": without})
    assert schema_errors({**body, "data": {**cast("Any", body)["data"], "status": "done"}})


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A delivery, and whether a receiver may believe it."""

    secret: str
    headers: Mapping[str, str]
    body: str
    genuine: bool


def cases() -> list[Case]:
    """What a snippet must accept, and what it must refuse."""
    body = '{"type":"deployment.finished","data":{"reason":"é"}}'
    now = datetime.now(UTC)
    found = []
    for secret in ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "any other text"):
        key = signing_key(secret)
        headers = signed_headers(key, webhook_id="01K9", at=now, body=body)
        rotated = {**headers, "webhook-signature": f"v1,abc {headers['webhook-signature']}"}
        old = signed_headers(key, webhook_id="01K9", at=now - timedelta(minutes=6), body=body)
        ahead = signed_headers(key, webhook_id="01K9", at=now + timedelta(hours=1), body=body)
        for given, changed, text, genuine in (
            (secret, headers, body, True),
            (secret, rotated, body, True),
            (secret, headers, body + " ", False),
            (secret + "aaaa", headers, body, False),
            (secret, {}, body, False),
            (secret, {**headers, "webhook-id": "other"}, body, False),
            (secret, {**headers, "webhook-timestamp": "soon"}, body, False),
            (secret, {**headers, "webhook-signature": ""}, body, False),
            (secret, old, body, False),
            (secret, ahead, body, False),
        ):
            lower = {name.lower(): value for name, value in changed.items()}
            found.append(Case(secret=given, headers=lower, body=text, genuine=genuine))
    return found


def answers(command: list[str], folder: Path, given: list[Case]) -> list[bool]:
    """Run a program that reads the cases as JSON and prints its answers."""
    done = subprocess.run(
        command,
        input=json.dumps([asdict(case) for case in given]),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return cast("list[bool]", json.loads(done.stdout))


def test_python_snippet_accepts_only_what_the_bot_signs() -> None:
    space: dict[str, Any] = {}
    exec(block("python"), space)
    is_genuine = cast("Callable[[str, Mapping[str, str], bytes], bool]", space["is_genuine"])

    for case in cases():
        assert is_genuine(case.secret, case.headers, case.body.encode()) is case.genuine, case


@pytest.mark.node
def test_node_snippet_accepts_only_what_the_bot_signs(tmp_path: Path) -> None:
    given = cases()
    (tmp_path / "webhook.mjs").write_text(block("js"))
    (tmp_path / "main.mjs").write_text(NODE)

    assert answers(["node", "main.mjs"], tmp_path, given) == [case.genuine for case in given]


@pytest.mark.go
@pytest.mark.slow
def test_go_snippet_accepts_only_what_the_bot_signs(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module example.com/receiver\n\ngo 1.21\n")
    (tmp_path / "webhook").mkdir()
    (tmp_path / "webhook" / "webhook.go").write_text(block("go"))
    (tmp_path / "main.go").write_text(GO)

    environ = {**os.environ, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GOPROXY": "off"}
    subprocess.run(["go", "build", "-o", "main", "."], cwd=tmp_path, env=environ, check=True)

    given = cases()  # now: compiling may take as long as a signature lasts
    assert answers(["./main"], tmp_path, given) == [case.genuine for case in given]


NODE = """
import { readFileSync } from "node:fs";
import { isGenuine } from "./webhook.mjs";
const cases = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(cases.map((c) => isGenuine(c.secret, c.headers, Buffer.from(c.body)))));
"""
GO = """
package main

import (
	"encoding/json"
	"os"

	"example.com/receiver/webhook"
)

func main() {
	var cases []struct {
		Secret  string
		Headers map[string]string
		Body    string
	}
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		panic(err)
	}
	answers := []bool{}
	for _, one := range cases {
		header := func(name string) string { return one.Headers[name] }
		answers = append(answers, webhook.IsGenuine(one.Secret, header, []byte(one.Body)))
	}
	json.NewEncoder(os.Stdout).Encode(answers)
}
"""
