"""Notices about locks: delivered once, tried again, given up where nobody can be reached."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.errors import SlackError
from bot.outbox import NOTICES_LANE, Attempt, Delivered, Failed, Outgoing, Undeliverable
from bot.slack.notices import Notices
from tests.support.outbox import HandClock


class FakeSlack:
    """Posts, or refuses."""

    def __init__(self, *, code: str = "", found: str | None = None, refuses: str = "C01") -> None:
        self._refuses = refuses
        self.posted: list[tuple[str, str]] = []
        self.searched = 0
        self._code = code
        self._found = found

    async def post(self, channel: str, *, text: str, **_: Any) -> str:
        if self._code and channel == self._refuses:
            raise SlackError("Slack refused it.", code=self._code)
        self.posted.append((channel, text))
        return "1.2"

    async def find_by_metadata(self, channel: str, deployment_id: str, **_: Any) -> str | None:
        self.searched += 1
        if self._found == "unreadable":
            raise SlackError("No scope.", code="missing_scope")
        return self._found


def a_row(to: str = "C01", tries: int = 0) -> Outgoing:
    body = {"app": "web", "server": "production", "holder": {"user": "U0ADA", "name": "ada"}}
    return Outgoing(
        id="01N",
        deployment_id=to,
        lane=NOTICES_LANE,
        kind="lock.ended",
        body=body,
        tries=tries,
    )


async def sent(slack: FakeSlack, row: Outgoing, *, later: timedelta = timedelta(0)) -> Attempt:
    clock = HandClock()
    row = replace(row, created_at=clock.now())
    clock.advance(later)
    return await Notices(client=slack, clock=clock)(row)  # type: ignore[arg-type]


async def test_notice_is_posted_to_its_receiver_without_a_search() -> None:
    slack = FakeSlack()
    assert isinstance(await sent(slack, a_row()), Delivered)
    ((to, text),) = slack.posted
    assert to == "C01"
    assert "*web* on production is no longer locked" in text
    assert slack.searched == 0


async def test_repeated_try_is_looked_for_in_a_channel_first() -> None:
    there = FakeSlack(found="1.2")
    assert isinstance(await sent(there, a_row(tries=1)), Delivered)
    assert not there.posted
    for found in (None, "unreadable"):
        slack = FakeSlack(found=found)
        assert isinstance(await sent(slack, a_row(tries=1)), Delivered)
        assert len(slack.posted) == 1


async def test_row_that_a_killed_process_held_is_looked_for_before_its_first_try_here() -> None:
    there = FakeSlack(found="1.2")
    assert isinstance(await sent(there, a_row(), later=timedelta(minutes=1)), Delivered)
    assert not there.posted


async def test_direct_message_is_repeated_without_a_search() -> None:
    slack = FakeSlack(found="1.2")
    await sent(slack, a_row("U0ADA", tries=1))
    assert len(slack.posted) == 1
    assert slack.searched == 0


@pytest.mark.parametrize(
    ("code", "outcome"),
    [("ratelimited", Failed), ("", Delivered), ("user_not_found", Undeliverable)],
)
async def test_refusal_is_tried_again_unless_nobody_is_there(code: str, outcome: type) -> None:
    slack = FakeSlack(code=code, refuses="U0ADA")
    assert isinstance(await sent(slack, a_row("U0ADA")), outcome)


@pytest.mark.parametrize(
    "code", ["is_archived", "not_in_channel", "restricted_action_read_only_channel"]
)
async def test_end_of_a_lock_is_told_to_its_holder_where_its_channel_takes_no_message(
    code: str,
) -> None:
    slack = FakeSlack(code=code)
    assert await sent(slack, a_row()) == Delivered("sent to its holder")
    ((to, text),) = slack.posted
    assert to == "U0ADA"
    assert "*web* on production is no longer locked" in text
