import re
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.deployments.model import Actor, AppPolicy, Deployment, Failure, Live, MessagePlace, Phase
from bot.deployments.progress import Progress
from bot.slack.listeners.answers import (
    already_words,
    apps_answer,
    help_answer,
    history_answer,
    started_answer,
    status_answer,
    unfinished_answer,
)
from bot.slack.listeners.commands import COMMANDS, usage_of
from bot.slack.render.blocks import Answer
from bot.slack.render.history import HistoryPage
from tests.support.builders import NOW, SHA, a_deployment
from tests.support.slack_limits import validate_message

PLACE = MessagePlace(channel="C1", ts="1.2", permalink="https://slack.example.com/archives/C1/p12")
HOSTILE = "<!channel> @here <https://evil.example.com|main> `*x*`\n" + "y" * 300


def hostile(phase: Phase) -> Deployment:
    return a_deployment(
        app=HOSTILE,
        ref=HOSTILE,
        server=HOSTILE,
        sha=SHA,
        phase=phase,
        failure=Failure.BUILD_FAILED if phase is Phase.FAILED else None,
        live=Live.PREVIOUS if phase is Phase.FAILED else None,
        reason=HOSTILE,
        requested_by=Actor(user="U1", name=HOSTILE),
        message=PLACE,
    )


def shown(answer: Answer) -> str:
    return answer.text + str(answer.blocks)


def all_answers() -> list[Answer]:
    rows = [hostile(Phase.BUILDING)] * 60
    past = [hostile(Phase.FAILED)] * 10
    apps = [
        AppPolicy(server="production", app=f"app-{number}-{'x' * 60}", dokku_app="x")
        for number in range(400)
    ]
    progress = Progress(step=HOSTILE, waits_for=HOSTILE, place=2)
    return [
        status_answer(rows[0], progress, now=NOW),
        status_answer(past[0], Progress(), now=NOW),
        unfinished_answer([(row, progress) for row in rows], now=NOW),
        unfinished_answer([], now=NOW),
        history_answer(
            HistoryPage(app=HOSTILE, server=HOSTILE, number=1),
            past * 3,
            live={past[0].target: past[0].id},
            now=NOW,
        ),
        apps_answer(apps, servers=("production", "staging")),
        apps_answer([], servers=()),
        help_answer([(usage_of(row), row.summary) for row in COMMANDS]),
        started_answer(rows[0]),
    ]


@pytest.mark.parametrize("number", range(9))
def test_slack_accepts_every_answer_and_none_pings(number: int) -> None:
    answer = all_answers()[number]
    assert not validate_message(answer.text, list(answer.blocks))
    for hazard in ("<!channel", "@here", "<https://evil"):
        assert hazard not in shown(answer)


def test_status_of_an_ended_deployment_says_what_was_live() -> None:
    ended = a_deployment(
        phase=Phase.FAILED, failure=Failure.BUILD_FAILED, live=Live.PREVIOUS, reason="It broke."
    )
    answer = status_answer(replace(ended, message=PLACE), Progress(), now=NOW)
    assert "the build failed" in answer.text
    assert "live when it ended: the previous release" in answer.text
    assert "It broke." in shown(answer)
    assert "|message>" in shown(answer)


def test_lines_that_do_not_fit_are_counted() -> None:
    many = [(hostile(Phase.BUILDING), Progress())] * 60
    assert re.search(r"'and \d+ more'", shown(unfinished_answer(many, now=NOW)))


def test_server_without_apps_is_listed() -> None:
    known = [AppPolicy(server="production", app="myapp", dokku_app="myapp")]
    text = shown(apps_answer(known, servers=("production", "staging")))
    assert "*production*: `myapp`" in text
    assert "*staging*: no apps found" in text


def test_repeated_retry_names_the_first_one() -> None:
    row = replace(a_deployment(created_at=NOW - timedelta(minutes=1)), message=PLACE)
    assert row.id in already_words(row, back=False)
    assert "That rollback has" in already_words(row, back=True)
