"""The sentences about what is live now: each says what is proven, and no more."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.deployments.dokku_facts import AppReport, BuildRecord, BuildStatus, Containers
from bot.deployments.live.compare import LiveEvidence, Match, compare_live
from bot.deployments.live.reader import LiveReport
from bot.deployments.model import Deployment, Failure, Live, Phase
from bot.deployments.progress import Progress
from bot.deployments.refs import Commit, Commits
from bot.slack.listeners.answers import live_answer
from bot.slack.render.live_state import live_lines, live_mrkdwn
from bot.slack.render.proof import state_proof
from tests.support.builders import (
    METADATA,
    NEW,
    NEW_WORKER,
    NOW,
    OLD,
    OLD_SHA,
    OTHER_RELEASE,
    RESTARTED_NEW,
    SHA,
    a_deployment,
    containers,
)
from tests.support.slack_limits import validate_message

LATER = NOW + timedelta(minutes=4)
OTHER_WORKER = replace(OTHER_RELEASE, id="8" * 12, process="worker.1")
NEW_WEB_2 = replace(NEW, id="6" * 12, process="web.2")
MIXED = "some processes on the new release and some on the previous one"
HOSTILE = "<!channel> @here <https://evil.example.com|main> `*x*`\n" + "y" * 300


def ended(minutes: int = 0, **changes: Any) -> Deployment:
    given: dict[str, Any] = {
        "id": f"01ROW{minutes:03}",
        "phase": Phase.SUCCEEDED,
        "live": Live.NEW,
        "sha": SHA,
        "started_at": NOW + timedelta(minutes=minutes),
        "finished_at": NOW + timedelta(minutes=minutes),
        "after": containers(NEW),
        "build_id": f"b{minutes:03}",
    }
    return a_deployment(**(given | changes))


def seen(*started: Deployment, now: Containers | None = None, **facts: Any) -> LiveReport:
    about = {key: facts.pop(key) for key in ("why", "keeps_records", "missing") if key in facts}
    standing = compare_live(LiveEvidence(started=started, containers=now, **facts))
    return LiveReport(server="production", app="web", dokku_app="web-app", state=standing, **about)


def said(*started: Deployment, now: Containers | None = None, **facts: Any) -> str:
    return "\n".join(live_lines(seen(*started, now=now, **facts), now=LATER))


@pytest.mark.parametrize(
    ("row", "now", "words"),
    [
        (
            ended(),
            containers(NEW),
            (
                f"{SHA[:7]} is live on production, deployed by @ada 4 minutes ago. "
                "web 1 running. Nothing changed since."
            ),
        ),
        (
            ended(phase=Phase.FAILED, failure=Failure.CRASHED),
            containers(NEW),
            (
                "but its deployment by @ada 4 minutes ago did not succeed "
                "(failed: the new release keeps crashing)."
            ),
        ),
        (
            ended(phase=Phase.FAILED, failure=Failure.INTERNAL),
            containers(NEW),
            "The commit of the live release is uncertain",
        ),
        (ended(live=Live.MIXED), containers(NEW), f"Some processes run {SHA[:7]}, some an older"),
        (ended(live=Live.NONE, after=Containers()), Containers(), "Nothing is running, as when"),
        (
            ended(),
            containers(RESTARTED_NEW),
            "ago. web 1 running. Restarted or scaled outside the bot",
        ),
        (ended(live=Live.MIXED), containers(RESTARTED_NEW), "What the last deployment left is"),
        (ended(), containers(OTHER_RELEASE), "all processes run another release"),
        (
            ended(after=containers(NEW, NEW_WORKER)),
            containers(OTHER_RELEASE, NEW_WORKER),
            "web.1 runs another release",
        ),
        (
            ended(after=containers(NEW, NEW_WORKER, NEW_WEB_2)),
            containers(OTHER_RELEASE, OTHER_WORKER, NEW_WEB_2),
            "web.1 and worker.1 run another release",
        ),
        (ended(after=Containers()), containers(NEW), "left nothing running, but something runs"),
        (ended(), Containers(), f"The last deployment left {SHA[:7]} running; since then the app"),
        (ended(live=Live.MIXED), Containers(), f"left {MIXED}; since then"),
        (ended(live=Live.MIXED), None, f"The last verified deployment left {MIXED}."),
        (ended(), None, "What is live now is unknown."),
        (ended(after=None), containers(NEW), "could not be read when the last deployment ended"),
    ],
)
def test_each_live_state_has_its_sentence(
    row: Deployment, now: Containers | None, words: str
) -> None:
    assert words in said(row, now=now)


def proof(*started: Deployment, now: Containers | None = None, **facts: Any) -> str:
    answer = state_proof([seen(*started, now=now, **facts)], read_at=LATER)
    assert not validate_message(answer.text, list(answer.blocks))
    return "\n".join(block["text"]["text"] for block in answer.blocks)


def test_commit_is_called_live_only_if_it_is_proven() -> None:
    for now in (containers(OTHER_RELEASE), Containers(), None):
        assert f"{SHA[:7]} is live" not in said(ended(), now=now)


def test_unproven_commit_is_marked_as_according_to_dokku() -> None:
    report = AppReport(metadata=METADATA)
    assert f"According to Dokku, the commit is {SHA[:7]}." in said(
        now=containers(OLD), report=report
    )
    assert "Dokku names no commit." in said(now=containers(OLD), report=AppReport())
    assert "The bot has no verified deployment of this app." in said(now=containers(OLD))


def test_unknown_live_state_says_why() -> None:
    assert "It refused." in said(ended(), why="It refused.")
    assert f"The last verified deployment left {SHA[:7]} live" in said(ended(), why="It refused.")
    assert "The bot has verified no release of this app." in said(why="It refused.")


def test_later_unproven_deployment_is_named() -> None:
    lost = ended(1, phase=Phase.FAILED, live=Live.UNKNOWN, sha=OLD_SHA, after=None)
    words = said(lost, ended(), now=containers(OTHER_RELEASE))
    assert f"the result of a later deployment ({OLD_SHA[:7]}) could not be verified" in words


def test_running_deployment_is_mentioned() -> None:
    running = ended(1, phase=Phase.RELEASING, live=None, after=None)
    words = said(running, ended(), now=containers(OTHER_RELEASE), unfinished=[running])
    assert "A deployment is changing the app right now" in words


def test_processes_are_listed_with_their_states() -> None:
    now = containers(replace(NEW, state="restarting", restarts=8), NEW_WORKER)
    words = said(ended(after=containers(NEW, NEW_WORKER)), now=now)
    assert "web 1 (8 restarts) restarting; worker 1 running." in words
    assert "web.1: crashed and restarted by Docker. See dokku logs web-app." in words
    both = containers(replace(NEW, restarts=1), replace(NEW_WORKER, restarts=2))
    words = said(ended(after=containers(NEW, NEW_WORKER)), now=both)
    assert "web 1 (1 restart), worker 1 (2 restarts) running." in words
    assert "web.1 and worker.1: crashed" in words
    assert "No process is scaled up." in said(ended(), now=Containers())


def test_outside_records_are_listed_with_the_servers_time() -> None:
    def record(id_: str, status: BuildStatus, source: str, code: int | None = None) -> BuildRecord:
        return BuildRecord(
            id=id_,
            app="web",
            status=status,
            source=source,
            exit_code=code,
            started_at="2026-11-24T06:06:05.750909579Z" if id_ == "b3" else "",
        )

    records = [
        record("b3", BuildStatus.SUCCEEDED, "git-hook"),
        record("b2", BuildStatus.FAILED, "ps:rebuild", -1),
        record("b1", BuildStatus.FAILED, "something-new", 1),
    ]
    row = ended(build_id="b0")
    words = said(row, now=containers(OTHER_RELEASE), records=records)
    assert (
        "Dokku's build records since then: a git push (succeeded, 2026-11-24 06:06:05 "
        "by the server's clock, Dokku build b3); "
        "a ps:rebuild (ended with an unknown result, Dokku build b2); "
        "something-new (failed, Dokku build b1)."
    ) in words
    runs = replace(record("b4", BuildStatus.RUNNING, "git-hook"), duration=timedelta(minutes=3))
    words = said(row, now=containers(NEW), records=[runs])
    assert "Running outside the bot: a git push (running for 3m 0s, Dokku build b4)." in words
    assert "records since" not in words


def test_change_without_a_build_record_is_explained() -> None:
    now = containers(RESTARTED_NEW)
    assert "ps:scale and ps:stop leave no record" in said(
        ended(), now=now, records=[], keeps_records=True
    )
    assert "This Dokku version keeps no build records" in said(
        ended(), now=now, keeps_records=False
    )
    assert "records" not in said(ended(), now=now)
    locked = AppReport(locked=True)
    assert "deploy lock is held" in said(ended(), now=containers(NEW), report=locked)


def test_last_good_deployment_is_part_of_the_proof() -> None:
    good = ended(0, sha=OLD_SHA)
    bad = ended(1, phase=Phase.FAILED, failure=Failure.CRASHED)
    assert f"Last good: `01ROW000` `{OLD_SHA[:7]}` (succeeded" in proof(
        bad, good, now=containers(NEW)
    )
    assert "Last good" not in proof(good, now=containers(NEW))


def test_proof_compares_each_container() -> None:
    words = proof(ended(after=containers(NEW, NEW_WORKER)), now=containers(NEW, OTHER_RELEASE))
    assert "Compared with: `01ROW000`" in words
    assert f"web.1 `{NEW.id}`" in words
    assert "the same container" in words
    assert f"`{OTHER_RELEASE.id}`" in words
    assert "a new container, another image" in words
    assert f"worker.1 `{NEW_WORKER.id}`" in words
    assert "gone" in words
    unread = proof(ended(), now=None, why="It refused.")
    assert "Why: It refused." in unread
    assert "now: could not be read" in unread
    assert "The server has no such app." in proof(ended(), missing=True)
    assert "• none now, and nothing to compare with" in proof(now=Containers())


def test_commit_is_shown_with_its_subject() -> None:
    subject = "Fix the <!channel> *login* redirect"
    row = ended(commits=Commits(head=Commit(sha=SHA, subject=subject, author="Grace")))
    report = seen(row, now=containers(NEW))
    (plain,) = live_lines(report, now=LATER, name_server=False)
    assert plain.startswith(f'{SHA[:7]} "{subject}" is live, deployed by @ada 4 minutes ago.')
    (shown,) = live_mrkdwn(report, now=LATER)
    assert shown.startswith(
        f"`{SHA[:7]}` *Fix the &lt;!channel&gt; \u2217login\u2217 redirect* is live on"
    )
    assert "deployed by @\u2060ada" in shown


def test_change_is_not_denied_while_something_happens() -> None:
    crashing = seen(ended(), now=containers(replace(NEW, restarts=3)))
    assert "Nothing changed" not in "".join(live_lines(crashing, now=LATER))


def test_missing_app_has_nothing_live() -> None:
    (line,) = live_lines(seen(ended(), missing=True), now=LATER)
    assert "no longer exists on production" in line


def test_slack_accepts_the_answer_and_it_pings_nobody() -> None:
    rows = [a_deployment(id=f"01W{n}", app=HOSTILE, ref=HOSTILE) for n in range(40)]
    running = ended(1, phase=Phase.BUILDING, live=None, app=HOSTILE, ref=HOSTILE)
    records = [
        BuildRecord(id=f"b9{n}{HOSTILE}", app="x", status=BuildStatus.FAILED, source=HOSTILE)
        for n in range(5)
    ]
    many = containers(*(replace(OTHER_RELEASE, id=f"{n:012}", process=HOSTILE) for n in range(80)))
    facts = LiveEvidence(started=[ended()], containers=many, records=records)
    found = [
        LiveReport(
            server=HOSTILE, app=HOSTILE, dokku_app=HOSTILE, state=compare_live(facts), why=HOSTILE
        ),
        LiveReport(
            server=HOSTILE,
            app=HOSTILE,
            dokku_app=HOSTILE,
            state=compare_live(replace(facts, unfinished=[running, *rows])),
        ),
    ]
    assert found[0].state.match is Match.REPLACED
    answer = live_answer(found, lambda one: (one, Progress(waits_for=HOSTILE)), now=NOW)
    for shown in (answer, state_proof(found, read_at=NOW)):
        assert not validate_message(shown.text, list(shown.blocks))
        for hazard in ("<!channel", "@here", "<https://evil"):
            assert hazard not in shown.text + str(shown.blocks)
    assert "Deploying" in answer.text
