"""Results for other channels: posted once, without a ping, and given up where Slack refuses."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from bot.clock import SystemClock
from bot.deployments.model import Actor, Deployment, Failure, Live, MessagePlace, Phase
from bot.errors import SlackError
from bot.outbox import CORRECTED, FINISHED, RESULTS_LANE, Delivered, Failed, Outgoing, Undeliverable
from bot.slack.result_posts import ResultPosts, result_post
from tests.support.builders import NOW, a_deployment
from tests.support.slack_limits import validate_message


class FixedClock(SystemClock):
    """Always noon."""

    def now(self) -> datetime:
        return NOW


SHA = "a1b2c3d4e5f60718293a4b5c6d7e8f9012345678"
LINK = "https://acme.slack.example/archives/C1/p1"
ENDED = a_deployment(
    phase=Phase.FAILED,
    failure=Failure.BUILD_FAILED,
    live=Live.PREVIOUS,
    sha=SHA,
    reason="The build failed: exit code 1. The previous release is still serving.",
    requested_by=Actor(user="U0ADA", team="T1", name="ada"),
    message=MessagePlace(channel="C1", ts="1.2", permalink=LINK),
    finished_at=NOW,
)
ROW = Outgoing(
    id="01ROW",
    deployment_id=ENDED.id,
    lane=RESULTS_LANE,
    kind=FINISHED,
    body={"channel": "C9"},
    created_at=NOW,
)


class FakeSlack:
    """Posts, or refuses."""

    def __init__(self, *, code: str = "", there: bool = False, unreadable: str = "") -> None:
        self.posted: list[tuple[str, str]] = []
        self.searched = 0
        self._code, self._there, self._unreadable = code, there, unreadable

    async def post(self, channel: str, *, text: str, **_: Any) -> str:
        if self._code:
            raise SlackError("Slack refused it.", code=self._code)
        self.posted.append((channel, text))
        return "1.2"

    async def find_by_metadata(self, channel: str, deployment_id: str, **_: Any) -> str | None:
        self.searched += 1
        if self._unreadable:
            raise SlackError("No.", code=self._unreadable)
        return "1.2" if self._there else None

    async def permalink(self, channel: str, ts: str) -> str:
        if self._unreadable:
            raise SlackError("No.", code=self._unreadable)
        return LINK


async def sent(slack: FakeSlack, row: Outgoing = ROW, found: Deployment | None = ENDED) -> Any:
    async def get(_id: str) -> Deployment | None:
        return found

    deliver = ResultPosts(client=slack, get=get, clock=FixedClock())  # type: ignore[arg-type]
    return await deliver(row)


async def test_result_goes_to_its_channel_without_a_search() -> None:
    slack = FakeSlack()
    assert await sent(slack) == Delivered()
    ((channel, text),) = slack.posted
    assert channel == "C9"
    assert "the build failed" in text
    assert slack.searched == 0


@pytest.mark.parametrize(
    "row",
    [
        replace(ROW, tries=1),
        replace(ROW, created_at=NOW - timedelta(minutes=2)),
        replace(ROW, created_at=NOW + timedelta(hours=1)),  # the clock was set back
    ],
)
async def test_what_may_be_there_is_looked_for_first(row: Outgoing) -> None:
    slack = FakeSlack(there=True)
    assert await sent(slack, row) == Delivered("an earlier try had got through")
    assert slack.posted == []
    slack = FakeSlack()
    assert await sent(slack, row) == Delivered()
    assert len(slack.posted) == 1


async def test_channel_that_cannot_be_read_gets_it_and_slack_away_waits() -> None:
    again = replace(ROW, tries=1)
    assert await sent(FakeSlack(unreadable="missing_scope"), again) == Delivered()
    assert isinstance(await sent(FakeSlack(unreadable="unreachable"), again), Failed)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [("ratelimited", Failed), ("no_answer", Failed), ("not_in_channel", Undeliverable)],
)
async def test_refusal_is_tried_again_only_if_it_passes(code: str, outcome: type) -> None:
    assert isinstance(await sent(FakeSlack(code=code)), outcome)


async def test_withdrawn_deployment_has_no_result() -> None:
    slack = FakeSlack()
    assert await sent(slack, found=None) == Delivered("the deployment was withdrawn")
    assert slack.posted == []


@pytest.mark.parametrize("code", ["", "missing_scope"])
async def test_missing_link_is_asked_for_and_never_needed(code: str) -> None:
    slack = FakeSlack(unreadable=code)
    bare = replace(ENDED, message=MessagePlace(channel="C1", ts="1.2"))
    assert await sent(slack, found=bare) == Delivered()
    ((_, text),) = slack.posted
    assert (LINK in text) is (code == "")


def test_post_says_each_fact_once_and_pings_nobody() -> None:
    post = result_post(ENDED, ROW, permalink=LINK, name_server=False)
    assert not validate_message(post.text, list(post.blocks))
    first, why = (one["text"]["text"] for one in post.blocks)
    assert first == (
        "🔴 *Failed: web* `main` · the build failed · `a1b2c3d` · live now: the previous release · "
        f"{first.split(' · ')[4]} · by @\u2060ada · <{LINK}|message>"
    )
    assert why == "exit code 1."
    stranger = replace(
        ENDED, requested_by=Actor(user="U0ADA", team="T1"), reason="<!channel> @here"
    )
    said = str(result_post(stranger, ROW, permalink=None, name_server=False).text)
    assert "<@" not in said
    assert "<!" not in said
    assert "@here" not in said


def test_correction_says_what_was_reported_before() -> None:
    body = {"channel": "C9", "data": {"corrected_from": {"status": "failed", "live": "unknown"}}}
    good = replace(ENDED, phase=Phase.SUCCEEDED, failure=None, live=Live.NEW, reason=None)
    row = replace(ROW, kind=CORRECTED, body=body)
    post = result_post(good, row, permalink=LINK, name_server=True)
    assert post.text.startswith(
        "Correction: previously reported as failed (live: unknown). 🟢 *Deployed web* `main` to "
    )
