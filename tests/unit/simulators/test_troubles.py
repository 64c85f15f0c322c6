"""What the demo's troubles do to the simulators, without a bot."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest

from bot.simulators.dokku.model import Nowhere
from bot.simulators.dokku.procedures import sync
from bot.simulators.dokku.runs import Run
from bot.simulators.environment import Simulators, open_simulators
from bot.simulators.patience import in_time
from bot.simulators.slack.model import NotPossible
from bot.simulators.troubles import Troubles
from bot.slack.manifest import manifest

pytestmark = pytest.mark.git

NAMES = [
    *("build_fails", "check_fails", "crash_loop"),
    *("connection_cut", "dokku_away", "slack_429", "outside_push"),
]


@pytest.fixture
async def simulators(tmp_path: Path) -> AsyncIterator[Simulators]:
    async with open_simulators(manifest=manifest(), folder=tmp_path, speed=100) as opened:
        yield opened
        assert opened.dokku.complaints == []


def troubles_of(simulators: Simulators) -> Troubles:
    assert simulators.troubles is not None
    return simulators.troubles


def switched_on(simulators: Simulators) -> list[str]:
    return [one["name"] for one in troubles_of(simulators).shown() if one["on"]]


async def log_in(simulators: Simulators) -> None:
    server = simulators.server
    async with asyncssh.connect(
        "127.0.0.1",
        server.port,
        username="dokku",
        client_keys=[server.client_key],
        known_hosts=None,
        config=None,
    ):
        pass


async def deployed(simulators: Simulators, app: str = "myapp") -> int:
    """Deploy without the bot, and return the exit status."""
    dokku = simulators.dokku
    run = Run(host=dokku, app=dokku.apps[app], output=Nowhere())
    run.record = dokku.new_record(run.app, kind="build", source="git:sync")
    return await run.execute(sync(run, url=run.app.repo, ref="main"))


async def test_each_trouble_says_what_it_does_and_what_ends_it(simulators: Simulators) -> None:
    shown = troubles_of(simulators).shown()
    assert [one["name"] for one in shown] == NAMES
    for one in shown:
        assert one["text"].count(". ") == 0
        assert "; ends " in one["text"]
        assert one["hint"] == "/deploy myapp main"


@pytest.mark.parametrize("name", NAMES)
async def test_trouble_that_is_switched_off_leaves_nothing_behind(
    simulators: Simulators, name: str
) -> None:
    troubles = troubles_of(simulators)
    await troubles.switch(name, on=True)
    await troubles.switch(name, on=True)
    assert switched_on(simulators) == [name]
    await simulators.slack.until(lambda: switched_on(simulators) == [name])
    await troubles.switch(name, on=False)
    assert switched_on(simulators) == []
    await troubles.switch(name, on=False)
    async with in_time():
        await simulators.dokku.until(lambda: not simulators.dokku.apps["myapp"].runs)
        await log_in(simulators)
        assert await deployed(simulators) == 0
    (live,) = simulators.dokku.live("myapp").values()
    assert live.sha == simulators.forge.sha("myapp")


async def test_failure_ends_by_itself_with_the_build_that_fails(simulators: Simulators) -> None:
    troubles = troubles_of(simulators)
    await troubles.switch("build_fails", on=True)
    async with in_time():
        assert await deployed(simulators) != 0
        await simulators.slack.until(lambda: not switched_on(simulators))
        assert await deployed(simulators) == 0


async def test_later_failure_takes_the_place_of_an_earlier_one(simulators: Simulators) -> None:
    troubles = troubles_of(simulators)
    await troubles.switch("build_fails", on=True)
    await simulators.dokku.until(lambda: simulators.dokku.apps["myapp"].next_outcome)
    await troubles.switch("crash_loop", on=True)
    async with in_time():
        await simulators.slack.until(lambda: switched_on(simulators) == ["crash_loop"])


async def test_push_is_not_begun_while_the_app_is_deployed(simulators: Simulators) -> None:
    dokku = simulators.dokku
    dokku.hold_for_test("myapp", at="build step 2/")
    running = dokku.spawn(deployed(simulators))
    async with in_time():
        await dokku.until(lambda: dokku.holding("myapp"))
        with pytest.raises(NotPossible, match="would refuse the push"):
            await troubles_of(simulators).switch("outside_push", on=True)
        assert switched_on(simulators) == []
        dokku.release_for_test("myapp")
        assert await running == 0


async def test_unknown_trouble_is_refused(simulators: Simulators) -> None:
    with pytest.raises(KeyError):
        await troubles_of(simulators).switch("plague", on=True)
