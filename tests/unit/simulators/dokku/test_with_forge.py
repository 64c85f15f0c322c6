"""Dokku and the git hosting together: real refs, real SHAs."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from bot.simulators.dokku.host import DokkuHost
from bot.simulators.forge import FEATURE_BRANCH, TAG, Forge, open_forge

if TYPE_CHECKING:
    from tests.unit.simulators.dokku.conftest import Client

pytestmark = pytest.mark.git


@pytest.fixture
async def forge() -> AsyncIterator[Forge]:
    async with open_forge(repos=("myapp",)) as opened:
        yield opened


@pytest.fixture
async def host(forge: Forge) -> AsyncIterator[DokkuHost]:
    made = DokkuHost(speed=500, refs=forge)
    made.create_app("myapp", deployed_sha=forge.sha("myapp", TAG), repo=forge.url("myapp"))
    yield made
    assert made.complaints == []


@pytest.mark.parametrize("ref", ["main", FEATURE_BRANCH, TAG])
async def test_ref_resolves_to_its_commit(
    client: "Client", host: DokkuHost, forge: Forge, ref: str
) -> None:
    url = forge.url("myapp")
    assert (await client.run(f"git:sync --build myapp {url} {ref}")).exit == 0
    assert await client.metadata("myapp") == f"{url}#{forge.sha('myapp', ref)}"
    assert host.live("myapp")["web.1"].sha == forge.sha("myapp", ref)


async def test_fetch_prints_how_the_branch_moved(client: "Client", forge: Forge) -> None:
    before = forge.sha("myapp", TAG)
    after = forge.commit("myapp", "Fix the colour")
    done = await client.run(f"git:sync --build myapp {forge.url('myapp')} {after}")
    assert f"   {before[:7]}..{after[:7]}  main       -> main\n" in done.out


async def test_missing_ref_and_unreachable_repository(
    client: "Client", host: DokkuHost, forge: Forge
) -> None:
    url = forge.url("myapp")
    missing = await client.run(f"git:sync --build myapp {url} no-such-branch")
    assert (missing.exit, "not a valid SHA1" in missing.out) == (128, True)
    unknown = await client.run(f"git:sync --build myapp {forge.url('nope')} main")
    assert (unknown.exit, "access denied or repository not exported" in unknown.out) == (128, True)
    forge.unreachable_for_test("myapp")
    gone = await client.run(f"git:sync --build myapp {url} main")
    assert (gone.exit, "Could not resolve host: 127.0.0.1" in gone.out) == (128, True)
    assert host.live("myapp")["web.1"].sha == forge.sha("myapp", TAG)
