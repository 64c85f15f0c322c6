"""Sentences about results: the cause, then what serves."""

from dataclasses import replace
from typing import Any

import pytest

from bot.deployments.execution.start import INSTEAD
from bot.deployments.model import Failure, Live, Phase
from bot.deployments.verdict.decisions import Cause, Ended, LiveDetail
from bot.deployments.verdict.outside_changes import UNRECORDED
from bot.deployments.verdict.wording import (
    CAUSES,
    DOWN,
    FAILURES,
    LIVE,
    LIVE_SENTENCES,
    NEXT_STEPS,
    as_sentence,
    describe,
    next_step,
    reason_of,
    sentence_of,
)
from bot.dokku import login_failures
from bot.errors import NotShown
from tests.support.builders import (
    CONFIG_SET,
    NEW,
    RESTARTED_NEW,
    a_deployment,
    containers,
    evidence,
    facts,
)

SERVES_OLD = "The previous release is still serving."
BY_LOCK = " (inferred from the released deploy lock)."


def result(cause: Cause, **more: Any) -> Ended:
    given: dict[str, Any] = {
        "rule": "failed",
        "phase": Phase.FAILED,
        "failure": Failure.RELEASE_FAILED,
        "live": Live.PREVIOUS,
    }
    return Ended(cause=cause, **(given | more))


def down(*processes: str, cause: Cause = Cause.CRASHED) -> tuple[tuple[Cause, str], ...]:
    return tuple((cause, one) for one in processes)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a", "a."),
        ("a.", "a."),
        ("a?", "a?"),
        ("a!", "a!"),
        ("a: ", "a."),
        ("X: ", "X."),
        (": a", ": a."),
    ],
)
def test_sentence_ends_once(text: str, sentence: str) -> None:
    assert as_sentence(text) == sentence


@pytest.mark.parametrize(
    ("ended", "sentence"),
    [
        (result(Cause.BUILD_FAILED), f"The build failed. {SERVES_OLD}"),
        (
            result(Cause.BUILD_FAILED, detail="exit code: 3"),
            f"The build failed: exit code: 3. {SERVES_OLD}",
        ),
        (
            result(Cause.CHECKS_FAILED, live=Live.NEW, late=True),
            (
                "Failed after new containers had started. The health checks failed. "
                "The new release is serving."
            ),
        ),
        (
            result(Cause.NOT_STARTED, detail="web does not exist", live=Live.UNKNOWN),
            "web does not exist. What is serving now is unknown.",
        ),
        (
            result(Cause.DIED_WITH_CONNECTION, by_lock=True),
            (
                "The bot stopped or its connection dropped during the deployment, and Dokku's "
                "command died with it"
                f"{BY_LOCK} {SERVES_OLD}"
            ),
        ),
        (
            result(Cause.CANCELLED, by_lock=True),
            f"Cancelled, and stopped{BY_LOCK} {SERVES_OLD}",
        ),
        (
            result(Cause.TIME_LIMIT, by_lock=True),
            f"It took longer than allowed and was stopped{BY_LOCK} {SERVES_OLD}",
        ),
        (
            result(Cause.BUILD_FAILED, live_detail=LiveDetail.RESTARTING),
            "The build failed. The previous release is still in place, but is restarting.",
        ),
        (
            result(Cause.BUILD_FAILED, live_detail=LiveDetail.RESTARTED),
            (
                "The build failed. "
                "The previous release is serving; it was restarted in the meantime outside the bot."
            ),
        ),
        (
            result(Cause.BUILD_FAILED, live_detail=LiveDetail.RESTARTED, live_by="config:set"),
            (
                "The build failed. "
                "The previous release is serving; it was restarted in the meantime by config:set."
            ),
        ),
        (
            result(Cause.RELEASED_NOTHING, live=Live.UNKNOWN, live_detail=LiveDetail.OTHER_CODE),
            (
                "Dokku's command succeeded, but released nothing. "
                "Other code was started in the meantime outside the bot, so what is serving now "
                "is unknown."
            ),
        ),
        (
            result(Cause.REPLACED, live=Live.UNKNOWN),
            (
                "Another release replaced it before it was confirmed as stable. "
                "What is serving now is unknown."
            ),
        ),
        (
            result(Cause.CONTAINERS_REPLACED, live=Live.UNKNOWN),
            (
                "Other containers replaced its own before it was confirmed as stable. "
                "What is serving now is unknown."
            ),
        ),
        (
            result(Cause.CONTAINERS_REPLACED, live=Live.UNKNOWN, by="git push"),
            (
                "It was replaced by git push before it was confirmed as stable. "
                "What is serving now is unknown."
            ),
        ),
        (
            result(Cause.CRASHED, down=down("web.1"), live_detail=LiveDetail.DEPLOYED),
            (
                "The new release was deployed, but web.1 does not stay up. "
                "The new release is still in place."
            ),
        ),
        (
            result(Cause.CRASHED, down=down("web.1", "worker.1"), live_detail=LiveDetail.DEPLOYED),
            (
                "The new release was deployed, but web.1 and worker.1 do not stay up. "
                "The new release is still in place."
            ),
        ),
        (
            result(
                Cause.CRASHED,
                down=(*down("worker.1"), *down("web.1", cause=Cause.NEVER_STARTED)),
                detail="its memory ran out (Docker: OOMKilled)",
                live_detail=LiveDetail.DEPLOYED,
            ),
            (
                "The new release was deployed, but worker.1 does not stay up and web.1 never "
                "started: its memory ran out (Docker: OOMKilled). "
                "The new release is still in place."
            ),
        ),
        (
            result(
                Cause.NEVER_STARTED,
                down=down("web.1", cause=Cause.NEVER_STARTED),
                detail="port is already allocated",
                live=Live.NEW,
                live_detail=LiveDetail.OTHERS_RUN,
            ),
            (
                "The new release was deployed, but web.1 never started: port is already "
                "allocated. Its other processes are running."
            ),
        ),
        (
            result(
                Cause.ENDED_BY_ITSELF,
                down=down("web.1", cause=Cause.ENDED_BY_ITSELF),
                live=Live.NONE,
            ),
            (
                "The new release was deployed, but web.1 ended by itself with status 0. "
                "Nothing is serving."
            ),
        ),
        (
            result(
                Cause.RELEASE_FAILED,
                live=Live.MIXED,
                shares=((Live.NEW, "web.1"), (Live.NEW, "web.2"), (Live.PREVIOUS, "worker.1")),
            ),
            (
                "The release failed. "
                "web.1 and web.2 run the new release, worker.1 runs the previous one."
            ),
        ),
        (
            result(Cause.PREVIOUS_RETURNED, live_detail=LiveDetail.RETURNED),
            (
                "The previous release replaced the new one before it was confirmed as stable. "
                "The previous release is serving."
            ),
        ),
        (
            result(Cause.STABLE, live_detail=LiveDetail.IN_CAUSE),
            "The new release is running and has stayed up.",
        ),
    ],
)
def test_sentence_of_a_result(ended: Ended, sentence: str) -> None:
    assert sentence_of(ended) == sentence


def test_every_word_has_its_text() -> None:
    in_their_own_words = {
        Cause.NOT_STARTED,
        Cause.REPLACED,
        Cause.CONTAINERS_REPLACED,
        *DOWN,
    }
    assert set(CAUSES) == set(Cause) - in_their_own_words
    assert set(LIVE) == set(LIVE_SENTENCES) == set(Live)
    assert set(FAILURES) == set(Failure)


def result_saying(cause: str, live: Live) -> Ended:
    return Ended(
        rule="x",
        phase=Phase.FAILED,
        failure=Failure.INTERNAL,
        live=live,
        cause=Cause.NOT_STARTED,
        detail=cause,
        live_detail=LiveDetail.IN_CAUSE,
    )


def test_outside_changes_are_in_evidence_and_reason() -> None:
    seen = evidence(others=(CONFIG_SET,))
    assert describe(seen, "kept_running").endswith("; others: config-redeploy c1 succeeded")
    assert "others" not in describe(evidence(), "kept_running")
    verdict = result_saying("It ended", Live.NEW)
    assert reason_of(verdict, seen, seen.after) == (
        "It ended. Meanwhile, outside the bot: config:set (Dokku build c1)."
    )
    assert "ps:scale" in reason_of(verdict, evidence(), containers(RESTARTED_NEW))


def test_unanswered_server_is_named_only_when_live_state_is_unknown() -> None:
    seen = evidence(after=None, unanswered="Its key changed. Mend it so.")
    lost = result_saying("Lost", Live.UNKNOWN)
    sentence = "Lost. The server could not be queried: Its key changed. Mend it so."
    assert reason_of(lost, seen, None) == sentence
    assert reason_of(lost, replace(seen, unanswered=None), None) == "Lost."
    proven = replace(lost, live=Live.PREVIOUS)
    assert reason_of(proven, seen, containers(NEW)) == "Lost."


def test_description_names_the_rule_and_its_evidence() -> None:
    line = describe(evidence(after=containers(NEW)), "kept_running")
    assert line.startswith("rule kept_running; exit status 0; record succeeded (None); ")
    assert f"web.1 {NEW.id} running" in line
    assert "containers unreadable" in describe(evidence(after=None), "x")
    assert "record none; containers none; markers none" in describe(
        evidence(record=None, after=containers(), output=facts()), "x"
    )


def step_after(reason: str, failure: Failure = Failure.BUILD_FAILED, **facts: Any) -> str:
    given = {"phase": Phase.FAILED, "failure": failure, "live": Live.PREVIOUS, "reason": reason}
    return next_step(replace(a_deployment(), **(given | facts)), offers_roll_back=False)


def test_each_failure_has_a_next_step() -> None:
    assert NEXT_STEPS.keys() == set(Failure)
    assert step_after("The build failed: npm ERR!") == "Next: fix and push, then Retry."
    assert next_step(a_deployment(), offers_roll_back=True) == ""


@pytest.mark.parametrize(
    ("live", "step"),
    [
        (Live.NEW, "Next: Roll back, if the new release must not stay."),
        (Live.MIXED, "Next: Roll back, or Retry."),
        (Live.PREVIOUS, ""),
        (None, ""),
    ],
)
def test_late_cancel_has_a_next_step(live: Live | None, step: str) -> None:
    cancelled = replace(a_deployment(), phase=Phase.CANCELLED, live=live)
    assert next_step(cancelled, offers_roll_back=True) == step
    assert next_step(cancelled, offers_roll_back=False) == ""


ADVICE = [
    *(sentence for sentence in CAUSES.values() if "; " in sentence),
    *(f"It failed. {one.fix}" for one in login_failures._FAILURES if one.fix),
    "No repository is known for web. Set `repo` in its table, or DEPLOYBOT_REPO_TEMPLATE",
    "abc is ambiguous: in web it could be a or b. Give more digits",
    "There is no app wbe. Did you mean web?",
    f"It runs on k3s. {INSTEAD}",
    str(NotShown("web", "production")),
    f"It waited too long for a build. {UNRECORDED.advice}",
]


@pytest.mark.parametrize("reason", ADVICE)
def test_reason_that_says_what_to_do_gets_no_second_step(reason: str) -> None:
    assert step_after(f"{reason}. {SERVES_OLD}") == ""
