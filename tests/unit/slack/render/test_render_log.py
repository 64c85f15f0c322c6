"""The modal with the log: pages, the first error and buttons."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.deployments.log_pages import PAGE_CHARACTERS, paginate
from bot.deployments.model import Deployment, Phase
from bot.simulators.patience import stretched
from bot.simulators.slack.validation import check_view
from bot.slack.render.log import LogPlace, opening_view, problem_view, read_place, write_place
from tests.support.log_pages import first_error, log_view

Build = Callable[..., Deployment]
LONG = "".join(f"#{number} line number {number}\n" for number in range(1_000))
FAILING = LONG + " !     Build failed\n" + LONG


def buttons_of(view: dict[str, Any]) -> list[str]:
    return [
        element["text"]["text"]
        for block in view["blocks"]
        if block["type"] == "actions"
        for element in block["elements"]
    ]


def assert_slack_takes(view: dict[str, Any]) -> None:
    check_view(view, kind="modal")


def test_newest_page_is_shown_first(
    a_deployment: Build, check_snapshot: Callable[[str, object], None]
) -> None:
    view = log_view(a_deployment(phase=Phase.BUILDING), LONG)
    assert_slack_takes(view)
    assert "line number 999" in str(view)
    assert "line number 1\n" not in str(view)
    assert buttons_of(view) == ["Older", "Refresh", "Post as file"]
    check_snapshot("log_short", log_view(a_deployment(phase=Phase.FAILED), "one line\n"))


def test_middle_page_leads_both_ways(a_deployment: Build) -> None:
    view = log_view(a_deployment(phase=Phase.FAILED), FAILING, page=1)
    assert_slack_takes(view)
    assert buttons_of(view) == ["Older", "Newer", "First error", "Post as file"]
    assert f"Page 2 of {len(paginate(FAILING))}" in str(view)


def test_first_page_has_nothing_older_and_far_page_is_the_last(
    a_deployment: Build,
) -> None:
    deployment = a_deployment(phase=Phase.FAILED)
    assert buttons_of(log_view(deployment, LONG, page=0)) == ["Newer", "Post as file"]
    assert log_view(deployment, LONG, page=99) == log_view(deployment, LONG)
    assert log_view(deployment, LONG, page=-1) == log_view(deployment, LONG, page=0)


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        (Phase.BUILDING, "No output is stored yet: press Refresh"),
        (Phase.FAILED, "Dokku printed nothing for this deployment."),
    ],
)
def test_empty_log_says_so(a_deployment: Build, phase: Phase, words: str) -> None:
    view = log_view(a_deployment(phase=phase), "")
    assert_slack_takes(view)
    assert words in str(view["blocks"][-1])


def test_views_before_and_without_a_log(a_deployment: Build) -> None:
    deployment = a_deployment()
    assert_slack_takes(opening_view(deployment.id))
    view = problem_view(deployment.id, "There is no <!here> log.")
    assert_slack_takes(view)
    assert "<!" not in str(view)


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("fine\nnpm ERR! Error: no such file\n", 0),
        ("fine\n0 errors, no error, failed: 0\n", None),
        ("no failures\nfatal: could not read\n", 0),
        (" !     Build failed\n", 0),
        ("terrorism and unfailed work\n", None),
        (FAILING, len(paginate(LONG)) - 1),
        ("", None),
    ],
)
def test_first_error_is_found(text: str, page: int | None) -> None:
    assert first_error(text) == page


def test_error_page_shows_the_error(a_deployment: Build) -> None:
    for filler in range(0, PAGE_CHARACTERS + 40, 40):
        text = "x" * filler + "\n" + "y" * 30 + "\n !     Build failed\n" + LONG
        view = log_view(a_deployment(), text, page=first_error(text))
        assert " !     Build failed" in str(view)


def test_place_is_read_back_from_private_metadata() -> None:
    for place in (LogPlace(id="01K9", page=7, last=True), LogPlace(id="01K9", page=0, last=False)):
        assert read_place(write_place(place)) == place
    for strange in (None, "", "[]", "{}", '{"id": "1", "page": "x", "last": ""}', 5):
        assert read_place(strange) is None


LOGS = st.one_of(
    st.text(max_size=2_000),
    st.lists(
        st.sampled_from(
            ["<!channel>\n", "```", "\t" * 500, "x" * 7_000, "🧑‍🧒" * 900, "\n", "\x1b[1m"]
        ),
        max_size=30,
    ).map("".join),
)


@settings(deadline=None, max_examples=60)
@given(text=LOGS, page=st.none() | st.integers(-2, 50))
def test_any_log_can_be_shown(
    a_deployment: Build, now: datetime, text: str, page: int | None
) -> None:
    assert "".join(paginate(text)) == text
    assert all(len(piece) <= PAGE_CHARACTERS for piece in paginate(text))
    assert_slack_takes(log_view(a_deployment(), text, page=page))


@pytest.mark.parametrize(
    "line",
    [
        "       NPM_CONFIG_LOGLEVEL=error",
        " !     No healthchecks found in app.json for web process type",
        "#8 1.2 npm warn deprecated error@1.0: use another",
        "#8 1.2 Tests: 3 passed, 0 failed, 0 errors",
        "#8 1.2   ✓ prints an error (3 ms)",
        "#8 1.2 warning: unused variable: `error`",
    ],
)
def test_first_error_is_no_setting_warning_or_passed_test(line: str) -> None:
    assert first_error(f"fine\n{line}\n") is None
    assert first_error(LONG + f"{line}\n" + LONG) is None


def test_first_error_of_a_failed_deploy_is_its_reason() -> None:
    text = "#7 0.1 Error: a test prints this\n" + LONG
    text += "-----> Building web from Dockerfile\n#9 1.0 src/a.ts(1,2): error TS1: x\n"
    text += (
        "#9 ERROR: process did not complete successfully: exit code: 1\n !     App build failed\n"
    )
    assert first_error(text) == len(paginate(text)) - 1


def test_log_full_of_harmless_words_costs_little() -> None:
    text = "npm warn error failed\n" * 200_000
    began = time.process_time()
    assert first_error(text) is None
    assert time.process_time() - began < stretched(0.5)
