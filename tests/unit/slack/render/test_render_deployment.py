"""The live message in every phase."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import asyncssh
import pytest

from bot.deployments.dokku_facts import AppReport, Containers, Snapshot
from bot.deployments.execution.cancel import WAITS_FOR_FETCH
from bot.deployments.model import Actor, CancelRequest, Deployment, Failure, Live, Phase
from bot.deployments.progress import Blocker, Progress
from bot.deployments.refs import Commit, Commits
from bot.dokku.login_failures import explain
from bot.simulators.slack.validation import check_message_blocks
from bot.slack.listeners.message_buttons import MESSAGE_BUTTONS
from bot.slack.render import deployment as live_message
from bot.slack.render import text as txt
from bot.slack.render import words
from bot.slack.render.deployment import Rendered
from tests.support.slack_limits import validate_message

render = partial(live_message.render, buttons=MESSAGE_BUTTONS)
Build = Callable[..., Deployment]
OLD = "9" * 40
SHA = "a1b2c3d4e5f60718293a4b5c6d7e8f9012345678"
LOG = (
    "#9 [5/9] RUN npm ci",
    "#9 12.44 added 412 packages in 11s",
)
OLD_DOKKU = Snapshot(builds=None, report=AppReport(), containers=Containers())
PROVEN = Snapshot(builds=frozenset(), report=AppReport(), containers=Containers(), proven=OLD)
PUSH = Blocker(
    what="a git push outside the bot (Dokku build mwu9t3a2lnmbzk)",
    since=datetime(2026, 11, 24, 11, 20, tzinfo=UTC),
    stuck=True,
    advice="An operator can find its PID with `builds:info myapp mwu9t3a2lnmbzk` and, if that "
    "process is still this build, end it with `builds:cancel myapp`.",
    build="mwu9t3a2lnmbzk",
)
BUILDING: dict[str, Any] = {"phase": Phase.BUILDING, "build_id": "mwu9t3a2lnmbzk"}
HOST_KEY = str(
    explain(
        asyncssh.HostKeyNotVerifiable("no trusted host key"),
        host=f"dokku.{'long-name.' * 6}example.com",
        port=2222,
        user="dokku",
        waited_s=10,
    )
)
HEAD = Commit(sha=SHA, subject="Fix VAT rounding (#412)", author="Grace")


def shipped(*, ahead: int = 0, behind: int = 0) -> Commits:
    names = [f"{'Add' if ahead else 'Change'} feature {number}" for number in range(20, 0, -1)]
    others = [Commit(sha="e" * 40, subject=name, author="Ada") for name in names]
    listed = [HEAD, *others][:ahead] if ahead else others[:behind]
    return Commits(head=HEAD, base=OLD, ahead=ahead, behind=behind, listed=tuple(listed[:20]))


CASES: Mapping[
    str,
    tuple[dict[str, Any], dict[str, Any]] | tuple[dict[str, Any], dict[str, Any], Commits],
] = {
    "looking_up": ({"phase": Phase.QUEUED, "ready": False, "sha": None, "started_at": None}, {}),
    "queued": (
        {"phase": Phase.QUEUED, "started_at": None},
        {"place": 1, "waits_for": "a git push to this app that runs on the server"},
    ),
    "queued_behind_a_push": (
        {"phase": Phase.QUEUED, "started_at": None},
        {"place": 1, "waits_for": PUSH.what, "blocker": PUSH},
    ),
    "queued_behind_a_left_build": (
        {"phase": Phase.QUEUED, "started_at": None},
        {
            "place": 1,
            "waits_for": "the deployment ahead of it",
            "blocker": Blocker(
                what="the deployment ahead of it", build="mwu9t3a2lnmbzk", left=True
            ),
        },
    ),
    "left_build": (
        {**BUILDING, "build_id": "mwu9t3a2lnmbzk", "left_build": "mwu9t3a2lnmbzk"},
        {"cut_off": True, "tail": LOG},
    ),
    "starting": ({"phase": Phase.STARTING}, {}),
    "server_away": ({"phase": Phase.STARTING}, {"waits_for": "the server (try 2 of 3)"}),
    "second_attempt": (
        {"phase": Phase.STARTING, "attempt": 2},
        {"notes": ("The line to Dokku was lost; started again.",)},
    ),
    "fetching": ({"phase": Phase.FETCHING, "sha": None}, {}),
    "building": (
        BUILDING,
        {"step": "step 5 of 9", "tail": LOG, "usual": timedelta(seconds=130)},
    ),
    "building_beside_others": (
        BUILDING,
        {"others": "Meanwhile, outside the bot: config:set (Dokku build b8)."},
    ),
    "building_on_old_dokku": ({**BUILDING, "build_id": None, "before": OLD_DOKKU}, {"tail": LOG}),
    "stale": (BUILDING, {"tail": LOG, "stale_since": timedelta(seconds=-50)}),
    "stale_by_host_key": (BUILDING, {"stale_since": timedelta(), "stale_why": HOST_KEY}),
    "stale_while_checked": (
        {**BUILDING, "phase": Phase.CHECKING},
        {"stale_since": timedelta(), "stale_why": "it did not answer within 8 s."},
    ),
    "releasing": (
        {**BUILDING, "phase": Phase.RELEASING},
        {"step": "health checks of web.1", "tail": LOG},
    ),
    "reading_end": ({**BUILDING, "phase": Phase.RELEASING}, {"tail": LOG, "reading_end": True}),
    "checking": ({**BUILDING, "phase": Phase.CHECKING}, {"tail": LOG}),
    "cancelling": ({**BUILDING, "phase": Phase.CANCELLING, "cancel": True}, {"tail": LOG}),
    "cancelling_a_fetch": (
        {
            **BUILDING,
            "phase": Phase.CANCELLING,
            "cancel": True,
            "build_id": None,
            "before": OLD_DOKKU,
        },
        {"waits_for": WAITS_FOR_FETCH},
    ),
    "cancel_out_of_reach": (
        {**BUILDING, "cancel": True, "before": PROVEN, "build_id": "mwu9t3a2lnmbzk"},
        {"cut_off": True, "tail": LOG},
    ),
    "succeeded": (
        {
            **BUILDING,
            "phase": Phase.SUCCEEDED,
            "live": Live.NEW,
            "previous_sha": OLD,
            "before": PROVEN,
            "rollback_sha": OLD,
            "url": "http://myapp.example.com",
        },
        {"tail": (*LOG, "=====> Application deployed:", "       http://myapp.example.com")},
    ),
    "succeeded_nothing_scaled": (
        {
            **BUILDING,
            "phase": Phase.SUCCEEDED,
            "live": Live.NONE,
            "reason": "No process is scaled up.",
            "url": "http://myapp.example.com",
        },
        {"tail": LOG},
    ),
    "failed_previous_serves": (
        {
            **BUILDING,
            "phase": Phase.FAILED,
            "failure": Failure.BUILD_FAILED,
            "live": Live.PREVIOUS,
            "previous_sha": OLD,
            "before": PROVEN,
            "rollback_sha": OLD,
            "reason": "npm ERR! missing script: build",
        },
        {"tail": LOG, "excerpt": ("> build", "npm ERR! missing script: build")},
    ),
    "failed_late_new_serves": (
        {
            **BUILDING,
            "phase": Phase.FAILED,
            "failure": Failure.RELEASE_FAILED,
            "live": Live.NEW,
            "rollback_sha": OLD,
            "reason": "It failed late: the new release is serving.",
        },
        {"tail": LOG},
    ),
    "failed_before_the_start": (
        {
            "phase": Phase.FAILED,
            "failure": Failure.SERVER_UNREACHABLE,
            "live": Live.UNKNOWN,
            "started_at": None,
            "sha": None,
            "reason": "production does not answer.",
        },
        {},
    ),
    "shipping_four_commits": (BUILDING, {"tail": LOG}, shipped(ahead=4)),
    "shipping_many_commits": (BUILDING, {"tail": LOG}, shipped(ahead=1_234)),
    "shipping_the_first_commit": (BUILDING, {"tail": LOG}, Commits(head=HEAD)),
    "behind_what_is_live": (
        {"phase": Phase.QUEUED, "started_at": None},
        {"place": 1},
        shipped(behind=3),
    ),
    "ahead_and_behind": (BUILDING, {}, shipped(ahead=1, behind=2)),
    "rolling_back": (
        {**BUILDING, "rollback_of": "01K9ZB3V7N8Q4R5S6T7V8W9X0Z"},
        {},
        shipped(behind=3),
    ),
    "cancelled": (
        {**BUILDING, "phase": Phase.CANCELLED, "live": Live.PREVIOUS, "cancel": True},
        {"tail": LOG},
    ),
}


def rendered(build: Build, now: datetime, case: str) -> Rendered:
    facts, seen, *commits = CASES[case]
    facts = facts | {"commits": commits[0]} if commits else facts
    ended = facts["phase"] in {Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED}
    facts = {**facts, "finished_at": now if ended else None}
    if facts.get("cancel"):
        facts["cancel"] = CancelRequest(by=Actor(user="U0BOB", name="bob"), at=now)
    seen = {"checked_at": now, **seen}
    if "stale_since" in seen:
        seen["stale_since"] = now + seen["stale_since"]
    return render(
        build(**facts),
        Progress(**seen),
        now=now,
        commit_url="https://x.example/c/a1",
        compare_url="https://x.example/a..b",
    )


@pytest.mark.parametrize("case", CASES)
def test_each_phase_matches_its_snapshot_and_slack_accepts_it(
    case: str,
    a_deployment: Build,
    now: datetime,
    check_snapshot: Callable[[str, object], None],
) -> None:
    shown = rendered(a_deployment, now, case)
    check_snapshot(f"deployment_{case}", {"text": shown.text, "blocks": shown.blocks})
    assert validate_message(shown.text, shown.blocks) == []
    check_message_blocks(list(shown.blocks))
    assert "\n" not in shown.text


def test_fix_for_a_changed_host_key_is_never_cut_off(a_deployment: Build, now: datetime) -> None:
    assert HOST_KEY in _text_of(rendered(a_deployment, now, "stale_by_host_key"))
    lost = "Contact with Dokku was lost, so the result is unknown. "
    why = f"The server could not be queried: {HOST_KEY}"
    end = a_deployment(phase=Phase.FAILED, failure=Failure.LOST_CONTACT, live=Live.UNKNOWN)
    reason = f"{lost}What is serving now is unknown. {why}"
    shown = render(replace(end, reason=reason, finished_at=now), Progress(), now=now)
    assert f"{lost}{why}" in _text_of(shown)


def _text_of(shown: Rendered) -> str:
    """With ticks as they were: mrkdwn gets lookalikes."""
    return json.dumps(shown.blocks, ensure_ascii=False).replace(chr(0x2CB), "`")


@pytest.mark.parametrize("case", CASES)
def test_buttons_follow_the_state(case: str, a_deployment: Build, now: datetime) -> None:
    expected = {
        "looking_up": ["Cancel", "Tell me when it is free"],
        "queued": ["Cancel", "Tell me when it is free"],
        "queued_behind_a_push": ["Cancel", "Cancel on the server", "Tell me when it is free"],
        "queued_behind_a_left_build": ["Cancel", "Cancel on the server", "Tell me when it is free"],
        "left_build": ["Full log", "Cancel", "Cancel on the server"],
        "behind_what_is_live": ["Cancel", "Tell me when it is free"],
        "checking": ["Full log"],
        "stale_while_checked": ["Full log"],
        "cancelling": ["Full log"],
        "cancelling_a_fetch": ["Full log"],
        "cancel_out_of_reach": ["Full log"],
        "succeeded": ["Full log", "Roll back", "Details"],
        "succeeded_nothing_scaled": ["Full log", "Details"],
        "failed_previous_serves": ["Retry", "Full log", "Details"],
        "failed_late_new_serves": ["Roll back", "Retry", "Full log", "Details"],
        "failed_before_the_start": ["Retry", "Full log", "Details"],
        "cancelled": ["Retry", "Full log", "Details"],
    }.get(case, ["Full log", "Cancel"])
    labels = [
        element["text"]["text"]
        for block in rendered(a_deployment, now, case).blocks
        if block["type"] == "actions"
        for element in block["elements"]
    ]
    assert labels == expected


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (
            {"phase": Phase.RELEASING},
            (
                ". If the connection is lost, only the deploy lock and the containers can show the "
                "result."
            ),
        ),
        (
            {"phase": Phase.FAILED, "failure": Failure.LOST_CONTACT, "live": Live.UNKNOWN},
            ", so nothing shows how the deployment ended.",
        ),
        ({"phase": Phase.CANCELLED, "live": Live.PREVIOUS}, None),
        ({"phase": Phase.SUCCEEDED, "live": Live.NEW}, None),
        ({"phase": Phase.FAILED, "failure": Failure.BUILD_FAILED, "live": Live.PREVIOUS}, None),
        ({"phase": Phase.CANCELLED, "live": Live.PREVIOUS, "started_at": None}, None),
        (
            {
                "phase": Phase.FAILED,
                "failure": Failure.SERVER_UNREACHABLE,
                "live": Live.UNKNOWN,
                "started_at": None,
            },
            None,
        ),
    ],
)
def test_older_dokku_is_mentioned_if_it_limits_what_is_known(
    end: dict[str, Any], said: str | None, a_deployment: Build, now: datetime
) -> None:
    shown = str(render(a_deployment(before=OLD_DOKKU, **end), Progress(), now=now).blocks)
    newer = replace(OLD_DOKKU, builds=frozenset())
    assert "build records" not in str(
        render(a_deployment(before=newer, **end), Progress(), now=now)
    )
    if said is None:
        assert "build records" not in shown
    else:
        assert f"This Dokku version keeps no build records{said}" in shown


@pytest.mark.parametrize(
    ("facts", "progress"),
    [
        ({"phase": Phase.RELEASING, "exit_status": 0}, {}),
        ({"phase": Phase.RELEASING}, {"reading_end": True}),
        ({"phase": Phase.CHECKING}, {}),
    ],
)
def test_no_note_speaks_of_a_lost_connection_once_the_end_is_known(
    facts: dict[str, Any], progress: dict[str, Any], a_deployment: Build, now: datetime
) -> None:
    deployment = a_deployment(before=OLD_DOKKU, **facts)
    shown = str(render(deployment, Progress(**progress), now=now).blocks)
    assert "build records" not in shown


def test_rollback_names_the_ref_that_its_commit_came_from(
    a_deployment: Build, now: datetime
) -> None:
    back = a_deployment(phase=Phase.SUCCEEDED, live=Live.NEW, ref=OLD, came_from="main")
    rendered = render(back, Progress(), now=now)
    assert "`9999999 (main)`" in str(rendered.blocks[0])
    assert "9999999 (main)" in rendered.text


def test_roll_back_is_never_offered_to_the_commit_just_deployed(
    a_deployment: Build, now: datetime
) -> None:
    same = a_deployment(phase=Phase.SUCCEEDED, live=Live.NEW, rollback_sha=a_deployment().sha)
    assert "Roll back" not in str(render(same, Progress(), now=now).blocks)


def test_elapsed_check_time_and_pace_do_not_change_the_hash(
    a_deployment: Build, now: datetime
) -> None:
    deployment, later = a_deployment(**BUILDING), now + timedelta(seconds=30)
    first = render(deployment, Progress(checked_at=now), now=now)
    second = render(
        deployment,
        Progress(checked_at=later),
        now=later,
        updates_every=timedelta(seconds=45),
        running=30,
    )
    assert first.shown_hash == second.shown_hash
    assert first.blocks != second.blocks
    assert "updated every 45 s while 30 deployments run" in str(second.blocks)


@pytest.mark.parametrize(
    "change",
    [
        {"step": "step 6 of 9"},
        {"tail": ("another line",)},
        {"reading_end": True},
        {"stale_since": datetime.fromisoformat("2026-11-24T12:00:00+00:00")},
        {"notes": ("a note",)},
        {
            "stale_since": datetime.fromisoformat("2026-11-24T12:00:00+00:00"),
            "stale_why": "it does not answer",
        },
    ],
)
def test_any_other_change_changes_the_hash(
    change: dict[str, Any], a_deployment: Build, now: datetime
) -> None:
    deployment = a_deployment(**BUILDING)
    before = render(deployment, Progress(), now=now)
    assert render(deployment, Progress(**change), now=now).shown_hash != before.shown_hash


def test_normal_pace_is_not_mentioned(a_deployment: Build, now: datetime) -> None:
    shown = render(
        a_deployment(**BUILDING), Progress(), now=now, updates_every=timedelta(seconds=10)
    )
    assert "updated every" not in str(shown.blocks)


@pytest.mark.parametrize(
    ("phase", "lines"),
    [
        *((Phase.BUILDING, 3), (Phase.CHECKING, 3), (Phase.CANCELLING, 3), (Phase.FAILED, 10)),
        *((Phase.SUCCEEDED, 0), (Phase.CANCELLED, 0), (Phase.QUEUED, 0)),
    ],
)
def test_lines_are_shown_while_it_runs_and_at_a_failure(
    a_deployment: Build, now: datetime, phase: Phase, lines: int
) -> None:
    tail = tuple(f"line {number}" for number in range(10, 50))
    shown = str(render(a_deployment(phase=phase), Progress(tail=tail), now=now).blocks)
    assert [line for line in tail if line in shown] == list(tail[40 - lines :])


@pytest.mark.parametrize("facts", [{}, {"retry_of": "01K9ZA"}, {"rollback_of": "01K9ZA"}])
def test_below_a_result_is_only_its_id(
    a_deployment: Build, now: datetime, facts: dict[str, Any]
) -> None:
    for phase in (Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED):
        one = a_deployment(**{**BUILDING, **facts, "phase": phase, "finished_at": now})
        shown = render(one, Progress(checked_at=now), now=now, updates_every=timedelta(minutes=1))
        (below,) = shown.blocks[-1]["elements"]
        assert below["text"] == one.id


def test_a_screen_reader_says_of_which_deployment_a_button_is(
    a_deployment: Build, now: datetime
) -> None:
    for ref in ("main", "x" * 255):
        shown = render(a_deployment(**BUILDING, ref=ref), Progress(), now=now)
        labels = [one["accessibility_label"] for one in shown.blocks[-2]["elements"]]
        assert [label.split(" ")[:3] for label in labels] == [
            ["Full", "log:", "myapp"],
            ["Cancel:", "myapp", labels[1].split(" ")[2]],
        ]
        assert all(len(label) <= 75 for label in labels)


@pytest.mark.parametrize("case", ["shipping_four_commits", "behind_what_is_live", "rolling_back"])
def test_the_spoken_text_says_what_ships(case: str, a_deployment: Build, now: datetime) -> None:
    shown = rendered(a_deployment, now, case)
    block = next(one for one in shown.blocks if "9999999" in str(one))
    said = block["text"]["text"].partition(" (<")[0]
    assert said in shown.text
    assert '"Fix VAT rounding (#412)" by Grace' in shown.text
    assert "requested by @\u2060ada" in shown.text


def test_the_same_commit_again_ships_nothing(a_deployment: Build, now: datetime) -> None:
    same = Commits(head=HEAD, base=SHA)
    shown = render(a_deployment(**BUILDING, commits=same), Progress(), now=now)
    assert "commits" not in _text_of(shown)
    assert "Fix VAT rounding" in _text_of(shown)


STABLE = "The new release is running and has stayed up."
MIXED = (
    "The new release was deployed, but web.1 does not stay up. web.2 runs the new release, web.1 "
    "runs the previous one."
)


@pytest.mark.parametrize(
    ("end", "reason", "shown", "step"),
    [
        ({"phase": Phase.SUCCEEDED, "live": Live.NEW}, STABLE, None, None),
        (
            {"phase": Phase.SUCCEEDED, "live": Live.NEW},
            f"{STABLE} Meanwhile, outside the bot: config:set.",
            "Meanwhile, outside the bot: config:set.",
            None,
        ),
        (
            {"phase": Phase.FAILED, "failure": Failure.BUILD_FAILED, "live": Live.PREVIOUS},
            "The build failed: npm ERR! The previous release is still serving.",
            "npm ERR!",
            "Next: fix and push, then Retry.",
        ),
        (
            {"phase": Phase.FAILED, "failure": Failure.BUILD_FAILED, "live": Live.NONE},
            "The build failed. Nothing is serving.",
            None,
            "Next: fix and push, then Retry.",
        ),
        (
            {
                "phase": Phase.FAILED,
                "failure": Failure.BUILD_FAILED,
                "live": Live.NONE,
                "rollback_sha": OLD,
            },
            "The build failed. Nothing is serving.",
            None,
            "Next: Roll back, or fix and push, then Retry.",
        ),
        (
            {"phase": Phase.FAILED, "failure": Failure.BUILD_FAILED, "live": Live.UNKNOWN},
            "The build failed. What is serving now is unknown.",
            None,
            "Next: reply status in the thread to see what is live, before you Retry.",
        ),
        (
            {"phase": Phase.FAILED, "failure": Failure.BUILD_FAILED, "live": Live.PREVIOUS},
            "The build failed: The disk is full; free some. The previous release is still serving.",
            "The disk is full; free some.",
            None,
        ),
        (
            {"phase": Phase.FAILED, "failure": Failure.REJECTED, "live": Live.PREVIOUS},
            "Rejected by bob: not today.",
            "Rejected by bob: not today.",
            "Next: settle it with the approver, then Retry.",
        ),
        (
            {"phase": Phase.CANCELLED, "live": Live.PREVIOUS},
            "Cancelled. The previous release is still serving.",
            None,
            None,
        ),
        (
            {"phase": Phase.CANCELLED, "live": Live.NEW},
            "Cancelled, but too late. The new release is serving.",
            "Cancelled, but too late.",
            None,
        ),
        (
            {"phase": Phase.FAILED, "failure": Failure.CRASHED, "live": Live.MIXED},
            MIXED,
            MIXED,
            "Next: fix and push, then Retry.",
        ),
    ],
)
def test_reason_says_only_what_no_fact_says(
    end: dict[str, Any],
    reason: str,
    shown: str | None,
    step: str | None,
    a_deployment: Build,
    now: datetime,
) -> None:
    message = render(a_deployment(**end, reason=reason, finished_at=now), Progress(), now=now)
    plain = [
        one["text"]["text"]
        for one in message.blocks
        if one["type"] == "section" and one.get("text", {}).get("type") == "plain_text"
    ]
    assert plain == ([shown] if shown else [])
    said = " · ".join(one for one in (shown, step) if one)
    assert message.text.endswith(said)
    steps = [one["text"]["text"] for one in message.blocks if "Next:" in str(one)]
    assert steps == ([step] if step else [])
    assert (step is not None) == ("Next:" in message.text)


def test_previous_commit_is_shown_once(a_deployment: Build, now: datetime) -> None:
    facts = {"previous_sha": OLD, "before": PROVEN, "commits": shipped(ahead=4)}
    for phase, live in ((Phase.SUCCEEDED, Live.NEW), (Phase.FAILED, Live.PREVIOUS)):
        shown = render(a_deployment(phase=phase, live=live, **facts), Progress(), now=now)
        assert _text_of(shown).count("9999999") == 1
        assert "4 commits since the previous release" in _text_of(shown)


@pytest.mark.parametrize("case", CASES)
def test_spoken_text_has_every_fact_of_the_blocks(
    case: str, a_deployment: Build, now: datetime
) -> None:
    shown = rendered(a_deployment, now, case)
    for block in shown.blocks:
        facts = [one["text"].partition("\n")[2] for one in block.get("fields", ())]
        if block["type"] == "context" and block is not shown.blocks[-1]:
            facts += [one["text"] for one in block["elements"]]
        for fact in facts:
            spoken = txt.plain_times(re.sub(r"<https?://[^|>]*\|([^>]*)>", r"\1", fact))
            spoken = spoken.replace("`a1b2c3d`", "a1b2c3d")
            assert spoken in shown.text, fact


def test_server_is_left_out_if_there_is_only_one(a_deployment: Build, now: datetime) -> None:
    one = render(a_deployment(**BUILDING), Progress(), now=now, name_server=False)
    assert one.blocks[0]["text"]["text"] == "🔵 *Deploying myapp* `main`"
    assert one.text.startswith("Deploying myapp main: Building")


def test_full_sha_as_ref_is_shown_short(a_deployment: Build, now: datetime) -> None:
    shown = render(a_deployment(**BUILDING, ref=SHA), Progress(), now=now)
    assert shown.blocks[0]["text"]["text"] == f"🔵 *Deploying myapp* `{SHA[:7]}` to production"
    assert SHA not in shown.text


def test_step_that_repeats_its_phase_is_left_out(a_deployment: Build, now: datetime) -> None:
    releasing = a_deployment(phase=Phase.RELEASING)
    shown = render(releasing, Progress(step="release"), now=now)
    assert shown.blocks[1]["fields"][0]["text"] == "*Status*\nReleasing"


def test_live_message_pings_nobody(a_deployment: Build, now: datetime) -> None:
    assert "<@" not in str(render(a_deployment(**BUILDING), Progress(), now=now))


AGAIN = "a1b2c3d is already live; deploying it again."
BEFORE = "a1b2c3d was already live before this deployment."


@pytest.mark.parametrize(
    ("facts", "seen", "said"),
    [
        ({"phase": Phase.QUEUED}, {"live_sha": SHA}, AGAIN),
        ({"phase": Phase.QUEUED}, {"live_sha": SHA, "waits_for": "a git push"}, None),
        ({"phase": Phase.QUEUED}, {"live_sha": OLD}, None),
        ({"phase": Phase.QUEUED, "sha": None}, {}, None),
        ({"phase": Phase.BUILDING, "before": replace(PROVEN, proven=SHA)}, {}, AGAIN),
        ({"phase": Phase.BUILDING, "before": PROVEN}, {"live_sha": SHA}, None),
        ({"phase": Phase.BUILDING, "before": replace(PROVEN, proven=None)}, {}, None),
        (
            {
                "phase": Phase.SUCCEEDED,
                "live": Live.NEW,
                "before": replace(PROVEN, proven=SHA),
            },
            {},
            BEFORE,
        ),
    ],
)
def test_deploying_the_live_commit_again_is_mentioned(
    facts: dict[str, Any],
    seen: dict[str, Any],
    said: str | None,
    a_deployment: Build,
    now: datetime,
) -> None:
    shown = str(render(a_deployment(**facts), Progress(**seen), now=now).blocks)
    assert (said in shown) if said else ("already live" not in shown)


def test_previous_commit_that_only_dokku_names_is_marked(
    a_deployment: Build, now: datetime
) -> None:
    end = {"phase": Phase.FAILED, "live": Live.PREVIOUS, "previous_sha": OLD}
    proven = str(render(a_deployment(**end, before=PROVEN), Progress(), now=now).blocks)
    assert "the previous release (`9999999`)" in proven
    for before in (None, replace(PROVEN, proven=None)):
        shown = str(render(a_deployment(**end, before=before), Progress(), now=now).blocks)
        assert "the previous release (`9999999` according to Dokku)" in shown


@pytest.mark.parametrize(
    ("facts", "cut_off", "said"),
    [
        (
            {"cancel": True, "build_id": "b7"},
            True,
            ["cancelling is unsafe", "`builds:cancel myapp`"],
        ),
        ({"cancel": True, "build_id": None}, True, ["cancelling is unsafe"]),
        (
            {"cancel": True, "build_id": None, "before": OLD_DOKKU},
            True,
            ["cancelling is unsafe", "find that deploy's process on the server"],
        ),
        ({"cancel": True, "build_id": "b7"}, False, []),
        ({"build_id": "b7"}, True, []),
        ({"cancel": True, "build_id": "b7", "phase": Phase.CANCELLING}, True, []),
        ({"cancel": True, "build_id": "b7", "phase": Phase.CHECKING}, True, []),
        ({"cancel": True, "build_id": "b7", "phase": Phase.FAILED}, True, []),
    ],
)
def test_cancel_after_a_lost_connection_says_that_it_is_unsafe(
    a_deployment: Build, now: datetime, facts: dict[str, Any], cut_off: bool, said: list[str]
) -> None:
    facts = {**BUILDING, "before": PROVEN, **facts}
    if facts.get("cancel"):
        facts["cancel"] = CancelRequest(by=Actor(user="U0BOB", name="bob"), at=now)
    notes = words.cancel_notes(a_deployment(**facts), Progress(cut_off=cut_off))
    assert len(notes) == len(said)
    assert all(word in note for word, note in zip(said, notes, strict=True))
