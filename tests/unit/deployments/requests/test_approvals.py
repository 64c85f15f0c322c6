"""Approvals: who may decide, the pinned commit, clicks at the same instant, and expiry."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from bot.deployments.model import (
    Actor,
    AppPolicy,
    Approval,
    Deployment,
    Failure,
    Live,
    Person,
    Phase,
    Trigger,
)
from bot.deployments.refs import CannotTell, Found, NotThere, RefAnswer
from bot.deployments.requests.service import Request
from bot.deployments.state.repository import (
    CacheSync,
    DeploymentCache,
    DeploymentRepository,
    load_unfinished,
)
from bot.errors import Declined, NotKnown, SlackError
from tests.support.builders import SHA
from tests.support.fake_dokku import DOWN
from tests.support.rig import SERVER, Rig, a_rig
from tests.support.virtual_time import in_virtual_time

NEWER_SHA = "abcd" + "e" * 36
ADA = Actor(user="U0ADA", team="T01", name="ada")
GRACE = Actor(user="U0GRACE", team="T01", name="grace")
EVE = Actor(user="U0EVE", team="T01", name="eve")
STRANGER = Actor(user="U0GRACE", team="T99", name="grace")
SHELL = Actor(user="cli", name="root")


def a_guarded_rig(
    approval: Approval = Approval.SECOND_PERSON,
    *,
    approvers: frozenset[str] = frozenset({GRACE.user}),
    deployers: frozenset[str] = frozenset(),
    **more: Any,
) -> Rig:
    rig = a_rig(**more)
    rig.catalog.rules = {
        "approval": approval,
        "approvers": approvers,
        "deployers": deployers,
    }
    rig.service.access.set_home("T01")
    return rig


async def asked(rig: Rig, **changes: Any) -> Deployment:
    given: dict[str, Any] = {
        "app": "web",
        "actor": ADA,
        "trigger": Trigger.COMMAND,
        "request_key": "command:1",
        "channel": "C01",
    }
    row = await rig.service.request(Request(**(given | changes)))
    assert row is not None
    return row


async def approve(rig: Rig, row: Deployment, actor: Actor = GRACE, **more: Any) -> str:
    return await rig.service.approvals.approve(row.id, actor=actor, through="button", **more)


@in_virtual_time
async def test_nothing_starts_before_the_approval_and_then_it_does() -> None:
    rig = a_guarded_rig()
    row = await asked(rig)
    assert (row.phase, row.queued_at, row.sha) == (Phase.AWAITING_APPROVAL, None, SHA)
    assert rig.announcer.posted == [row.id]
    await asyncio.sleep(60)
    assert rig.row().phase is Phase.AWAITING_APPROVAL
    assert rig.dokku.streams == []
    sentence = await approve(rig, row, shown=SHA)
    assert sentence.startswith("Approved web `main`")
    (await rig.begun()).succeed()
    ended = await rig.until_ended(within_s=60)
    assert (ended.phase, ended.approved_by) == (Phase.SUCCEEDED, GRACE)
    assert "approved" in rig.store.actions(row.id)


@in_virtual_time
async def test_an_approved_deployment_joins_the_end_of_the_queue() -> None:
    rig = a_guarded_rig()
    row = await asked(rig)
    await asyncio.sleep(30)
    before = rig.clock.now()
    await approve(rig, row)
    queued_at = rig.row().queued_at
    assert queued_at is not None
    assert queued_at >= before


@pytest.mark.parametrize(
    ("approval", "actor", "approvers", "deployers", "why"),
    [
        (Approval.SECOND_PERSON, ADA, {GRACE.user}, set(), "needs a second person"),
        (Approval.SECOND_PERSON, ADA, set(), set(), "needs a second person"),
        (Approval.SECOND_PERSON, ADA, {ADA.user}, set(), "needs a second person"),
        (Approval.SECOND_PERSON, EVE, {GRACE.user}, set(), f"Those who are: <@{GRACE.user}>"),
        (Approval.SECOND_PERSON, EVE, {"S0OPS"}, set(), "Those who are: <!subteam^S0OPS>"),
        (Approval.SECOND_PERSON, EVE, set(), {ADA.user}, "aren't allowed"),
        (Approval.SECOND_PERSON, STRANGER, {GRACE.user}, set(), "own workspace"),
        (Approval.CONFIRM, EVE, {GRACE.user}, set(), "aren't allowed"),
        (Approval.SECOND_PERSON, GRACE, {GRACE.user}, set(), None),
        (Approval.SECOND_PERSON, EVE, set(), set(), None),
        (Approval.SECOND_PERSON, GRACE, set(), {ADA.user, GRACE.user}, None),
        (Approval.SECOND_PERSON, SHELL, {GRACE.user}, set(), None),
        (Approval.CONFIRM, ADA, {GRACE.user}, set(), None),
        (Approval.CONFIRM, GRACE, {GRACE.user}, set(), None),
    ],
)
@in_virtual_time
async def test_who_may_approve(
    approval: Approval, actor: Actor, approvers: set[str], deployers: set[str], why: str | None
) -> None:
    rig = a_guarded_rig(approval, approvers=frozenset(approvers), deployers=frozenset(deployers))
    row = await asked(rig)
    if why is None:
        await approve(rig, row, actor)
        assert rig.row().approved_by == actor
        return
    with pytest.raises(Declined, match=_literally(why)):
        await approve(rig, row, actor)
    assert rig.row().phase is Phase.AWAITING_APPROVAL


def _literally(text: str) -> str:
    return text.replace("^", r"\^").replace("|", r"\|")


@in_virtual_time
async def test_a_member_of_an_approving_group_may_approve() -> None:
    rig = a_guarded_rig(approvers=frozenset({"S0OPS"}))
    rig.people.groups["S0OPS"] = frozenset({EVE.user})
    row = await asked(rig)
    with pytest.raises(Declined, match="aren't allowed"):
        await approve(rig, row, GRACE)
    await approve(rig, row, EVE)
    assert rig.row().approved_by == EVE


@in_virtual_time
async def test_a_guest_approves_only_where_listed() -> None:
    rig = a_guarded_rig(approvers=frozenset())
    rig.people.persons[EVE.user] = Person(teams=frozenset({"T01"}), guest=True)
    row = await asked(rig)
    with pytest.raises(Declined, match="Guests of the workspace"):
        await approve(rig, row, EVE)
    rig.catalog.rules["approvers"] = frozenset({EVE.user})
    await approve(rig, row, EVE)
    assert rig.row().approved_by == EVE


@in_virtual_time
async def test_nobody_is_let_in_while_slack_does_not_say_who_is_in_the_group() -> None:
    rig = a_guarded_rig(approvers=frozenset({"S0OPS"}))
    row = await asked(rig)
    await rig.service.access.admit(EVE)
    rig.people.error = SlackError("Slack does not answer.")
    with pytest.raises(NotKnown, match="user groups"):
        await approve(rig, row, EVE)
    assert rig.row().phase is Phase.AWAITING_APPROVAL


@in_virtual_time
async def test_a_moved_ref_is_decided_on_again() -> None:
    rig = a_guarded_rig()
    row = await asked(rig)
    rig.refs.answer = Found(NEWER_SHA)
    with pytest.raises(Declined, match=f"moved from {SHA[:7]} to {NEWER_SHA[:7]}"):
        await approve(rig, row, shown=SHA)
    pinned = rig.row()
    assert (pinned.phase, pinned.sha) == (Phase.AWAITING_APPROVAL, NEWER_SHA)
    assert "moved from" in rig.progress().notes[0]
    # A click on the button as it was before the move.
    with pytest.raises(Declined, match="the button was for"):
        await approve(rig, row, shown=SHA)
    await approve(rig, row, shown=NEWER_SHA)
    assert rig.row().sha == NEWER_SHA
    assert rig.row().phase is Phase.QUEUED


@in_virtual_time
async def test_a_deleted_ref_is_not_approved() -> None:
    rig = a_guarded_rig()
    row = await asked(rig)
    rig.refs.answer = NotThere()
    with pytest.raises(Declined, match="Not approved: web's repository has no branch"):
        await approve(rig, row)
    assert rig.row().phase is Phase.AWAITING_APPROVAL


@in_virtual_time
async def test_the_pinned_commit_is_approved_where_nothing_can_be_looked_up() -> None:
    rig = a_guarded_rig()
    row = await asked(rig)
    rig.refs.answer = CannotTell("the repository is away")
    rig.dokku.fail("report", DOWN)
    await approve(rig, row, shown=SHA)
    assert (rig.row().phase, rig.row().sha) == (Phase.QUEUED, SHA)


@in_virtual_time
async def test_commit_that_the_request_could_not_look_up_is_looked_up_again() -> None:
    rig = a_guarded_rig()
    rig.dokku.fail("report", DOWN, times=3)
    row = await asked(rig)
    assert not row.ready
    await rig.until(lambda: rig.row().ready, within_s=90)
    assert (rig.row().phase, rig.row().sha) == (Phase.AWAITING_APPROVAL, SHA)
    assert rig.progress().waits_for is None
    await approve(rig, row, shown=SHA)
    assert rig.row().phase is Phase.QUEUED


@in_virtual_time
async def test_ref_that_is_gone_when_it_is_looked_up_again_ends_it() -> None:
    rig = a_guarded_rig()
    rig.dokku.fail("report", DOWN, times=1)
    await asked(rig)
    rig.refs.answer = NotThere()
    ended = await rig.until_ended(within_s=60)
    assert (ended.phase, ended.failure) == (Phase.FAILED, Failure.REF_NOT_FOUND)


@in_virtual_time
async def test_two_clicks_at_the_same_instant_make_one_decision() -> None:
    rig = a_guarded_rig(approvers=frozenset())
    row = await asked(rig)
    results = await asyncio.gather(
        approve(rig, row, GRACE),
        approve(rig, row, EVE),
        rig.service.approvals.reject(row.id, actor=SHELL, through="cli"),
        return_exceptions=True,
    )
    refused = [one for one in results if isinstance(one, Declined)]
    assert len(refused) == 2
    decisions = [one for one in rig.store.actions(row.id) if one in {"approved", "ended"}]
    assert len(decisions) == 1


@in_virtual_time
async def test_a_second_approval_says_who_approved() -> None:
    rig = a_guarded_rig()
    row = await asked(rig)
    await approve(rig, row)
    with pytest.raises(Declined, match="already approved, by grace"):
        await approve(rig, row)


@in_virtual_time
async def test_a_rejection_ends_it_with_its_reason() -> None:
    rig = a_guarded_rig()
    row = await asked(rig)
    sentence = await rig.service.approvals.reject(
        row.id, actor=GRACE, through="button", reason="not on  a\nFriday"
    )
    assert "Nothing was sent" in sentence
    ended = rig.row()
    assert (ended.phase, ended.failure) == (Phase.FAILED, Failure.REJECTED)
    assert ended.live is Live.PREVIOUS
    assert ended.reason is not None
    assert "grace rejected it: not on a Friday" in ended.reason
    long = await asked(rig, request_key="command:2")
    await rig.service.approvals.reject(long.id, actor=GRACE, through="cli", reason="why " * 900)
    assert len(rig.row(long.id).reason or "") < 600
    assert rig.store.event_types(row.id)[-1] == "deployment.finished"
    assert rig.dokku.streams == []
    with pytest.raises(Declined, match="isn't waiting for an approval"):
        await approve(rig, row)


@in_virtual_time
async def test_the_requester_may_withdraw_by_rejecting_or_cancelling() -> None:
    rig = a_guarded_rig()
    row = await asked(rig)
    await rig.service.approvals.reject(row.id, actor=ADA, through="button")
    assert rig.row(row.id).failure is Failure.REJECTED
    again = await asked(rig, request_key="command:2")
    said = await rig.service.cancel(again.id, actor=ADA, through="command")
    assert "was waiting for its approval and is now cancelled" in said
    assert rig.row(again.id).phase is Phase.CANCELLED


@in_virtual_time
async def test_an_approval_expires() -> None:
    rig = a_guarded_rig(timing={"approval_ttl": timedelta(minutes=10)})
    await asked(rig)
    ended = await rig.until_ended(within_s=620)
    assert (ended.phase, ended.failure) == (Phase.FAILED, Failure.EXPIRED)
    assert ended.reason is not None
    assert "Nobody approved it within 10m" in ended.reason


@in_virtual_time
async def test_approvers_are_called_once_and_a_retry_asks_again() -> None:
    rig = a_guarded_rig(approvers=frozenset({GRACE.user, ADA.user, "S0OPS"}))
    row = await asked(rig)
    (call,) = [event for one, event in rig.store.events if one.id == row.id]
    assert (call.type, call.mentions) == ("deployment.approval", ("S0OPS", GRACE.user))
    await rig.service.approvals.reject(row.id, actor=GRACE, through="button")
    new = await rig.service.retry(
        row.id, actor=ADA, trigger=Trigger.BUTTON, request_key="click:1", channel="C01"
    )
    assert new is not None
    assert new.phase is Phase.AWAITING_APPROVAL
    assert rig.store.event_types(new.id) == ["deployment.approval"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"approval": Approval.CONFIRM}, id="the requester sees the buttons"),
        pytest.param({"approvers": frozenset()}, id="everyone may"),
    ],
)
@in_virtual_time
async def test_nobody_is_called_where_nobody_is_named(changes: dict[str, Any]) -> None:
    rig = a_guarded_rig(**changes)
    row = await asked(rig)
    assert rig.store.event_types(row.id) == []


@in_virtual_time
async def test_newer_request_supersedes_one_that_nobody_approved() -> None:
    rig = a_guarded_rig()
    rig.catalog.rules["latest"] = True
    older = await asked(rig)
    newer = await asked(rig, ref="other", request_key="command:2")
    await approve(rig, newer)
    ended = await rig.until_ended(older.id, within_s=30)
    assert ended.phase is Phase.CANCELLED
    assert f"Superseded by a newer request: web other by ada ({newer.id})" in (ended.reason or "")
    (await rig.begun()).succeed()
    assert (await rig.until_ended(newer.id)).phase is Phase.SUCCEEDED


@in_virtual_time
async def test_renamed_table_keeps_its_rule_of_the_queue() -> None:
    rig = a_rig()
    table: dict[str, Any] = {"server": SERVER, "app": "web", "dokku_app": "web"}
    rig.catalog.tables.append(AppPolicy(**table, latest=True))
    first = await asked(rig, ref="main")
    stream = await rig.begun()
    older = await asked(rig, ref="other", request_key="command:2")
    rig.catalog.tables[:] = [AppPolicy(**table | {"app": "shop"}, latest=True)]
    await asked(rig, app="shop", ref="newest", request_key="command:3")
    assert (await rig.until_ended(older.id, within_s=30)).phase is Phase.CANCELLED
    stream.succeed()
    await rig.until_ended(first.id)


@pytest.mark.parametrize("late", [False, True], ids=["before the click", "during the click"])
@in_virtual_time
async def test_approval_of_what_is_being_cancelled_promises_nothing(
    late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = a_guarded_rig(start=False)
    row = await asked(rig)

    async def cancel_at_the_shell() -> None:
        await rig.store.ask_cancel(row.id, SHELL, rig.clock.now(), through="cli")

    if late:
        resolve = rig.refs.resolve

        async def resolve_late(repo: str, ref: str) -> RefAnswer:
            await cancel_at_the_shell()
            return await resolve(repo, ref)

        monkeypatch.setattr(rig.refs, "resolve", resolve_late)
    else:
        await cancel_at_the_shell()
    with pytest.raises(Declined, match="is being cancelled, as root asked"):
        await approve(rig, row)
    with pytest.raises(Declined, match="already approved" if late else "is being cancelled"):
        await rig.service.approvals.reject(row.id, actor=GRACE, through="button")
    rig.start()
    ended = await rig.until_ended(row.id, within_s=30)
    assert ended.phase is Phase.CANCELLED
    assert rig.dokku.streams == []


@in_virtual_time
async def test_note_about_a_moved_ref_survives_a_restart_and_reaches_other_replicas() -> None:
    rig = a_guarded_rig()
    row = await asked(rig)
    rig.refs.answer = Found(NEWER_SHA)
    with pytest.raises(Declined, match="moved from"):
        await approve(rig, row, shown=SHA)
    noted = rig.progress().notes
    assert noted
    other = DeploymentRepository(
        store=rig.store,
        cache=DeploymentCache(clock=rig.clock, ttl=timedelta(minutes=5)),
        announcer=rig.announcer,
        observer=rig.observer,
    )
    await load_unfinished(other)
    assert other.progress(row.id).notes == noted
    await approve(rig, row, shown=NEWER_SHA)
    assert rig.progress().notes == ()
    await CacheSync(other).refresh(owned=())
    assert other.progress(row.id).notes == ()


@in_virtual_time
async def test_other_replica_shows_that_the_ref_has_moved() -> None:
    rig = a_guarded_rig()
    row = await asked(rig)
    other = DeploymentRepository(
        store=rig.store,
        cache=DeploymentCache(clock=rig.clock, ttl=timedelta(minutes=5)),
        announcer=rig.announcer,
        observer=rig.observer,
    )
    await CacheSync(other).refresh(owned=())
    assert other.progress(row.id).notes == ()
    rig.refs.answer = Found(NEWER_SHA)
    with pytest.raises(Declined, match="moved from"):
        await approve(rig, row, shown=SHA)
    await CacheSync(other).refresh(owned=())
    assert other.progress(row.id).notes == rig.progress().notes


@in_virtual_time
async def test_a_rollback_needs_no_approval() -> None:
    rig = a_guarded_rig()
    row = await asked(rig, rollback_of="01K9", ref=SHA)
    assert row.phase is Phase.QUEUED
    assert row.approval is Approval.NONE
