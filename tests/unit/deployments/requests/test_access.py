"""Who may do what: guests, enterprises, groups, renamed tables, and rights lost while waiting."""

from dataclasses import replace
from typing import Any

import pytest

from bot.deployments.app_names import no_longer_known
from bot.deployments.model import Actor, AppPolicy, Deployment, Failure, Person, Phase, Trigger
from bot.deployments.requests.service import Request
from bot.errors import Declined, NotKnown, SlackError
from tests.support.rig import SERVER, Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time

ADA = Actor(user="U0ADA", team="T01", name="ada")
EVE = Actor(user="U0EVE", team="T01", name="eve")
OPERATOR = Actor(user="cli")
SILENT = SlackError("Slack did not answer.", code="no_answer")
GUEST = Person(teams=frozenset({"T01"}), guest=True)
ROW = waiting(id="01WAITING", app="front", dokku_app="shop-live")


def a_table(**changes: Any) -> AppPolicy:
    given: dict[str, Any] = {"server": SERVER, "app": "web", "dokku_app": "web"}
    return AppPolicy(**(given | changes))


def a_quiet_rig(*rows: Deployment, **table: Any) -> Rig:
    """Home is T01; nothing starts by itself. One table, if `table` says what is in it."""
    rig = a_rig(*rows, start=False)
    rig.service.access.set_home("T01")
    if table:
        rig.catalog.tables.append(a_table(**table))
    return rig


async def deploys(rig: Rig, actor: Actor = ADA) -> Deployment | None:
    return await rig.service.request(
        Request(
            app="web",
            # The same ref again would be answered with the one that waits.
            ref=f"branch-of-{actor.user}",
            actor=actor,
            trigger=Trigger.COMMAND,
            request_key=actor.user,
            channel="C01",
        )
    )


@in_virtual_time
async def test_deployers_and_their_groups_may_deploy() -> None:
    rig = a_quiet_rig(deployers=frozenset({"U0ADA", "S1"}))
    assert await deploys(rig)
    with pytest.raises(Declined, match="aren't allowed to deploy web"):
        await deploys(rig, EVE)
    rig.people.groups["S1"] = frozenset({"U0EVE"})
    await rig.passes(61)
    assert await deploys(rig, EVE)


@in_virtual_time
async def test_group_that_cannot_be_read_lets_nobody_in_and_says_why() -> None:
    rig = a_quiet_rig(deployers=frozenset({"S1"}))
    await rig.service.access.admit(ADA)
    rig.people.error = SILENT
    with pytest.raises(NotKnown, match="did not say who is in the app's user groups"):
        await deploys(rig)
    assert rig.store.rows == {}
    rig.people.error, rig.people.groups["S1"] = None, frozenset({"U0ADA"})
    assert await deploys(rig)


@in_virtual_time
async def test_guest_may_do_nothing_unless_listed() -> None:
    rig = a_quiet_rig(app="shop", deployers=frozenset({"U0ADA"}))
    rig.people.persons |= {"U0ADA": GUEST, "U0EVE": GUEST}
    with pytest.raises(Declined, match="Guests of the workspace"):
        await rig.service.access.admit(EVE)
    assert await rig.service.access.admit(ADA) == ADA
    with pytest.raises(Declined, match="Guests of the workspace"):
        await deploys(rig)
    rig.catalog.tables.append(a_table(deployers=frozenset({"U0ADA"})))
    assert await deploys(rig)
    # An approver too has to get as far as the button.
    rig.catalog.tables.append(a_table(app="api", approvers=frozenset({"U0EVE"})))
    assert await rig.service.access.admit(EVE) == EVE


@in_virtual_time
async def test_who_cannot_be_known_is_refused_until_slack_answers() -> None:
    rig = a_quiet_rig()
    rig.people.error = SILENT
    with pytest.raises(NotKnown, match="did not say whether you are a guest"):
        await deploys(rig)
    rig.people.error = None
    assert await deploys(rig)
    rig.people.error = SILENT
    await rig.passes(30 * 60)
    assert await rig.service.access.admit(ADA) == ADA
    await rig.passes(31 * 60)
    with pytest.raises(NotKnown):
        await rig.service.access.admit(ADA)


@in_virtual_time
async def test_person_is_asked_for_once_in_five_minutes() -> None:
    rig = a_quiet_rig()
    for _ in range(3):
        await rig.service.access.admit(ADA)
    assert rig.people.asked == ["U0ADA"]
    rig.people.persons["U0ADA"] = GUEST
    await rig.passes(301)
    with pytest.raises(Declined, match="Guests"):
        await rig.service.access.admit(ADA)


@pytest.mark.parametrize(
    "person",
    [
        Person(teams=frozenset({"T09"})),
        Person(teams=frozenset({"T09"}), enterprise="E09"),
        Person(teams=frozenset({"T01"}), enterprise="E01", outsider=True),
        None,
    ],
)
@in_virtual_time
async def test_stranger_stays_out_whatever_the_payload_names(person: Person | None) -> None:
    rig = a_quiet_rig()
    rig.service.access.set_home("T01", "E01")
    rig.people.persons["U0EVE"] = person
    for team in ("T01", "T09", "E01", "unknown"):
        with pytest.raises(Declined, match="own workspace"):
            await rig.service.access.admit(replace(EVE, team=team))


@in_virtual_time
async def test_person_of_the_enterprise_is_one_person() -> None:
    rig = a_quiet_rig()
    rig.service.access.set_home("T01", "E01")
    rig.people.persons["U0ADA"] = Person(teams=frozenset({"T03"}), enterprise="E01")
    for team in ("T01", "T03", "E01", "unknown"):
        assert await rig.service.access.admit(replace(ADA, team=team)) == ADA


@in_virtual_time
async def test_without_an_enterprise_no_other_workspace_is_asked_about() -> None:
    rig = a_quiet_rig()
    with pytest.raises(Declined, match="own workspace"):
        await rig.service.access.admit(replace(ADA, team="T09"))
    assert rig.people.asked == []


@in_virtual_time
async def test_renamed_table_keeps_its_deployers() -> None:
    rig = a_quiet_rig(ROW, app="shop", dokku_app="shop-live", deployers=frozenset({"U0ADA"}))
    with pytest.raises(Declined, match="aren't allowed"):
        await rig.service.cancel(ROW.id, actor=EVE, through="button")
    assert "now cancelled" in await rig.service.cancel(ROW.id, actor=ADA, through="button")
    again = await rig.service.retry(
        ROW.id, actor=ADA, trigger=Trigger.BUTTON, request_key="again", channel="C01"
    )
    assert again is not None
    assert (again.app, again.dokku_app) == ("shop", "shop-live")


@in_virtual_time
async def test_approvers_cancel_for_others_and_deployers_only_their_own() -> None:
    rows = [replace(ROW, id=f"01ROW{number}", request_key=str(number)) for number in range(3)]
    rig = a_quiet_rig(
        *rows,
        app="shop",
        dokku_app="shop-live",
        deployers=frozenset({"U0ADA", "U0EVE"}),
        approvers=frozenset({"U0GRACE"}),
    )
    with pytest.raises(Declined, match="Only approvers of shop can do that: <@U0GRACE>"):
        await rig.service.cancel("01ROW0", actor=EVE, through="button")
    grace = replace(EVE, user="U0GRACE")
    assert "now cancelled" in await rig.service.cancel("01ROW0", actor=grace, through="button")
    assert "now cancelled" in await rig.service.cancel("01ROW1", actor=ADA, through="button")
    assert "now cancelled" in await rig.service.cancel("01ROW2", actor=OPERATOR, through="cli")


@in_virtual_time
async def test_only_the_requester_cancels_what_the_settings_no_longer_know() -> None:
    rig = a_quiet_rig(ROW, replace(ROW, id="01SECOND", request_key="second"))
    rig.catalog.known = False
    with pytest.raises(Declined, match=r"no longer know front .* Only its requester may cancel"):
        await rig.service.cancel(ROW.id, actor=EVE, through="button")
    assert "now cancelled" in await rig.service.cancel(ROW.id, actor=ADA, through="button")
    assert "now cancelled" in await rig.service.cancel("01SECOND", actor=OPERATOR, through="cli")
    with pytest.raises(Declined, match="no longer know front"):
        await rig.service.retry(
            ROW.id, actor=ADA, trigger=Trigger.BUTTON, request_key="again", channel="C01"
        )


@in_virtual_time
async def test_waiting_deployment_whose_requester_lost_the_right_is_refused() -> None:
    rig = a_quiet_rig(waiting(), deployers=frozenset({"S1"}))
    rig.start()
    row = await rig.until_ended(within_s=30)
    assert (row.phase, row.failure) == (Phase.FAILED, Failure.REFUSED)
    assert "While it waited, ada lost the right to deploy web" in (row.reason or "")
    assert rig.dokku.streams == []


@in_virtual_time
async def test_waiting_deployment_of_an_app_that_is_no_longer_known_is_refused() -> None:
    rig = a_quiet_rig(waiting())
    rig.catalog.known = False
    rig.start()
    row = await rig.until_ended(within_s=30)
    assert row.failure is Failure.REFUSED
    assert "The settings no longer know web on production" in (row.reason or "")
    rig.catalog.server_names = ["production"]
    gone = no_longer_known(rig.catalog, "web", "production")
    assert gone == "The settings no longer know web"  # the only server is never named


@in_virtual_time
async def test_waiting_deployment_waits_while_slack_does_not_say_and_expires() -> None:
    rig = a_quiet_rig(waiting(queued_at=None), deployers=frozenset({"S1"}))
    rig.people.error = SILENT
    rig.start()
    await rig.passes(60)
    assert rig.row().phase is Phase.QUEUED
    assert rig.progress().waits_for == "Slack to say whether ada may deploy it"
    row = await rig.until_ended()
    assert row.failure is Failure.EXPIRED
    assert "waited too long for Slack to say whether ada may deploy it" in (row.reason or "")


@in_virtual_time
async def test_waiting_deployment_starts_once_slack_says_yes() -> None:
    rig = a_quiet_rig(waiting(), deployers=frozenset({"S1"}))
    rig.people.groups["S1"] = frozenset({"U0ADA"})
    rig.people.error = SILENT
    rig.start()
    await rig.passes(60)
    rig.people.error = None
    (await rig.begun()).succeed()
    assert (await rig.until_ended(within_s=60)).phase is Phase.SUCCEEDED


@in_virtual_time
async def test_deployment_of_the_command_line_needs_no_slack_user() -> None:
    rig = a_quiet_rig(waiting(requested_by=OPERATOR), deployers=frozenset({"U0ADA"}))
    rig.start()
    (await rig.begun()).succeed()
    assert (await rig.until_ended(within_s=60)).phase is Phase.SUCCEEDED


@pytest.mark.parametrize("deployers", [frozenset(), frozenset({"U0ADA", "S1"})])
@in_virtual_time
async def test_queue_goes_on_while_slack_is_away_where_no_group_decides(
    deployers: frozenset[str],
) -> None:
    rig = a_quiet_rig(waiting(), deployers=deployers)
    rig.people.error = SILENT
    rig.start()
    (await rig.begun()).succeed()
    assert (await rig.until_ended(within_s=60)).phase is Phase.SUCCEEDED
