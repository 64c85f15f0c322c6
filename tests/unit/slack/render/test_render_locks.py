"""Locks in Slack: their texts, and that foreign text in them is harmless."""

import json
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.deployments.lock import ALL, Follower, Lock
from bot.deployments.locks.rules import (
    ENDED,
    FREE,
    RELEASED,
    TAKEN_OVER,
    blocker_of,
    free_notice,
    lock_notice,
)
from bot.deployments.model import Actor, AppKey, Deployment
from bot.deployments.progress import Progress
from bot.slack.listeners.answers import queue_answer
from bot.slack.render.blocks import Answer
from bot.slack.render.locks import (
    follow_button,
    lock_line,
    locked_answer,
    notice_words,
    read_follow,
    released_words,
    set_words,
    taken_over_words,
)
from bot.slack.render.words import status_words
from tests.support.builders import NOW, a_deployment
from tests.support.slack_limits import validate_message

ADA = Actor(user="U0ADA", team="T01", name="ada")
GRACE = Actor(user="U0GRACE", team="T01", name="grace")
KEY = AppKey(server="production", dokku_app="web")
LOCK = Lock(id="01L", key=KEY, app="web", holder=GRACE, reason="audit", since=NOW)
FREEZE = replace(LOCK, id="01A", key=ALL, app="all", until=NOW + timedelta(hours=2))
FOREIGN = st.text(
    st.sampled_from(list("<>&@#!`*_~|\n\r\t\u202e\u2028 abU0:/[]()")) | st.characters(),
    max_size=300,
)
OURS = re.compile(r"<!date\^\d+\^[^|<>]*\|[^<>]*>|<@[UW][A-Z0-9]+>")
"""What the bot writes itself: a date, and a person whose name is not known."""


def test_line_names_app_holder_end_and_reason() -> None:
    assert lock_line(LOCK, name_server=False) == "🔒 *web* is locked by @\u2060grace (audit)"
    assert lock_line(LOCK, name_server=True).startswith("🔒 *web* on production is locked")
    line = lock_line(FREEZE, name_server=True)
    assert line.startswith("🔒 *Every app* is locked by @\u2060grace until <!date^")


@pytest.mark.parametrize("may_end", [True, False])
@pytest.mark.parametrize("lock", [LOCK, FREEZE])
def test_refusal_offers_only_what_the_person_may_do(lock: Lock, may_end: bool) -> None:
    answer = locked_answer(lock, "web", KEY, may_end=may_end, name_server=True, more="No.")
    labels = re.findall(r'"text": "(Unlock|Take over|Tell me when it is free)"', _json(answer))
    ends = ["Unlock", "Take over"] if may_end else []
    assert list(dict.fromkeys(labels)) == [*ends, "Tell me when it is free"]
    assert validate_message(answer.text, answer.blocks) == []
    assert _json(answer).count('"deny": {') == len(ends)


def test_follow_button_carries_app_and_server() -> None:
    assert read_follow(follow_button("web", KEY)["value"]) == (KEY, "web")
    assert read_follow("01K9ZB") is None


@given(reason=FOREIGN, name=FOREIGN | st.none())
def test_no_reason_or_name_pings_links_or_breaks_the_layout(reason: str, name: str | None) -> None:
    holder = replace(GRACE, name=name)
    lock = replace(FREEZE, holder=holder, reason=reason)
    mine = replace(LOCK, holder=holder, reason=reason)
    progress = Progress(place=1, waits_for="x", blocker=blocker_of(mine))
    waits: Deployment = a_deployment(ready=True)
    answers = [
        locked_answer(one, "web", KEY, may_end=True, name_server=True, more="No.")
        for one in (lock, mine)
    ]
    answers.append(queue_answer([(waits, progress)], [lock, mine], servers=["production"], now=NOW))
    lines = [
        lock_line(mine, name_server=True),
        set_words(lock, mine, name_server=True, runs=True),
        released_words(mine, replace(ADA, name=name), name_server=True),
        taken_over_words(mine, lock, name_server=False),
        status_words(waits, progress),
        *(
            notice_words(kind, lock_notice(kind, mine, "C01", by=holder).body, name_server=True)
            for kind in (ENDED, RELEASED, TAKEN_OVER)
        ),
        *(block["text"]["text"] for answer in answers for block in answer.blocks[:1]),
    ]
    for line in lines[:-3]:
        assert "\n" not in line
    for line in lines:
        bare = OURS.sub("", line)
        assert "<" not in bare
        assert ">" not in bare
        assert not re.search(r"@(?:here|channel|everyone)", bare)
    for answer in answers:
        assert validate_message(answer.text, answer.blocks) == []


def test_notices_say_who_did_what() -> None:
    def said(kind: str) -> str:
        return notice_words(kind, lock_notice(kind, LOCK, "C", by=ADA).body, name_server=False)

    assert said(ENDED) == "🔓 *web* is no longer locked: the lock of @\u2060grace ended (audit)"
    assert said(RELEASED) == (
        "🔓 @\u2060ada ended your lock: *web* can be deployed by everyone (audit)"
    )
    assert said(TAKEN_OVER) == (
        "🔒 @\u2060ada took over your lock: only they can deploy *web* now (audit)"
    )
    follower = Follower(key=KEY, app="web", user="U0LIN", since=NOW)
    free = notice_words(FREE, free_notice(follower).body, name_server=True)
    assert free == (
        "🟢 *web* on production is free: nothing runs or waits, and no lock stops you. "
        "Next: `/deploy web to production`."
    )


def _json(answer: Answer) -> str:
    return json.dumps(answer.blocks, ensure_ascii=False)
