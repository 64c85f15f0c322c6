"""A server under load: it answers slowly, and nothing takes that for silence."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot.deployments.model import Live, Phase
from bot.dokku.driver import Driver
from bot.dokku.limits import SshLimits
from tests.scenarios.conftest import FREQUENT_EDITS, World, open_world

USUAL_S = 0.4
"""What an answer may usually take. Everything here is twenty times as fast as in life."""
SLOW_S = 0.6


@pytest.fixture
async def busy(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path, slack_limits=FREQUENT_EDITS) as world:
        world.ssh_limits = SshLimits(question_s=USUAL_S, secrets_s=USUAL_S)
        usual = timedelta(seconds=USUAL_S)
        start_window = timedelta(milliseconds=500)
        await world.start_bot(timing={"poll_timeout": usual, "start_window": start_window})
        yield world


def logins_for_questions(world: World) -> int:
    assert world.bot is not None
    driver = world.bot.servers.get("default")
    assert isinstance(driver, Driver)
    return driver._connection.generation


@pytest.mark.parametrize("slow_s", [SLOW_S, 2.5 * USUAL_S])
async def test_deployment_ends_right_where_containers_are_read_slowly(
    busy: World, slow_s: float
) -> None:
    """At load 40, `ps:report` took 8 s, while other questions were answered at once."""
    for command in ("ps:inspect", "ps:report"):
        busy.simulators.dokku.delay_answers_for_test(slow_s, command)
    await busy.deploy()
    (row,) = await busy.ended()
    assert (row.phase, row.live, row.attempt) == (Phase.SUCCEEDED, Live.NEW, 1)
    assert logins_for_questions(busy) == 1


async def test_deployment_ends_right_where_every_answer_is_slow(busy: World) -> None:
    busy.simulators.dokku.delay_answers_for_test(SLOW_S)
    await busy.deploy()
    (row,) = await busy.ended()
    assert (row.phase, row.live, row.attempt) == (Phase.SUCCEEDED, Live.NEW, 1)
    assert logins_for_questions(busy) == 1


async def test_slow_poll_says_slow_and_loses_no_contact(busy: World) -> None:
    await busy.deploy_until("build step 4/")
    busy.simulators.dokku.delay_answers_for_test(4 * USUAL_S, "builds:list")
    await busy.until_message("Still asking the server", "is slow")
    busy.simulators.dokku.delay_answers_for_test(0, "builds:list")
    busy.let_go()
    (row,) = await busy.ended()
    assert (row.phase, row.live, row.attempt) == (Phase.SUCCEEDED, Live.NEW, 1)
    assert logins_for_questions(busy) == 1
