"""Which repository, ref and commit a request gets, and what makes it impossible to deploy."""

from typing import Any

import pytest

from bot.deployments.app_names import AppNames
from bot.deployments.model import Deployment, Failure, NotDeployable, Phase, Resolved
from bot.deployments.refs import CannotTell, Found, NotThere, RefAnswer, Several
from bot.deployments.requests.submit import RequestResolver
from bot.dokku.servers import UnknownServer
from bot.errors import CommandFailed, Unreachable
from tests.support.builders import NOW, OLD_SHA, REPO, SHA
from tests.support.fake_dokku import DOWN, FakeDokku
from tests.support.memory_store import MemoryStore
from tests.support.rig import SERVER, FakeRefs, FakeServers, waiting
from tests.support.virtual_time import LoopClock, in_virtual_time

GONE = CommandFailed("apps:report webb", 20, "", " !     App webb does not exist")


def resolver(
    dokku: FakeDokku, refs: FakeRefs | None = None, store: MemoryStore | None = None
) -> RequestResolver:
    servers, clock = FakeServers({SERVER: dokku}), LoopClock()
    names = AppNames(servers=servers, clock=clock)
    return RequestResolver(
        servers=servers, refs=refs or FakeRefs(), names=names, store=store or MemoryStore(clock)
    )


@in_virtual_time
async def test_resolves_ref_repository_and_commit() -> None:
    found = await resolver(FakeDokku()).look_up(waiting())
    assert found == Resolved(ref="main", repo=REPO, sha=SHA, deployed=OLD_SHA)


@in_virtual_time
async def test_repository_comes_from_dokkus_record_if_not_configured() -> None:
    found = await resolver(FakeDokku()).look_up(waiting(repo=None))
    assert isinstance(found, Resolved)
    assert found.repo == REPO


@in_virtual_time
async def test_without_a_repository_it_is_not_deployable() -> None:
    found = await resolver(FakeDokku(metadata="")).look_up(waiting(repo=None))
    assert isinstance(found, NotDeployable)
    assert found.failure is Failure.REFUSED
    assert "DEPLOYBOT_REPO_TEMPLATE" in found.sentence


class BranchDokku(FakeDokku):
    def __init__(self, branch: str | None, **facts: Any) -> None:
        super().__init__(**facts)
        self.branch = branch

    async def deploy_branch(self, app: str) -> str | None:
        return self.branch


@pytest.mark.parametrize("metadata", [f"{REPO}#{SHA}", ""])
@pytest.mark.parametrize(
    ("branch", "ref"), [("main", "main"), ("stable", "stable"), (None, "trunk"), ("HEAD", "trunk")]
)
@in_virtual_time
async def test_default_ref_is_the_branch_that_dokku_builds(
    metadata: str, branch: str | None, ref: str
) -> None:
    refs = FakeRefs()
    refs.answer = Found(SHA, branch=None if branch in {"main", "stable"} else "trunk")
    dokku = BranchDokku(branch, metadata=metadata)
    found = await resolver(dokku, refs).look_up(waiting(ref="", repo=REPO))
    assert isinstance(found, Resolved)
    assert (found.ref, found.sha) == (ref, SHA)


@in_virtual_time
async def test_old_dokku_that_names_master_for_unset_gets_the_default_branch() -> None:
    refs = FakeRefs()
    refs.answer = Found(SHA, branch="main")
    dokku = BranchDokku("master", metadata="", keeps=False)
    found = await resolver(dokku, refs).look_up(waiting(ref="", repo=REPO))
    assert isinstance(found, Resolved)
    assert found.ref == "main"


@in_virtual_time
async def test_missing_app_suggests_similar_names() -> None:
    dokku = FakeDokku()
    dokku.fail("report", GONE)
    found = await resolver(dokku).look_up(waiting(dokku_app="webb"))
    assert isinstance(found, NotDeployable)
    assert found.failure is Failure.APP_NOT_FOUND
    assert "Did you mean `web`?" in found.sentence


@in_virtual_time
async def test_missing_app_is_reported_even_if_names_cannot_be_read() -> None:
    dokku = FakeDokku()
    dokku.fail("report", GONE)
    dokku.fail("apps")
    found = await resolver(dokku).look_up(waiting(dokku_app="webb"))
    assert isinstance(found, NotDeployable)
    assert "There is no app webb" in found.sentence


@in_virtual_time
async def test_other_refusals_are_raised() -> None:
    dokku = FakeDokku()
    dokku.fail("report", CommandFailed("apps:report web", 1, "", " !     Odd"))
    with pytest.raises(CommandFailed):
        await resolver(dokku).look_up(waiting())


@in_virtual_time
async def test_missing_ref_is_not_deployable_and_unreadable_repository_is() -> None:
    refs = FakeRefs()
    refs.answer = NotThere()
    found = await resolver(FakeDokku(), refs).look_up(waiting())
    assert isinstance(found, NotDeployable)
    assert found.failure is Failure.REF_NOT_FOUND
    refs.answer = CannotTell("private")
    found = await resolver(FakeDokku(), refs).look_up(waiting(ref=SHA))
    assert found == Resolved(ref=SHA, repo=REPO, sha=SHA, deployed=OLD_SHA)


FIRST, SECOND = "a1b2c3d" + "1" * 33, "a1b2c3d" + "2" * 33
NOT_LISTED = CannotTell("private")


def past(*rows: Deployment) -> MemoryStore:
    store = MemoryStore(LoopClock())
    store.rows = {row.id: row for row in rows}
    return store


def started(sha: str, **changes: Any) -> Deployment:
    given = {"id": f"01{sha}", "sha": sha, "phase": Phase.SUCCEEDED, "started_at": NOW}
    return waiting(**(given | changes))


@pytest.mark.parametrize(
    ("listed", "rows", "sha"),
    [
        (Found(FIRST), [], FIRST),
        (Found(FIRST), [started(FIRST)], FIRST),
        (NOT_LISTED, [started(FIRST), started(FIRST, id="01B")], FIRST),
        (NOT_LISTED, [], None),
        (NOT_LISTED, [started(FIRST, repo="https://git.example.com/another.git")], None),
        (NOT_LISTED, [started(FIRST, dokku_app="another")], None),
        (NOT_LISTED, [started(FIRST, started_at=None)], None),
        (NOT_LISTED, [started(FIRST, phase=Phase.FETCHING)], None),
        (
            NOT_LISTED,
            [started(FIRST, phase=Phase.FAILED, failure=Failure.REF_NOT_FOUND)],
            None,
        ),
        (
            NOT_LISTED,
            [started(FIRST, phase=Phase.FAILED, failure=Failure.BUILD_FAILED)],
            FIRST,
        ),
        (Found(OLD_SHA), [started(FIRST)], OLD_SHA),  # a branch has this name
    ],
)
@in_virtual_time
async def test_short_commit_is_resolved_if_unique(
    listed: RefAnswer, rows: list[Deployment], sha: str | None
) -> None:
    refs = FakeRefs()
    refs.answer = listed
    found = await resolver(FakeDokku(), refs, past(*rows)).look_up(waiting(ref="A1B2c3d"))
    assert found == Resolved(ref="A1B2c3d", repo=REPO, sha=sha, deployed=OLD_SHA)


@pytest.mark.parametrize(
    ("listed", "rows"),
    [
        (Several((FIRST, SECOND)), []),
        (Several((FIRST, SECOND)), [started(FIRST)]),
        (Found(FIRST), [started(SECOND)]),
        (NOT_LISTED, [started(FIRST), started(SECOND)]),
    ],
)
@in_virtual_time
async def test_ambiguous_short_commit_is_never_guessed(
    listed: RefAnswer, rows: list[Deployment]
) -> None:
    refs = FakeRefs()
    refs.answer = listed
    found = await resolver(FakeDokku(), refs, past(*rows)).look_up(waiting(ref="a1b2c3d"))
    assert isinstance(found, NotDeployable)
    assert found.failure is Failure.REF_NOT_FOUND
    assert found.sentence == (
        f"a1b2c3d is ambiguous: in web it could be {FIRST} or {SECOND}. Give more digits"
    )


@in_virtual_time
async def test_short_commit_is_left_to_dokku_if_the_history_cannot_be_read() -> None:
    refs, store = FakeRefs(), past()
    refs.answer = Found(FIRST)
    store.fail("started")
    found = await resolver(FakeDokku(), refs, store).look_up(waiting(ref="a1b2c3d"))
    assert found == Resolved(ref="a1b2c3d", repo=REPO, sha=None, deployed=OLD_SHA)


@in_virtual_time
async def test_app_names_are_cached_for_a_minute_and_kept_during_an_outage() -> None:
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
async def test_removed_server_says_why_it_cannot_answer() -> None:
    servers = FakeServers({SERVER: FakeDokku()})
    assert list(servers.names()) == [SERVER]
    absent = servers.get("removed")
    assert isinstance(absent, UnknownServer)
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
        with pytest.raises(Unreachable, match="removed is not in the bot's settings") as raised:
            await question
        assert raised.value.final
    assert (await absent.facts_of("web", ["> deployed"])).markers == frozenset()
