"""Reading what is live: history and servers, slow and silent servers, rollbacks."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.deployments.dokku_facts import Containers
from bot.deployments.live.compare import Match
from bot.deployments.live.rollback import NotVerified
from bot.deployments.model import Actor, AppKey, Deployment, Live, Phase, Trigger
from bot.errors import CommandFailed, Declined
from tests.support.builders import NEW, NOW, OLD, OLD_SHA, OTHER_RELEASE, SHA, containers
from tests.support.fake_dokku import DOWN, UNKNOWN, FakeDokku
from tests.support.rig import SERVER, Rig, a_rig, waiting
from tests.support.virtual_time import in_virtual_time

ADA = Actor(user="U0ADA", team="T01", name="ada")
KEY = AppKey(server=SERVER, dokku_app="web")
GONE = CommandFailed("ps:inspect web", 20, "", " !     App web does not exist")


def good(minutes: int = 0, **changes: Any) -> Deployment:
    given: dict[str, Any] = {
        "id": f"01ROW{minutes:03}",
        "request_key": str(minutes),
        "phase": Phase.SUCCEEDED,
        "live": Live.NEW,
        "started_at": NOW + timedelta(minutes=minutes),
        "created_at": NOW + timedelta(minutes=minutes),
        "after": containers(NEW),
    }
    return waiting(**(given | changes))


def a_past(*rows: Deployment, dokku: FakeDokku | None = None) -> Rig:
    return a_rig(*rows, dokku=dokku or FakeDokku(now=containers(NEW)), start=False)


async def back(rig: Rig, commit: str | None = None, **more: Any) -> Deployment | None:
    given: dict[str, Any] = {
        "server": None,
        "actor": ADA,
        "trigger": Trigger.COMMAND,
        "request_key": f"r{len(rig.store.rows)}",
        "channel": "C01",
    }
    return await rig.service.rollback_app("web", commit, **(given | more))


@in_virtual_time
async def test_live_state_combines_history_and_containers() -> None:
    rig = a_past(good())
    (report,) = await rig.service.queries.live_state("WEB".lower())
    assert (report.state.match, report.state.commit) == (Match.AS_LEFT, SHA)
    assert (report.server, report.app, report.why, report.keeps_records) == (
        SERVER,
        "web",
        None,
        True,
    )


@pytest.mark.parametrize("error", [DOWN, UNKNOWN])
@in_virtual_time
async def test_unreachable_server_leaves_the_history(error: Exception) -> None:
    dokku = FakeDokku()
    dokku.fail("containers", error)
    (report,) = await a_past(good(), dokku=dokku).service.queries.live_state("web")
    assert report.state.match is Match.UNREADABLE
    assert report.why == str(error)
    assert report.state.base is not None


@in_virtual_time
async def test_silent_server_costs_one_poll_timeout() -> None:
    dokku = FakeDokku(hanging={"containers", "builds", "report", "keeps_records"})
    rig = a_past(good(), dokku=dokku)
    began = rig.clock.monotonic()
    (report,) = await rig.service.queries.live_state("web")
    assert rig.clock.monotonic() - began <= 8.1
    assert report.why == "The server did not answer in time."


@pytest.mark.parametrize("question", ["builds", "report", "keeps_records"])
@in_virtual_time
async def test_missing_answers_beside_the_containers_are_left_out(question: str) -> None:
    dokku = FakeDokku(now=containers(NEW))
    dokku.fail(question)
    (report,) = await a_past(good(), dokku=dokku).service.queries.live_state("web")
    assert report.state.commit == SHA


@in_virtual_time
async def test_containers_that_docker_does_not_show_are_unreadable() -> None:
    (report,) = await a_past(good(), dokku=FakeDokku(now=None)).service.queries.live_state("web")
    assert report.state.match is Match.UNREADABLE
    assert report.why is not None
    assert "Docker" in report.why


@in_virtual_time
async def test_missing_app_is_declined_unless_it_has_a_history() -> None:
    dokku = FakeDokku()
    dokku.fail("containers", GONE, times=2)
    rig = a_past(dokku=dokku)
    with pytest.raises(Declined, match=r"no app web\. Did you mean `web`"):
        await rig.service.queries.live_state("web")
    rig.store.rows["01ROW000"] = good()
    (report,) = await rig.service.queries.live_state("web")
    assert report.missing


@in_virtual_time
async def test_missing_app_is_declined_even_if_names_cannot_be_read() -> None:
    dokku = FakeDokku()
    dokku.fail("containers", GONE)
    dokku.fail("apps")
    with pytest.raises(Declined, match="`/deploy apps` lists the apps"):
        await a_past(dokku=dokku).service.queries.live_state("web")


@in_virtual_time
async def test_everything_is_read_again_if_a_deployment_ended_meanwhile() -> None:
    rig = a_past(good())
    later = good(5, sha=OLD_SHA, after=containers(OLD))

    class Ends(FakeDokku):
        async def containers(self, app: str) -> Containers | None:
            found = await super().containers(app)
            rig.store.rows[later.id] = later
            self.now = containers(OLD)
            return found

    rig.servers.known[SERVER] = Ends(now=containers(NEW))
    (report,) = await rig.service.queries.live_state("web")
    assert (report.state.match, report.state.commit) == (Match.AS_LEFT, OLD_SHA)


@in_virtual_time
async def test_live_state_is_unknown_if_deployments_keep_ending() -> None:
    rig = a_past(good())

    class Ends(FakeDokku):
        async def containers(self, app: str) -> Containers | None:
            one = good(len(rig.store.rows))
            rig.store.rows[one.id] = one
            return await super().containers(app)

    rig.servers.known[SERVER] = Ends(now=containers(NEW))
    (report,) = await rig.service.queries.live_state("web")
    assert report.state.match is Match.UNREADABLE
    assert report.why is not None
    assert "Ask again" in report.why


@in_virtual_time
async def test_only_unfinished_deployments_of_the_app_are_reported() -> None:
    mine = waiting(id="01MINE", request_key="m")
    other = waiting(id="01OTHER", request_key="o", app="shop", dokku_app="shop")
    (report,) = await a_past(good(), mine, other).service.queries.live_state("web")
    assert [one.id for one in report.state.waiting] == ["01MINE"]


@in_virtual_time
async def test_app_on_several_servers_is_reported_for_each_and_rolled_back_on_one() -> None:
    rig = a_past(good(), good(1, server="staging"))
    rig.servers.known["staging"] = FakeDokku(now=containers(OTHER_RELEASE))
    reports = await rig.service.queries.live_state("web")
    assert [one.server for one in reports] == [SERVER, "staging"]
    (one,) = await rig.service.queries.live_state("web", server="staging")
    assert one.state.match is Match.REPLACED
    with pytest.raises(
        Declined, match="several servers: production, staging\\. Say `web on SERVER`"
    ):
        await back(rig)


@in_virtual_time
async def test_removed_server_is_named_as_the_reason() -> None:
    rig = a_past(good(server="gone"))
    (report,) = await rig.service.queries.live_state("web", server="gone")
    assert report.why is not None
    assert "not in the bot's settings any more" in report.why


@in_virtual_time
async def test_rollback_compares_with_the_current_containers() -> None:
    rig = a_past(good(), good(5, sha=OLD_SHA, rollback_sha=SHA, after=containers(OLD)))
    rig.dokku.now = containers(OLD)
    with pytest.raises(Declined, match="already live"):
        await back(rig, OLD_SHA)
    rig.dokku.now = containers(OTHER_RELEASE)
    row = await back(rig, OLD_SHA)
    assert row is not None
    assert (row.ref, row.rollback_of, row.server) == (OLD_SHA, "01ROW005", SERVER)


@in_virtual_time
async def test_slow_server_does_not_delay_a_rollback() -> None:
    dokku = FakeDokku(hanging={"containers"})
    rig = a_past(good(), good(5, sha=OLD_SHA, rollback_sha=SHA), dokku=dokku)
    began = rig.clock.monotonic()
    row = await back(rig)
    assert rig.clock.monotonic() - began <= 1.1  # before and during the post
    assert row is not None
    assert (row.ref, row.rollback_of) == (SHA, "01ROW005")


@in_virtual_time
async def test_rollback_by_an_old_button_checks_what_is_live_now() -> None:
    old = good(5, sha=OLD_SHA, rollback_sha=SHA, after=containers(OLD))
    rig = a_past(good(), old)
    rig.dokku.now = containers(OTHER_RELEASE)
    press: dict[str, Any] = {"actor": ADA, "trigger": Trigger.BUTTON, "channel": "C01"}
    row = await rig.service.rollback(old.id, request_key="b1", **press)
    assert row is not None
    assert (row.ref, row.rollback_of) == (SHA, old.id)
    with pytest.raises(Declined, match="already being deployed"):
        await rig.service.rollback(old.id, request_key="b2", **press)
    rig.store.rows[row.id] = replace(row, phase=Phase.FAILED, live=Live.PREVIOUS)
    rig.store.rows["01ROW009"] = good(9)
    rig.dokku.now = containers(NEW)
    with pytest.raises(Declined, match="already live"):
        await rig.service.rollback(old.id, request_key="b3", **press)


@in_virtual_time
async def test_unverified_rollback_needs_the_commit_that_was_confirmed() -> None:
    rig = a_past(good(5, previous_sha=OLD_SHA))
    press: dict[str, Any] = {"actor": ADA, "trigger": Trigger.BUTTON, "channel": "C01"}
    with pytest.raises(NotVerified, match="not verified by deploybot"):
        await back(rig)
    with pytest.raises(NotVerified):
        await rig.service.rollback("01ROW005", request_key="b1", **press)
    with pytest.raises(Declined, match="No release of web was proven live"):
        await rig.service.rollback("01ROW005", "c" * 40, request_key="b2", **press)
    row = await rig.service.rollback("01ROW005", OLD_SHA, request_key="b3", **press)
    assert row is not None
    assert (row.ref, row.rollback_of) == (OLD_SHA, "01ROW005")


@in_virtual_time
async def test_plan_says_from_where_to_where() -> None:
    rig = a_past(good(sha=OLD_SHA, after=containers(OLD)), good(5, rollback_sha=OLD_SHA))
    plan = await rig.service.plan_app_rollback("web", None, server=None)
    assert (plan.target.sha, plan.target.verified, plan.live_sha) == (OLD_SHA, True, SHA)
    assert plan.live is not None
    assert plan.source is not None
    assert (plan.live.id, plan.source.id) == ("01ROW005", "01ROW000")
    rig.dokku.now = containers(OTHER_RELEASE)
    plan = await rig.service.plan_app_rollback("web", None, server=None)
    assert (plan.target.sha, plan.live) == (SHA, None)


@in_virtual_time
async def test_errors_while_reading_are_raised_to_the_caller() -> None:
    rig = a_past(good())
    rig.dokku.broken.add("containers")
    with pytest.raises(RuntimeError, match="a bug"):
        await back(rig, SHA)
    rig.store.fail("started")
    with pytest.raises(Exception, match="database"):
        await rig.service.queries.live_state("web")
    await asyncio.sleep(1)
