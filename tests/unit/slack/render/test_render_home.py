"""The Home tab: what it shows, within Slack's limits with any number of apps; harmless texts."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.deployments.lock import ALL, Lock
from bot.deployments.model import Actor, AppKey, Deployment, Failure, Live, MessagePlace, Phase
from bot.deployments.progress import Progress
from bot.deployments.refs import Commit, Commits
from bot.deployments.states import ENDINGS
from bot.simulators.slack.model import visible_texts
from bot.simulators.slack.validation import check_view
from bot.slack.listeners.message_buttons import MESSAGE_BUTTONS
from bot.slack.render.blocks import Json
from bot.slack.render.home import DEPLOY, RECENT, Home, HomeLock, home_view, sentence_view
from tests.support.builders import NOW, SHA, a_deployment

NOTHING = Home(unfinished=(), locks=(), ended=(), name_server=False)
ADA = Actor(user="U0ADA", team="T01", name="ada")
LOCK = Lock(
    id="01L", key=AppKey(server="production", dokku_app="web"), app="web", holder=ADA, since=NOW
)
NASTY = (
    "<!channel>",
    "<@U0BOB>",
    "@here",
    "```",
    "`*_~",
    "<https://evil.example|ok>",
    "&lt;!here&gt;",
    "\u202egnp.exe",
    "a" + "\u0301" * 900,
    "🧑‍🧑‍🧒" * 100,
    "\ud800",
    "\n\n\n",
    "<" * 4_000,
)
FOREIGN = st.one_of(
    st.text(max_size=200), st.lists(st.sampled_from(NASTY), max_size=3).map("".join)
)
OURS = re.compile(r"<!date\^\d+\^[^|<>]*\|[^<>]*>|<https://slack\.example/p1\|message>")


def a_row(number: int, phase: Phase, **more: Any) -> Deployment:
    begun = NOW - timedelta(minutes=number)
    ended = NOW if phase in ENDINGS else None
    values = {
        "id": f"01K9ZB000000000000000{number:05d}",
        "app": f"app-{number}",
        "phase": phase,
        "ready": True,
        "sha": SHA,
        "created_at": begun,
        "started_at": begun,
        "finished_at": ended,
        "live": Live.NEW if ended else None,
        "requested_by": ADA,
        "message": MessagePlace(channel="C1", ts="1.1", permalink="https://slack.example/p1"),
    }
    return a_deployment(**{**values, **more})


def view_of(home: Home) -> Json:
    view = home_view(home, buttons=MESSAGE_BUTTONS, metadata="{}")
    assert check_view(json.loads(json.dumps(view)), kind="home")
    return view


def texts(view: Json) -> list[str]:
    return list(visible_texts(view["blocks"]))


def labels(view: Json) -> list[list[str]]:
    rows = [block["elements"] for block in view["blocks"] if block["type"] == "actions"]
    return [[one["text"]["text"] for one in row] for row in rows]


def test_groups_come_in_order_with_the_buttons_of_their_messages() -> None:
    view = view_of(
        Home(
            unfinished=[
                (a_row(1, Phase.BUILDING), Progress(step="step 2 of 9")),
                (a_row(2, Phase.QUEUED, started_at=None), Progress(place=1)),
                (a_row(3, Phase.AWAITING_APPROVAL, started_at=None), Progress()),
            ],
            locks=[HomeLock(lock=LOCK, may_end=True)],
            ended=[a_row(4, Phase.SUCCEEDED), a_row(5, Phase.FAILED, failure=Failure.BUILD_FAILED)],
            name_server=False,
        )
    )
    headings = [one["text"]["text"] for one in view["blocks"] if one["type"] == "header"]
    assert headings == [
        "Awaiting approval",
        "Running",
        "Waiting",
        "Locked",
        "Last deployments (2)",
    ]
    assert labels(view) == [
        ["Deploy"],
        ["Approve", "Reject"],
        ["Full log", "Cancel"],
        ["Cancel", "Tell me when it is free"],
        ["Unlock"],
        ["Full log", "Details"],
        ["Retry", "Full log", "Details"],
    ]
    assert view["blocks"][0]["elements"][0]["action_id"] == DEPLOY
    shown = "\n".join(texts(view))
    assert "Building · step 2 of 9" in shown
    assert "1st in line" in shown
    assert "🔒 *web* is locked by @\u2060ada" in shown
    assert "the build failed · live when it ended: the new release" in shown
    assert not any("Deployed" in one and "live when" in one for one in texts(view))
    assert shown.count("<https://slack.example/p1|message>") == 5


def test_empty_home_says_so_in_one_sentence() -> None:
    assert texts(view_of(NOTHING)) == ["Deploy", "Nothing was deployed yet."]
    quiet = view_of(replace(NOTHING, ended=[a_row(1, Phase.SUCCEEDED)]))
    assert "Nothing runs or waits, and no app is locked." in texts(quiet)


def test_lock_of_someone_else_has_no_button_for_those_who_may_not_end_it() -> None:
    view = view_of(replace(NOTHING, locks=[HomeLock(lock=LOCK, may_end=False)]))
    assert labels(view) == [["Deploy"]]
    several = replace(NOTHING, locks=[HomeLock(lock=LOCK, may_end=True)], name_server=True)
    assert "on production" in "\n".join(texts(view_of(several)))


def test_two_hundred_apps_fit_into_one_view_and_the_rest_is_counted() -> None:
    phases = (Phase.BUILDING, Phase.QUEUED, Phase.AWAITING_APPROVAL)
    busy = [(a_row(n, phases[n % 3]), Progress()) for n in range(200)]
    locks = [
        HomeLock(lock=replace(LOCK, id=f"01L{n}", app=f"app-{n}"), may_end=True) for n in range(50)
    ]
    ended = [a_row(n, Phase.FAILED, live=Live.PREVIOUS) for n in range(RECENT)]
    view = view_of(Home(unfinished=busy, locks=locks, ended=ended, name_server=True))
    assert len(view["blocks"]) == 98
    shown = texts(view)
    assert "Running (67)" in shown
    assert "and 61 more" in shown  # 6 of 67 running
    assert "and 44 more" in shown  # 6 of 50 locks
    assert sum("live when it ended" in one for one in shown) == RECENT


def test_group_gets_the_room_that_others_leave() -> None:
    busy = [(a_row(n, Phase.BUILDING), Progress()) for n in range(30)]
    shown = texts(view_of(replace(NOTHING, unfinished=busy)))
    assert sum("Deploying" in one for one in shown) == 24
    assert "and 6 more" in shown


def test_view_that_slack_would_refuse_shows_fewer_entries() -> None:
    wide = "🧑‍🧑‍🧒" * 60
    rows = [
        a_row(n, Phase.FAILED, app=wide, ref=wide, server=wide, reason=wide, live=Live.PREVIOUS)
        for n in range(RECENT)
    ]
    busy = [(replace(one, phase=Phase.BUILDING), Progress(step=wide)) for one in rows]
    home = Home(unfinished=busy, locks=(), ended=rows, name_server=True)
    view = home_view(home, buttons=MESSAGE_BUTTONS, metadata="{}")
    assert len(json.dumps(view).encode()) < 250_000
    assert check_view(json.loads(json.dumps(view)), kind="home")


def test_what_does_not_change_gives_the_same_view() -> None:
    home = replace(NOTHING, unfinished=[(a_row(1, Phase.BUILDING), Progress(checked_at=NOW))])
    later = replace(
        home, unfinished=[(home.unfinished[0][0], Progress(checked_at=NOW + timedelta(hours=1)))]
    )
    assert view_of(home) == view_of(later)


@pytest.mark.parametrize("sentence", ["Only members may see it.", "x" * 5_000, ""])
def test_sentence_is_a_valid_view(sentence: str) -> None:
    assert check_view(sentence_view(sentence), kind="home")


def _mrkdwn(value: Any) -> list[Json]:
    if isinstance(value, dict):
        own = [value] if value.get("type") == "mrkdwn" else []
        return own + [one for inner in value.values() for one in _mrkdwn(inner)]
    if isinstance(value, list):
        return [one for inner in value for one in _mrkdwn(inner)]
    return []


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_foreign_text_is_harmless_on_the_home_tab(data: st.DataObject) -> None:
    # One for each of a hundred texts would take most of the time to draw.
    pool = cycle(data.draw(st.lists(FOREIGN, min_size=1, max_size=9)))

    def foreign() -> str:
        return next(pool)

    def row(number: int, phase: Phase) -> Deployment:
        return a_row(
            number,
            phase,
            app=foreign(),
            server=foreign(),
            ref=foreign(),
            reason=foreign(),
            live=data.draw(st.sampled_from(Live)),
            requested_by=Actor(user="U1", name=foreign() or "ada"),
            commits=data.draw(
                st.none()
                | st.just(Commits(head=Commit(sha=SHA, subject=foreign(), author=foreign())))
            ),
            rollback_sha=data.draw(st.sampled_from([None, "b" * 40])),
        )

    progress = Progress(step=foreign(), waits_for=foreign(), place=3)
    running = sorted(set(Phase) - ENDINGS)
    lock = replace(
        LOCK,
        app=foreign(),
        reason=foreign(),
        holder=Actor(user="U1", name=foreign() or "ada"),
        key=data.draw(st.sampled_from([ALL, LOCK.key])),
    )
    view = view_of(
        Home(
            unfinished=[(row(n, phase), progress) for n, phase in enumerate(running)],
            locks=[HomeLock(lock=lock, may_end=data.draw(st.booleans()))],
            ended=[row(n, phase) for n, phase in enumerate(sorted(ENDINGS), 90)],
            name_server=data.draw(st.booleans()),
        )
    )
    json.dumps(view).encode("utf-8")
    for node in _mrkdwn(view):
        assert node["verbatim"] is True
        text = OURS.sub("", node["text"])
        assert not re.search(r"[<>\n]|```", text)
        assert not re.search(r"@(?!\u2060)", text)
