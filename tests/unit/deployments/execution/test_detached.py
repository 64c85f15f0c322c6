"""Deployments whose command runs in a one-off container: the bot only starts it and looks on."""

from datetime import timedelta

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.model import Actor, Failure, Live, Phase
from bot.errors import CommandFailed, OddReport
from tests.support.builders import METADATA, NEW, OLD_METADATA, REPO, containers
from tests.support.detached_dokku import DetachedDokku
from tests.support.fake_dokku import BUILDING, DOWN, GOOD, FakeStream
from tests.support.rig import Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time

NAME = "runner.run.1001"
ADA = Actor(user="U0ADA", team="T01", name="ada")


def a_detached_rig(**fields: object) -> tuple[Rig, DetachedDokku]:
    dokku = DetachedDokku(**fields)  # type: ignore[arg-type]  # test shorthand
    return a_rig(waiting(), dokku=dokku), dokku


async def a_detached_build() -> tuple[Rig, DetachedDokku, FakeStream]:
    """A deployment whose build runs and prints."""
    rig, dokku = a_detached_rig()
    build = await rig.begun()
    build.say(*BUILDING)
    await rig.until_phase(Phase.BUILDING)
    return rig, dokku, build


async def log_of(rig: Rig) -> list[str]:
    return (await rig.store.logs.read(rig.row().id)).splitlines()


@in_virtual_time
async def test_good_deploy() -> None:
    rig, dokku = a_detached_rig()
    build = await rig.begun()
    build.say(*BUILDING)
    row = await rig.until_phase(Phase.BUILDING)
    assert row.before is not None
    assert (row.before.runner, row.before.run) == ("runner", NAME)
    await rig.passes(30)
    build.succeed()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live, row.exit_status) == (Phase.SUCCEEDED, Live.NEW, None)
    assert await log_of(rig) == list(GOOD)
    assert rig.store.event_types(row.id) == ["deployment.started", "deployment.finished"]
    assert "deploy" not in dokku.asked
    assert dokku.cancels == []


@in_virtual_time
async def test_lost_follower_is_replaced_and_repeats_no_line() -> None:
    rig, dokku, build = await a_detached_build()
    await dokku.followers[0].close()
    await rig.until(lambda: len(dokku.followers) > 1)
    build.say("a line")
    await rig.passes(5)
    assert await log_of(rig) == [*BUILDING, "a line"]
    assert rig.row().phase is Phase.BUILDING
    build.succeed()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, dokku.started) == (Phase.SUCCEEDED, 1)


@in_virtual_time
async def test_kill_and_takeover_start_nothing_again() -> None:
    for at in (Phase.STARTING, Phase.BUILDING):
        rig, dokku = a_detached_rig()
        await rig.until_phase(Phase.STARTING)
        if at is Phase.BUILDING:
            (await dokku.stream()).say(*BUILDING)
            await rig.until_phase(Phase.BUILDING)
        else:
            await rig.until(lambda it=dokku: it.started)
        await rig.crash()
        # The setting may have changed meanwhile.
        dokku.runner = ""
        again = a_rig(store=rig.store, dokku=dokku)
        await again.passes(90)
        build = await dokku.stream()
        build.say("> building")
        await again.until_phase(Phase.BUILDING)
        build.succeed()
        row = await again.until_ended(within_s=60)
        assert (row.phase, row.live, row.attempt) == (Phase.SUCCEEDED, Live.NEW, 1)
        assert (dokku.started, again.store.event_types(row.id)) == (
            1,
            ["deployment.started", "deployment.finished"],
        )


@in_virtual_time
async def test_shutdown_waits_for_no_build() -> None:
    rig, dokku, build = await a_detached_build()
    began = rig.clock.monotonic()
    assert await rig.stop(timeout_s=600) == 1
    assert rig.clock.monotonic() - began < 5
    again = a_rig(store=rig.store, dokku=dokku)
    await again.until(lambda: len(dokku.followers) > 1)
    build.succeed()
    row = await again.until_ended(within_s=60)
    assert (row.phase, row.attempt, dokku.started) == (Phase.SUCCEEDED, 1, 1)


@in_virtual_time
async def test_unanswered_start_is_found_by_its_build() -> None:
    rig, dokku = a_detached_rig(loses_answer=True)
    build = await rig.begun()
    build.succeed()
    row = await rig.until_ended(within_s=120)
    assert (row.phase, dokku.started) == (Phase.SUCCEEDED, 1)


@in_virtual_time
async def test_container_without_a_build_ends_soon() -> None:
    rig, dokku = a_detached_rig(client_is_refused=True)
    row = await rig.until_ended(within_s=30)
    assert (row.phase, row.failure) == (Phase.FAILED, Failure.INTERRUPTED)
    assert (row.live, row.attempt, dokku.started) == (Live.PREVIOUS, 1, 1)
    assert row.reason is not None
    assert "ended before a build began" in row.reason


@in_virtual_time
async def test_cancel_before_a_build_began() -> None:
    rig, _ = a_detached_rig(client_is_refused=True)
    await rig.until(lambda: rig.row().started_at)
    await rig.cancel()
    row = await rig.until_ended(within_s=30)
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)


@in_virtual_time
async def test_build_that_does_not_begin_in_time_is_unknown_and_found_later() -> None:
    rig, dokku = a_detached_rig(begins_after_s=None)
    row = await rig.until_ended(within_s=90)
    assert (row.failure, row.live) == (Failure.LOST_CONTACT, Live.UNKNOWN)
    assert row.reason is not None
    assert "no build that is certainly this deployment's" in row.reason
    dokku.begin(NAME).succeed()
    await rig.late.look()
    row = await rig.until(lambda: rig.row().live is Live.NEW, within_s=120)
    assert row.phase is Phase.SUCCEEDED


@in_virtual_time
async def test_build_of_someone_else_is_never_taken() -> None:
    rig, dokku = a_detached_rig(client_is_refused=True)
    dokku.add_record("old", BuildStatus.SUCCEEDED)
    await rig.until(lambda: dokku.started)
    dokku.add_record("other")
    dokku.heads["other"] = OLD_METADATA
    row = await rig.until_ended(within_s=30)
    assert (row.build_id, row.failure) == (None, Failure.INTERRUPTED)
    assert dokku.cancels == []


@in_virtual_time
async def test_running_build_without_its_container_is_not_taken() -> None:
    rig, dokku = a_detached_rig(client_is_refused=True)
    await rig.until(lambda: rig.row().started_at)
    await rig.until(lambda: not dokku.running)
    dokku.add_record("same")  # the same commit, by another client
    row = await rig.until_ended(within_s=90)
    assert (row.build_id, row.failure, row.live) == (None, Failure.LOST_CONTACT, Live.UNKNOWN)


@in_virtual_time
async def test_cancel_kills_nothing_without_its_container() -> None:
    rig, dokku, _build = await a_detached_build()
    dokku.running.clear()
    await rig.cancel()
    await rig.passes(30)
    assert dokku.cancels == []


@in_virtual_time
async def test_two_builds_of_one_commit_are_not_told_apart() -> None:
    rig, dokku = a_detached_rig()
    await dokku.stream()
    dokku.add_record("same")
    dokku.heads["b1"] = None  # nothing is printed yet
    await rig.passes(5)
    dokku.heads["b1"] = METADATA
    row = await rig.until_ended(within_s=90)
    assert (row.build_id, row.failure, row.live) == (None, Failure.LOST_CONTACT, Live.UNKNOWN)
    assert dokku.cancels == []


@in_virtual_time
async def test_container_that_dokku_does_not_start_is_refused() -> None:
    rig, dokku = a_detached_rig()
    failed = CommandFailed("run:detached runner", 1, "", "no image")
    dokku.fail("run_detached", failed)
    row = await rig.until_ended(within_s=30)
    assert (row.failure, row.live, row.started_at) == (Failure.REFUSED, Live.PREVIOUS, None)
    assert row.reason is not None
    assert "started no container of runner" in row.reason


@in_virtual_time
async def test_start_that_failed_and_runs_all_the_same_is_not_sent_again() -> None:
    rig, dokku = a_detached_rig()
    dokku.fail("run_detached", CommandFailed("run:detached runner", 1, "", "a hook failed"))
    dokku.fail("one_offs", DOWN)
    await rig.until(lambda: "one_offs" in dokku.asked)
    dokku.begin(NAME).succeed()
    row = await rig.until_ended(within_s=90)
    assert (row.phase, dokku.asked.count("run_detached")) == (Phase.SUCCEEDED, 1)


@in_virtual_time
async def test_runner_needs_build_records() -> None:
    rig, dokku = a_detached_rig(keeps=False)
    row = await rig.until_ended(within_s=30)
    assert (row.failure, dokku.started) == (Failure.REFUSED, 0)
    assert row.reason is not None
    assert "needs Dokku 0.38 or newer" in row.reason


@in_virtual_time
async def test_cancel_stops_the_build() -> None:
    rig, dokku, _build = await a_detached_build()
    await rig.cancel()
    row = await rig.until_ended(within_s=30)
    assert (row.phase, row.live, len(dokku.cancels)) == (Phase.CANCELLED, Live.PREVIOUS, 1)


@in_virtual_time
async def test_cancel_stops_a_build_whose_output_cannot_be_read() -> None:
    rig, dokku, _build = await a_detached_build()
    dokku.fail("follow", OddReport("no output"), times=100)
    await dokku.followers[0].close()
    await rig.passes(5)
    await rig.cancel()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live, len(dokku.cancels)) == (Phase.CANCELLED, Live.PREVIOUS, 1)


@in_virtual_time
async def test_build_that_outlives_its_container_is_ended_on_the_server() -> None:
    rig, dokku = a_detached_rig()
    rig.catalog.rules = {"approvers": frozenset({ADA.user})}
    build = await rig.begun()
    build.say(*BUILDING)
    await rig.until_phase(Phase.BUILDING)
    dokku.running.clear()
    await rig.passes(10)
    assert rig.row().left_build is None  # a single look may be wrong
    await rig.passes(25)
    assert rig.row().left_build == "b1"
    await rig.service.server_cancels.cancel(rig.row().id, "b1", ADA, "button")
    row = await rig.until_ended(within_s=30)
    assert (row.phase, row.live, len(dokku.cancels)) == (Phase.CANCELLED, Live.PREVIOUS, 1)


@in_virtual_time
async def test_cancel_that_kills_nothing_leaves_the_build_to_its_result() -> None:
    rig, _ = a_detached_rig(cancel_works=False)
    build = await rig.begun()
    build.say(*BUILDING)
    await rig.until_phase(Phase.BUILDING)
    await rig.cancel()
    await rig.passes(60)
    assert rig.row().phase is Phase.CANCELLING
    build.succeed()
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)


@in_virtual_time
async def test_cancel_is_carried_out_by_the_next_process() -> None:
    rig, dokku = a_detached_rig(cancel_works=False)
    build = await rig.begun()
    build.say(*BUILDING)
    await rig.until_phase(Phase.BUILDING)
    await rig.cancel()
    await rig.until_phase(Phase.CANCELLING)
    await rig.crash()
    dokku.cancel_works = True
    again = a_rig(store=rig.store, dokku=dokku)
    row = await again.until_ended(within_s=120)
    assert (row.phase, row.live, dokku.started) == (Phase.CANCELLED, Live.PREVIOUS, 1)
    assert not again.progress().cut_off


@in_virtual_time
async def test_time_limit_stops_the_build_or_says_that_it_did_not() -> None:
    for works in (True, False):
        dokku = DetachedDokku(cancel_works=works)
        rig = a_rig(waiting(max_duration=timedelta(minutes=3)), dokku=dokku)
        build = await rig.begun()
        build.say(*BUILDING)
        row = await rig.until_ended(within_s=400)
        assert row.failure is Failure.TIMED_OUT
        assert row.live is (Live.PREVIOUS if works else Live.UNKNOWN)


@in_virtual_time
async def test_source_may_be_written_after_the_record() -> None:
    rig, dokku = a_detached_rig()
    build = await rig.begun()
    build.say(*GOOD)
    dokku.now = containers(NEW)
    build.record_status = BuildStatus.SUCCEEDED
    dokku.set_status("b1", BuildStatus.SUCCEEDED, 0)
    await rig.passes(2)
    assert rig.row().phase in {Phase.RELEASING, Phase.CHECKING}
    dokku.metadata = METADATA
    row = await rig.until_ended(within_s=60)
    assert (row.phase, row.live) == (Phase.SUCCEEDED, Live.NEW)


def fail(build: FakeStream, *lines: str) -> None:
    build.say(*BUILDING, *lines)
    build.record_status = BuildStatus.ABANDONED
    build.dokku.set_status(build.build_id, BuildStatus.ABANDONED)


@in_virtual_time
async def test_what_the_output_names_is_the_failure() -> None:
    rig, _ = a_detached_rig()
    fail(await rig.begun(), "> error no_command no command specified")
    row = await rig.until_ended(within_s=60)
    assert (row.failure, row.live, row.attempt) == (Failure.RELEASE_FAILED, Live.PREVIOUS, 1)


@in_virtual_time
async def test_end_without_a_word_is_not_started_again() -> None:
    rig, dokku = a_detached_rig()
    fail(await rig.begun())
    row = await rig.until_ended(within_s=60)
    assert (row.failure, row.live) == (Failure.INTERRUPTED, Live.PREVIOUS)
    assert dokku.started == 1
    assert row.reason is not None
    assert "a runner leaves no exit status" in row.reason


@in_virtual_time
async def test_server_away_in_mid_build_ends_nothing() -> None:
    rig, dokku, build = await a_detached_build()
    dokku.down = DOWN
    await dokku.followers[0].close()
    await rig.passes(25)
    dokku.down = None
    build.say("a line")
    build.succeed()
    row = await rig.until_ended(within_s=120)
    assert (row.phase, row.live, dokku.started) == (Phase.SUCCEEDED, Live.NEW, 1)
    assert row.repo == REPO
