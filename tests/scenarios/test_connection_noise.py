"""Text from the server that is not Dokku's, and odd output: the result is still true."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.deployments.model import Deployment, Failure, Live, Phase
from tests.scenarios.conftest import World, open_world

GREETING = (
    b"Welcome to Ubuntu 22.04.3 LTS\n\n[ OK ] all is watched\n{ who may }\n"
    b" !     System restart required\n\xff\xfe caf\xc3\n"
)


@pytest.fixture(params=["0.38.27", "0.35.20"])
async def noisy(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """A greeting before, during and after the login, and an unrequested terminal."""
    async with open_world(tmp_path, version=request.param) as world:
        server = world.simulators.server
        server.noise_for_test(b"Only for people who may\r\n")
        server.greet_for_test(banner="All is watched\n", motd=GREETING, forces_pty=True)
        await world.start_bot()
        yield world


async def result_of(world: World) -> Deployment:
    (row,) = await world.ended()
    assert isinstance(row, Deployment)
    return row


async def test_good_deploy_with_noise(noisy: World) -> None:
    await noisy.deploy()
    row = await result_of(noisy)
    assert (row.phase, row.failure, row.live) == (Phase.SUCCEEDED, None, Live.NEW)


async def test_failed_build_with_noise(noisy: World) -> None:
    noisy.now_behaves("build_fails")
    await noisy.deploy()
    row = await result_of(noisy)
    assert (row.phase, row.failure, row.live) == (
        Phase.FAILED,
        Failure.BUILD_FAILED,
        Live.PREVIOUS,
    )


@pytest.mark.parametrize("behaviour", ["garbage", "no_newline"])
async def test_odd_output_does_not_affect_the_result(world: World, behaviour: str) -> None:
    world.now_behaves(behaviour)
    await world.deploy()
    await world.simulators.receiver.wait_delivered(1)
    (row,) = await world.rows()
    assert (row.phase, row.failure, row.live) == (Phase.SUCCEEDED, None, Live.NEW)
