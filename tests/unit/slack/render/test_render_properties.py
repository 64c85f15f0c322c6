"""Whatever people, repositories and builds write: no ping, no broken layout, within limits."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.deployments.dokku_facts import BuildRecord, BuildStatus, Container, Containers
from bot.deployments.live.compare import LiveEvidence, compare_live
from bot.deployments.live.reader import LiveReport
from bot.deployments.model import Actor, Deployment, Failure, Live, Phase
from bot.deployments.progress import Progress
from bot.deployments.refs import Commit, Commits
from bot.simulators.slack.validation import check_message_blocks
from bot.slack.listeners.answers import history_answer, live_answer
from bot.slack.listeners.message_buttons import MESSAGE_BUTTONS
from bot.slack.render import text as txt
from bot.slack.render.deployment import render
from bot.slack.render.history import HistoryPage
from bot.slack.render.live_state import live_mrkdwn
from bot.slack.render.proof import deployment_proof, state_proof
from tests.support.slack_limits import validate_message

NASTY = (
    "<!channel>",
    "<!subteam^S1>",
    "<@U0BOB>",
    "@here",
    "```",
    "`*_~",
    "<https://evil.example|ok>",
    "&lt;!here&gt;",
    "\u202egnp.exe",
    "\x1b[31m",
    "e\u0301" * 300,
    "a" + "\u0301" * 900,
    "🧑‍🧑‍🧒" * 100,
    "\ud800",
    "\n\n\n",
    "x" * 20_000,
    "<" * 4_000,
)
FOREIGN = st.one_of(
    st.text(max_size=300),
    st.lists(st.sampled_from(NASTY), max_size=4).map("".join),
    st.tuples(st.sampled_from(NASTY), st.text(max_size=20)).map("".join),
)
COMMIT = st.builds(Commit, sha=st.just("a" * 40), subject=FOREIGN, author=FOREIGN)
COUNT = st.sampled_from([0, 1, 4, 1_000, 1_001])
COMMITS = st.builds(
    Commits,
    head=COMMIT,
    base=st.sampled_from([None, "b" * 40]),
    ahead=COUNT,
    behind=COUNT,
    listed=st.lists(COMMIT, max_size=20).map(tuple),
)
OWN_TOKENS = re.compile(r"<!date\^\d+\^\{time_secs\}\|\d\d:\d\d:\d\d UTC>")


def mrkdwn_of(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if value.get("type") == "mrkdwn":
            yield value
        for inner in value.values():
            yield from mrkdwn_of(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from mrkdwn_of(inner)


def assert_harmless(text: str) -> None:
    text = OWN_TOKENS.sub("", text)
    assert "<!" not in text
    assert "<@" not in text
    assert "<#" not in text
    assert "```" not in text
    assert not re.search(r"@(?!\u2060)", text)
    assert not re.search(
        r"[<>](?<!<https://x\.example/c\|)", re.sub(r"<https?://[^<>|]+\|[^<>]*>", "", text)
    )


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_foreign_text_is_harmless_everywhere(
    a_deployment: Callable[..., Deployment], now: datetime, data: st.DataObject
) -> None:

    def foreign() -> str:
        return data.draw(FOREIGN)

    phase = data.draw(st.sampled_from(Phase))
    lines = st.lists(FOREIGN, max_size=40).map(tuple)
    deployment = a_deployment(
        app=foreign(),
        server=foreign(),
        ref=foreign(),
        sha=data.draw(st.sampled_from([None, "a" * 40])),
        previous_sha=data.draw(st.sampled_from([None, "b" * 40])),
        rollback_sha=data.draw(st.sampled_from([None, "b" * 40])),
        phase=phase,
        failure=data.draw(st.sampled_from(Failure)) if phase is Phase.FAILED else None,
        live=data.draw(st.sampled_from(Live)),
        reason=foreign(),
        build_id=foreign(),
        retry_of=foreign(),
        url=data.draw(st.sampled_from(["http://a.example", "http://a|<!here>", "javascript:1"])),
        requested_by=Actor(user="U1", name=foreign() or "ada"),
        attempt=data.draw(st.sampled_from([1, 2])),
        rollback_of=data.draw(st.sampled_from([None, "01K9ZB3V7N8Q4R5S6T7V8W9X0Z"])),
        commits=data.draw(st.none() | COMMITS),
    )
    progress = Progress(
        step=foreign(),
        tail=data.draw(lines),
        excerpt=data.draw(lines),
        waits_for=foreign(),
        place=data.draw(st.sampled_from([None, 1, 112])),
        notes=data.draw(lines),
        checked_at=now,
        reading_end=data.draw(st.booleans()),
    )
    shown = render(
        deployment,
        progress,
        now=now,
        buttons=MESSAGE_BUTTONS,
        commit_url="https://x.example/c",
        compare_url="https://x.example/c",
        updates_every=timedelta(seconds=60),
        running=40,
    )
    blocks = json.loads(json.dumps(shown.blocks))
    assert validate_message(shown.text, blocks) == []
    check_message_blocks(blocks)
    assert_harmless(shown.text)
    for node in mrkdwn_of(blocks):
        assert node["verbatim"] is True
        assert_harmless(node["text"])
        first, *more = re.sub(r"^\*[A-Z][a-z ]+\*\n", "", node["text"]).split("\n")
        assert all(line.startswith("• ") for line in more)
        assert not more or " commit" in first
    json.dumps(shown.blocks).encode("utf-8")
    shown.text.encode("utf-8")


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_foreign_text_is_harmless_in_a_status_its_proof_and_a_history(
    a_deployment: Callable[..., Deployment], now: datetime, data: st.DataObject
) -> None:
    def foreign() -> str:
        return data.draw(FOREIGN)

    def read() -> Containers:
        one = Container(id=foreign(), process=foreign(), image=foreign(), state=foreign())
        up = Container(id="1" * 12, process="web.1", image="i", state="running", restarts=1)
        return Containers(listed=tuple(data.draw(st.lists(st.sampled_from([one, up]), max_size=3))))

    row = a_deployment(
        app=foreign(),
        server=foreign(),
        ref=foreign(),
        phase=data.draw(st.sampled_from([Phase.SUCCEEDED, Phase.FAILED])),
        live=data.draw(st.sampled_from(Live)),
        evidence=foreign(),
        build_id=foreign(),
        finished_at=now,
        after=data.draw(st.none() | st.just(read())),
        commits=data.draw(st.none() | COMMITS),
        requested_by=Actor(user="U1", name=foreign() or "ada"),
    )
    record = BuildRecord(id="b9", app="x", status=BuildStatus.FAILED, source=foreign())
    seen = LiveEvidence(started=[row], containers=read(), records=[record])
    report = LiveReport(
        server=foreign(),
        app=foreign(),
        dokku_app=foreign(),
        state=compare_live(seen),
        why=foreign(),
        missing=data.draw(st.booleans()),
    )
    page = HistoryPage(app=foreign(), server=foreign(), number=1)
    for answer in (
        live_answer([report], lambda one: (one, Progress()), now=now),
        state_proof([report], read_at=now),
        deployment_proof(row, Progress(checked_at=now)),
        history_answer(page, [row] * 25, live={row.target: row.id}, now=now),
    ):
        blocks = json.loads(json.dumps(answer.blocks))
        assert validate_message(answer.text, blocks) == []
        check_message_blocks(blocks)
        for text in (answer.text, *(node["text"] for node in mrkdwn_of(blocks))):
            assert_harmless(txt.plain_times(text))
            text.encode("utf-8")
    lines = live_mrkdwn(report, now=now)
    assert not any("\n" in line for line in lines)


@given(text=FOREIGN, most=st.integers(min_value=1, max_value=200))
@settings(deadline=None)
def test_cut_text_is_bounded_and_a_prefix(text: str, most: int) -> None:
    line = txt.one_line(text)
    shown = txt.cut(line, most)
    assert txt.length(shown) <= 2 * most + 1
    if shown != line:
        assert shown.endswith("…")
        assert line.startswith(shown[:-1])


@given(text=FOREIGN)
@settings(deadline=None)
def test_inline_code_is_one_span(text: str) -> None:
    shown = txt.code(text)
    assert shown.count("`") == 2
    assert shown[0] == shown[-1] == "`"
    assert len(shown) > 2
