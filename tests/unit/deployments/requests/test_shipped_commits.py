"""What a deployment ships: read in the background, stored, and compared again at the start."""

from dataclasses import replace

import pytest

from bot.deployments.dokku_facts import AppReport, Snapshot
from bot.deployments.model import BOT, Deployment, Live, Phase, Trigger
from bot.deployments.refs import CannotTell, Commit, Commits
from bot.deployments.requests.service import Request
from tests.support.builders import NOW, OLD, OLD_SHA, OTHER_RELEASE, REPO, SHA, containers
from tests.support.fake_dokku import FakeDokku
from tests.support.rig import Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time

OTHER = "9" * 40
HEAD = Commit(sha=SHA, subject="Fix VAT rounding", author="Grace")


def compared(base: str | None, ahead: int = 2) -> Commits:
    return Commits(head=HEAD, base=base, ahead=ahead, listed=(HEAD,))


async def request(rig: Rig) -> Deployment:
    asked = Request(app="web", actor=BOT, trigger=Trigger.COMMAND, request_key="k", channel="C01")
    made = await rig.service.request(asked)
    assert made is not None
    return made


def good(sha: str) -> Deployment:
    """A deployment that left `OLD` running."""
    return waiting(
        id="01K9ZB00000000000000000000",
        sha=sha,
        phase=Phase.SUCCEEDED,
        live=Live.NEW,
        started_at=NOW,
        finished_at=NOW,
        after=containers(OLD),
        request_key="earlier",
    )


@in_virtual_time
async def test_request_reads_and_stores_what_it_ships() -> None:
    rig = a_rig(start=False)
    rig.refs.shipped = compared(OLD_SHA)
    made = await request(rig)
    await rig.until(lambda: rig.row(made.id).commits is not None, made.id)
    assert rig.refs.compared == [(SHA, OLD_SHA)]  # live according to Dokku's record
    assert rig.row(made.id).shipped == compared(OLD_SHA)
    shown = rig.cache.get(made.id)
    assert shown is not None
    assert shown.deployment.commits == compared(OLD_SHA)


def test_subject_of_another_commit_is_never_shown() -> None:
    row = waiting(sha=SHA, commits=compared(OLD_SHA))
    assert row.shipped == compared(OLD_SHA)
    assert replace(row, sha=OTHER).shipped is None


@in_virtual_time
async def test_message_is_posted_and_it_starts_before_the_repository_answers() -> None:
    rig = a_rig()
    rig.refs.shipped = compared(OLD_SHA)
    made = await request(rig)
    rig.refs.takes_s = 3600.0
    assert rig.announcer.posted == [made.id]
    stream = await rig.begun()
    assert rig.row(made.id).commits is None
    await stream.close()


@in_virtual_time
@pytest.mark.parametrize("answer", [None, CannotTell("down")])
async def test_unreadable_repository_changes_nothing(answer: object) -> None:
    rig = a_rig(start=False)
    if answer is not None:
        rig.refs.answer = CannotTell("down")
    made = await request(rig)
    await rig.passes(30)
    assert rig.row(made.id).commits is None
    # Without a commit there is nothing to ask about.
    assert rig.refs.compared == ([] if answer else [(SHA, OLD_SHA)])


@in_virtual_time
async def test_start_compares_again_if_another_commit_is_live_by_then() -> None:
    rig = a_rig(waiting(commits=compared(OTHER, ahead=7)))
    rig.refs.shipped = compared(OLD_SHA)
    await rig.begun()
    row = await rig.until(lambda: rig.row().commits == compared(OLD_SHA))
    assert row.previous_sha == OLD_SHA
    assert rig.refs.compared == [(SHA, OLD_SHA)]
    assert row.shipped == compared(OLD_SHA)


@in_virtual_time
async def test_start_asks_nothing_if_the_comparison_still_holds() -> None:
    rig = a_rig(waiting(commits=compared(OLD_SHA)))
    await rig.begun()
    assert rig.refs.compared == []
    assert rig.row().shipped == compared(OLD_SHA)


@in_virtual_time
async def test_start_does_not_ask_twice_what_the_request_still_asks() -> None:
    rig = a_rig()
    rig.refs.shipped = compared(OLD_SHA)
    made = await request(rig)
    rig.refs.takes_s = 60.0
    await rig.begun()
    await rig.until(lambda: rig.row(made.id).commits is not None, made.id)
    assert rig.refs.compared == [(SHA, OLD_SHA)]


@in_virtual_time
async def test_history_and_dokku_disagree_so_only_the_start_compares() -> None:
    rig = a_rig(good(OTHER), start=False, dokku=FakeDokku(metadata=f"{REPO}#{OLD_SHA}"))
    await request(rig)
    await rig.passes(5)
    assert rig.refs.compared == [(SHA, None)]


def test_comparison_with_a_commit_that_was_not_live_at_the_start_is_not_shown() -> None:
    row = waiting(commits=compared(OTHER), previous_sha=OLD_SHA)
    assert row.shipped == compared(OTHER)  # it has not started: nothing else is known to be live
    before = Snapshot(builds=frozenset(), report=AppReport(), containers=containers(OLD))
    assert replace(row, before=before).shipped == Commits(head=HEAD)
    assert replace(row, before=before, previous_sha=OTHER).shipped == compared(OTHER)
    assert replace(row, before=before, previous_sha=None).shipped == Commits(head=HEAD)


@in_virtual_time
async def test_late_answer_about_an_older_live_commit_is_dropped() -> None:
    """The request's question takes long; the start asks about another commit meanwhile."""
    rig = a_rig(good(OTHER), start=False, dokku=FakeDokku(metadata=f"{REPO}#{OTHER}"))
    made = await request(rig)
    rig.refs.takes_s, rig.refs.shipped = 60.0, compared(OTHER)
    await rig.until(lambda: bool(rig.refs.compared), made.id)
    rig.refs.takes_s, rig.refs.shipped = 0.0, compared(OLD_SHA)
    rig.dokku.now, rig.dokku.metadata = containers(OTHER_RELEASE), f"{REPO}#{OLD_SHA}"
    rig.start()
    await rig.until(lambda: rig.row(made.id).commits is not None, made.id)
    await rig.passes(120)
    assert rig.refs.compared == [(SHA, OTHER), (SHA, OLD_SHA)]
    assert rig.row(made.id).commits == compared(OLD_SHA)


@in_virtual_time
async def test_database_outage_loses_only_what_it_ships() -> None:
    rig = a_rig(start=False)
    rig.refs.shipped = compared(OLD_SHA)
    rig.store.fail("place_commits")
    made = await request(rig)
    await rig.passes(5)
    assert rig.row(made.id).commits is None
    rig.start()
    await rig.begun()  # the start asks again
    await rig.until(lambda: rig.row(made.id).commits is not None, made.id)


@in_virtual_time
async def test_takeover_reads_what_the_former_owner_did_not() -> None:
    first = a_rig(waiting())
    await first.begun()
    await first.until(lambda: bool(first.refs.compared))
    await first.crash()
    second = a_rig(store=first.store, dokku=first.dokku)
    second.refs.shipped = compared(OLD_SHA)
    await second.until(lambda: second.row().commits is not None)
    assert second.refs.compared == [(SHA, OLD_SHA)]


@in_virtual_time
async def test_result_keeps_what_arrived_after_the_owner_read_its_row() -> None:
    rig = a_rig(waiting())
    rig.refs.shipped = compared(OLD_SHA)
    stream = await rig.begun()
    await rig.until(lambda: rig.row().commits is not None)
    stream.succeed()
    row = await rig.until_ended()
    assert row.phase is Phase.SUCCEEDED
    assert row.commits == compared(OLD_SHA)
