"""A build that lives on without a connection: who may cancel it on the server, and when."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from bot.deployments.dokku_facts import BuildStatus
from bot.deployments.lock import Lock
from bot.deployments.model import Actor, Deployment, Failure, Live, Phase
from bot.deployments.state.lease import queue_held
from bot.deployments.verdict.left_builds import ASKED, SENT
from bot.errors import Declined, DokkuError, OutcomeUnknown, Withheld
from tests.support.fake_dokku import BUILDING, FakeDokku, FakeStream
from tests.support.lost_deployments import a_lost_deployment, an_idle_rig, late_look
from tests.support.rig import Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time

ADA = Actor(user="U0ADA", team="T01", name="ada")
BOB = Actor(user="U0BOB", team="T01", name="bob")
LATER = {"id": "LATER", "request_key": "later"}


async def left_alone(*more: Deployment) -> tuple[Rig, FakeStream]:
    """A build whose connection was lost 20 s ago, and which goes on silently."""
    rig = a_rig(waiting(), *more)
    rig.catalog.rules = {"approvers": frozenset({ADA.user})}
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.passes(5)
    stream.lose()
    await rig.passes(22)
    return rig, stream


def first(rig: Rig) -> Deployment:
    return rig.row(waiting().id)


async def press(rig: Rig, actor: Actor = ADA, *, on: str | None = None, build: str = "b1") -> str:
    return await rig.service.server_cancels.cancel(on or waiting().id, build, actor, "button")


@in_virtual_time
async def test_build_is_known_to_live_on_only_after_a_poll_interval() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.passes(5)
    stream.lose()
    await rig.passes(3)
    assert rig.progress().cut_off
    assert rig.row().left_build is None
    await rig.passes(20)
    assert rig.row().left_build == "b1"
    assert rig.dokku.cancels == []


@in_virtual_time
async def test_cancelled_build_whose_log_grows_is_cancelled_by_the_bot() -> None:
    rig, stream = await left_alone()
    await rig.service.cancel(first(rig).id, actor=first(rig).requested_by, through="button")
    await rig.passes(30)
    assert rig.dokku.cancels == []  # its log is silent: another process may have its PID
    stream.say("more")
    row = await rig.until_ended(within_s=30)
    assert (row.phase, row.failure, row.live) == (Phase.CANCELLED, None, Live.PREVIOUS)
    assert len(rig.dokku.cancels) == 1
    (sent,) = [one for _, one in rig.store.audit if one.action == SENT]
    assert (sent.actor.user, dict(sent.detail)) == ("bot", {"build": "b1", "why": "its log grows"})


@in_virtual_time
async def test_build_over_its_time_whose_log_grows_is_stopped_by_the_bot() -> None:
    rig = a_rig(waiting(max_duration=timedelta(minutes=2)))
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.passes(5)
    stream.lose()
    for number in range(100):
        stream.say(f"line {number}")
        await rig.passes(1)
    assert rig.dokku.cancels == []  # its time is not over
    while rig.row().phase is not Phase.FAILED:
        stream.say("more")
        await rig.passes(1)
    row = rig.row()
    assert (row.failure, row.live) == (Failure.TIMED_OUT, Live.PREVIOUS)
    assert len(rig.dokku.cancels) == 1


@in_virtual_time
async def test_silent_build_over_its_time_still_ends_unconfirmed() -> None:
    rig, _ = await left_alone()
    row = await rig.until_ended(within_s=1800 + 60)
    assert (row.failure, row.live) == (Failure.TIMED_OUT, Live.UNKNOWN)
    assert rig.dokku.cancels == []


@in_virtual_time
async def test_approver_ends_a_silent_build_and_what_waits_behind_it_starts() -> None:
    rig, _ = await left_alone(waiting(**LATER))
    blocker = rig.progress("LATER").blocker
    assert blocker is not None
    assert (blocker.build, blocker.left) == ("b1", True)
    known = await rig.service.server_cancels.look("LATER", "b1", ADA)
    assert (known.record.id, known.of and known.of.id) == ("b1", first(rig).id)
    assert (known.log.grew, known.log.grew_at) == (False, None)
    with pytest.raises(Declined, match="Only approvers of web can do that"):
        await press(rig, BOB, on="LATER")
    assert "Cancelling Dokku build b1 on the server" in await press(rig, on="LATER")
    with pytest.raises(Declined, match="ada asked to cancel Dokku build b1"):
        await press(rig)
    row = await rig.until_ended(first(rig).id, within_s=15)
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)
    assert row.cancel is not None
    assert row.cancel.by == ADA
    assert len(rig.dokku.cancels) == 1
    assert [one for of, one in rig.store.audit if one.action == ASKED and of == row.id]
    await rig.dokku.stream(2)
    assert rig.row("LATER").cancel is None
    with pytest.raises(Declined, match="its record says canceled"):
        await press(rig)


@in_virtual_time
async def test_click_after_the_build_has_ended_sends_nothing() -> None:
    rig, stream = await left_alone()
    rig.dokku.set_status(stream.build_id, BuildStatus.ABANDONED)
    with pytest.raises(Declined, match=r"its record says abandoned\. Nothing was sent"):
        await press(rig)
    assert rig.store.actions(first(rig).id).count(ASKED) == 0


@in_virtual_time
async def test_followed_build_is_left_to_the_cancel_button() -> None:
    rig = a_rig(waiting())
    stream = await rig.begun()
    stream.say(*BUILDING)
    await rig.passes(5)
    with pytest.raises(Declined, match="The bot still follows that build"):
        await press(rig)


@in_virtual_time
async def test_nothing_is_sent_while_another_build_runs() -> None:
    rig, _ = await left_alone()
    await press(rig)
    rig.dokku.add_record("p1", source="git-hook")
    await rig.passes(60)
    assert rig.dokku.cancels == []
    assert first(rig).phase is Phase.BUILDING


@pytest.mark.parametrize("error", [OutcomeUnknown("cut off"), Withheld("too late")])
@in_virtual_time
async def test_approval_stands_until_dokku_has_answered_the_cancel(error: DokkuError) -> None:
    rig, _ = await left_alone()
    rig.dokku.fail("cancel_build", error)
    await press(rig)
    row = await rig.until_ended(first(rig).id, within_s=30)
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)
    assert len(rig.dokku.cancels) == 1
    assert rig.store.actions(row.id).count(SENT) == 1


@in_virtual_time
async def test_answered_cancel_that_changed_nothing_is_not_repeated_by_the_bot() -> None:
    rig, _ = await left_alone()
    rig.dokku.cancel_works = False
    await press(rig)
    await rig.passes(60)
    assert len(rig.dokku.cancels) == 1


@in_virtual_time
async def test_approver_ends_a_push_that_hangs() -> None:
    dokku = FakeDokku()
    dokku.add_record("p1", source="git-hook", duration=timedelta(minutes=40))
    rig = a_rig(waiting(), dokku=dokku)
    await rig.passes(7)
    blocker = rig.progress().blocker
    assert blocker is not None
    assert blocker.build == "p1"
    known = await rig.service.server_cancels.look(rig.row().id, "p1", ADA)
    assert known.of is None
    said = await press(rig, build="p1")
    assert "a git push outside the bot (Dokku build p1)" in said
    assert len(dokku.cancels) == 1
    await rig.dokku.stream()
    assert rig.row().cancel is None
    (asked,) = [one for _, one in rig.store.audit if one.action == ASKED]
    assert (asked.actor, asked.through) == (ADA, "button")


@in_virtual_time
async def test_two_approvers_at_the_same_instant_send_one_cancel() -> None:
    dokku = FakeDokku(cancel_works=False)  # its record is shown running for a moment more
    dokku.add_record("p1", source="git-hook", duration=timedelta(minutes=40))
    rig = a_rig(waiting(), dokku=dokku)
    rig.catalog.rules = {"approvers": frozenset({ADA.user, BOB.user})}
    await rig.passes(7)
    other = a_rig(store=rig.store, dokku=dokku)
    other.catalog.rules = rig.catalog.rules
    said = await asyncio.gather(
        press(rig, build="p1"), press(other, BOB, build="p1"), return_exceptions=True
    )
    assert [isinstance(one, Declined) for one in said].count(True) == 1
    assert len(dokku.cancels) == 1
    assert rig.store.actions(rig.row().id).count(ASKED) == 1


@in_virtual_time
async def test_unproven_end_is_corrected_once_an_approver_has_cancelled_its_build() -> None:
    rig = an_idle_rig(a_lost_deployment())
    rig.dokku.texts["b1"] = BUILDING
    await rig.service.server_cancels.cancel(rig.row().id, "b1", ADA, "button")
    await rig.passes(5)
    row = rig.row()
    assert (row.phase, row.failure, row.live) == (Phase.CANCELLED, None, Live.PREVIOUS)
    assert len(rig.dokku.cancels) == 1


@pytest.mark.parametrize(("failure", "sent"), [(Failure.TIMED_OUT, 1), (Failure.LOST_CONTACT, 0)])
@in_virtual_time
async def test_late_look_cancels_what_was_to_be_stopped_and_lives(
    failure: Failure, sent: int
) -> None:
    rig = an_idle_rig(a_lost_deployment(failure=failure))
    rig.dokku.texts["b1"] = list(BUILDING)
    await rig.late.look()
    await rig.passes(2)
    rig.dokku.texts["b1"] = [*BUILDING, "more"]
    row = await late_look(rig)
    assert len(rig.dokku.cancels) == sent
    assert row.live is (Live.PREVIOUS if sent else Live.UNKNOWN)
    assert row.failure is failure


@in_virtual_time
async def test_owner_acts_on_a_click_that_another_replica_took() -> None:
    rig, _ = await left_alone()
    other = a_rig(store=rig.store, dokku=rig.dokku)
    await press(other)
    row = await rig.until_ended(within_s=15)
    assert (row.phase, row.live) == (Phase.CANCELLED, Live.PREVIOUS)
    assert len(rig.dokku.cancels) == 1


@pytest.mark.parametrize("locked", [False, True])
@in_virtual_time
async def test_nothing_of_the_app_starts_while_a_cancel_is_sent(locked: bool) -> None:
    dokku = FakeDokku()
    dokku.add_record("p1", source="git-hook")
    rig = a_rig(waiting(), waiting(**LATER, requested_by=BOB), dokku=dokku)
    row = first(rig)
    if locked:  # those of the lock's holder pass the first one
        rig.store.locks.held.append(
            Lock(
                id="01L",
                key=row.target,
                app=row.app,
                holder=BOB,
                reason="audit",
                since=rig.clock.now(),
                channel="C09",
            )
        )
    await rig.passes(7)
    held: dict[str, Any] = {"clock": rig.clock, "timing": rig.timing}
    async with queue_held(rig.store, row.target, "clicks", **held) as holds:
        assert holds is not None
        assert holds()
        async with queue_held(rig.store, row.target, "late", **held) as second:
            assert second is None
        dokku.set_status("p1", BuildStatus.CANCELED, -1)
        await rig.passes(9)
        assert dokku.streams == []
        await rig.passes(2)
        assert not holds()  # 15 s after the claim
    await rig.dokku.stream()
