"""SSH logins that fail while the command is sent; another deploy may start in between."""

import pytest

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.model import Failure, Live, Phase
from bot.errors import DokkuError
from tests.support.builders import OTHER_RELEASE, containers
from tests.support.fake_dokku import BUILDING, DOWN, UNKNOWN, FakeDokku
from tests.support.rig import a_rig, waiting
from tests.support.virtual_time import in_virtual_time


@in_virtual_time
async def test_outside_push_between_logins_requeues_with_new_snapshot() -> None:
    rig = a_rig(waiting())
    rig.dokku.fail("deploy")
    await rig.until(lambda: rig.progress().waits_for == "the server (try 1 of 3)")
    rig.dokku.add_record("push", source="git-hook")
    row = await rig.until_phase(Phase.QUEUED)
    await rig.passes(1)
    assert (rig.progress().waits_for or "").startswith("a git push outside the bot")
    assert rig.dispatcher.active == 0
    await rig.passes(60)
    assert not rig.dokku.streams
    rig.dokku.set_status("push", BuildStatus.SUCCEEDED, 0)
    rig.dokku.now = containers(OTHER_RELEASE)
    (await rig.dokku.stream()).end(1)
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live, row.attempt) == (Phase.FAILED, Live.PREVIOUS, 1)
    assert rig.store.event_types(row.id).count("deployment.started") == 1


@in_virtual_time
async def test_outside_push_finished_between_logins_renews_the_snapshot() -> None:
    rig = a_rig(waiting())
    rig.dokku.fail("deploy")
    await rig.until(lambda: rig.progress().waits_for == "the server (try 1 of 3)")
    rig.dokku.add_record("push", BuildStatus.SUCCEEDED, source="git-hook")
    rig.dokku.now = containers(OTHER_RELEASE)
    (await rig.dokku.stream()).end(1)
    row = await rig.until_ended(within_s=90)
    assert (row.phase, row.live) == (Phase.FAILED, Live.PREVIOUS)


@in_virtual_time
async def test_old_dokku_lock_between_logins_requeues() -> None:
    rig = a_rig(waiting(), dokku=FakeDokku(keeps=False))
    rig.dokku.fail("deploy")
    await rig.until(lambda: rig.progress().waits_for == "the server (try 1 of 3)")
    rig.dokku.locked = True
    await rig.until_phase(Phase.QUEUED)
    await rig.passes(60)
    assert not rig.dokku.streams
    rig.dokku.locked = False
    (await rig.dokku.stream()).succeed()
    assert (await rig.until_ended(within_s=90)).phase is Phase.SUCCEEDED


@pytest.mark.parametrize("error", [UNKNOWN, DOWN])
@in_virtual_time
async def test_failed_check_between_logins_counts_as_a_try(error: DokkuError) -> None:
    rig = a_rig(waiting())
    rig.dokku.fail("deploy")
    await rig.until(lambda: rig.progress().waits_for == "the server (try 1 of 3)")
    rig.dokku.fail("builds", error)
    await rig.until(lambda: rig.progress().waits_for == "the server (try 2 of 3)")
    assert rig.row().started_at is None
    (await rig.dokku.stream()).succeed()
    assert (await rig.until_ended(within_s=90)).phase is Phase.SUCCEEDED


@in_virtual_time
async def test_outside_push_between_logins_ends_a_second_attempt() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.passes(5)
    rig.dokku.fail("deploy")
    rig.dokku.set_status(stream.build_id, BuildStatus.ABANDONED)
    stream.lose()
    await rig.until(lambda: rig.progress().waits_for == "the server (try 1 of 3)")
    rig.dokku.add_record("push", source="git-hook")
    row = await rig.until_ended(within_s=90)
    assert (row.failure, row.live) == (Failure.INTERRUPTED, Live.PREVIOUS)
    assert len(rig.dokku.streams) == 1
