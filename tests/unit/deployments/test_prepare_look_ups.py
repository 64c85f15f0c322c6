"""Which repository, ref and commit a deployment gets, and who is told what is wrong."""

import pytest

from bot.deployments.absent import AbsentServer, NamedServers
from bot.deployments.model import Failure
from bot.deployments.ports import CannotTell, NotThere
from bot.deployments.prepare import AppNames, NotDeployable, Preparation, Prepared
from bot.errors import CommandFailed, Unreachable
from tests.support.builders import REPO, SHA
from tests.support.fake_dokku import DOWN, FakeDokku
from tests.support.rig import SERVER, FakeRefs, FakeServers, waiting
from tests.support.virtual_time import LoopClock, in_virtual_time

GONE = CommandFailed("apps:report webb", 20, "", " !     App webb does not exist")


def preparation(dokku: FakeDokku, refs: FakeRefs | None = None) -> Preparation:
    servers = FakeServers({SERVER: dokku})
    names = AppNames(servers=servers, clock=LoopClock())
    return Preparation(servers=servers, refs=refs or FakeRefs(), names=names)


@in_virtual_time
async def test_all_is_found() -> None:
    found = await preparation(FakeDokku()).look_up(waiting())
    assert found == Prepared(ref="main", repo=REPO, sha=SHA)


@in_virtual_time
async def test_dokkus_own_record_names_the_repository() -> None:
    found = await preparation(FakeDokku()).look_up(waiting(repo=None))
    assert isinstance(found, Prepared)
    assert found.repo == REPO


@in_virtual_time
async def test_without_any_repository_it_cannot_be_deployed() -> None:
    found = await preparation(FakeDokku(metadata="")).look_up(waiting(repo=None))
    assert isinstance(found, NotDeployable)
    assert found.failure is Failure.REFUSED
    assert "DEPLOYBOT_REPO_TEMPLATE" in found.sentence


@pytest.mark.parametrize(("metadata", "ref"), [(f"{REPO}#{SHA}", "main"), ("", "HEAD")])
@in_virtual_time
async def test_the_default_ref_is_the_branch_that_dokku_deploys(metadata: str, ref: str) -> None:
    found = await preparation(FakeDokku(metadata=metadata)).look_up(waiting(ref=""))
    assert isinstance(found, Prepared)
    assert found.ref == ref


@in_virtual_time
async def test_an_app_that_is_not_there_names_the_closest_ones() -> None:
    dokku = FakeDokku()
    dokku.fail("report", GONE)
    found = await preparation(dokku).look_up(waiting(dokku_app="webb"))
    assert isinstance(found, NotDeployable)
    assert found.failure is Failure.APP_NOT_FOUND
    assert "Did you mean `web`?" in found.sentence


@in_virtual_time
async def test_an_app_that_is_not_there_is_said_though_the_list_cannot_be_read() -> None:
    dokku = FakeDokku()
    dokku.fail("report", GONE)
    dokku.fail("apps")
    found = await preparation(dokku).look_up(waiting(dokku_app="webb"))
    assert isinstance(found, NotDeployable)
    assert "There is no app webb" in found.sentence


@in_virtual_time
async def test_another_refusal_is_nothing_that_is_known_to_be_wrong() -> None:
    dokku = FakeDokku()
    dokku.fail("report", CommandFailed("apps:report web", 1, "", " !     Odd"))
    with pytest.raises(CommandFailed):
        await preparation(dokku).look_up(waiting())


@in_virtual_time
async def test_a_ref_that_is_not_there_and_one_that_cannot_be_told() -> None:
    refs = FakeRefs()
    refs.answer = NotThere()
    found = await preparation(FakeDokku(), refs).look_up(waiting())
    assert isinstance(found, NotDeployable)
    assert found.failure is Failure.REF_NOT_FOUND
    refs.answer = CannotTell("private")
    found = await preparation(FakeDokku(), refs).look_up(waiting(ref=SHA))
    assert found == Prepared(ref=SHA, repo=REPO, sha=SHA)


@in_virtual_time
async def test_names_are_kept_for_a_minute_and_old_ones_are_better_than_none() -> None:
    dokku = FakeDokku()
    clock = LoopClock()
    names = AppNames(servers=FakeServers({SERVER: dokku}), clock=clock)
    assert list(names.cached(SERVER)) == []
    assert list(await names.names(SERVER)) == ["web"]
    await names.names(SERVER)
    assert dokku.asked == ["apps"]
    await clock.sleep(waiting().max_duration)
    dokku.down = DOWN
    with pytest.raises(Unreachable):
        await names.names(SERVER)
    assert list(names.cached(SERVER)) == ["web"]


@in_virtual_time
async def test_a_server_that_is_not_configured_answers_nothing_and_says_why() -> None:
    servers = NamedServers(FakeServers({SERVER: FakeDokku()}))
    assert list(servers.names()) == [SERVER]
    absent = servers.get("removed")
    assert isinstance(absent, AbsentServer)
    asked = [
        absent.keeps_records(),
        absent.apps(),
        absent.builds("web"),
        absent.report("web"),
        absent.containers("web"),
        absent.fetched_sha("web"),
        absent.deploy_branch("web"),
        absent.build_output("web", "b1"),
        absent.cancel_build("web"),
        absent.deploy("web", REPO, SHA),
    ]
    for question in asked:
        with pytest.raises(Unreachable, match="removed is not in the bot's settings") as told:
            await question
        assert told.value.final
    assert absent.facts_of("web", ["> deployed"]).marks == frozenset()
