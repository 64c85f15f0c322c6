"""Several servers: a dead, frozen or slow one does not delay another."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from bot.dokku.limits import SshLimits
from bot.operations.check import run_checks
from bot.simulators.environment import DemoApp
from bot.simulators.patience import stretched
from bot.simulators.slack.model import Message
from tests.scenarios.conftest import World, open_world, says_all, shown
from tests.support.second_dokku import Second, open_second

FAULTS = ("black hole", "refused", "slow")
COMMITS = ("Start the app", "Greet people", "Fix the login redirect")
APPS = tuple(
    DemoApp(name=name, behaviour="ok", hint="", commits=COMMITS) for name in ("myapp", "shop")
)
STOP_S = 8.0
"""Drain (1 s), flush and closing connections, on a busy machine."""


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[World, Second]]:
    """`myapp` and `shop` on `default`, `blog` on `staging`; no bot yet."""
    blog = DemoApp(name="blog", behaviour="ok", hint="", commits=COMMITS, live=False)
    async with (
        open_world(tmp_path, apps=(*APPS, blog)) as world,
        open_second(world, "blog") as second,
    ):
        yield world, second
        await world.stop_bot()


def about(world: World, app: str) -> Message:
    """The live message of an app."""
    return next(one for one in world.messages if f" {app} " in one.text)


async def says(world: World, app: str, *words: str) -> str:
    """Wait until the message of an app contains all the words."""

    def there() -> str | None:
        found = [one for one in world.messages if f" {app} " in one.text]
        text = shown(found[-1]) if found else ""
        return text if says_all(text, words) else None

    text = await world.slack.until(there)
    assert text is not None
    return text


async def until_ephemeral(world: World, *words: str) -> None:
    """Wait until ada got an ephemeral message with all the words."""

    def there() -> bool:
        texts = [shown(one) for one in world.slack.ephemerals(world.ada)]
        return any(all(word in text for word in words) for text in texts)

    await world.slack.until(there)


@pytest.mark.parametrize("how", FAULTS)
@pytest.mark.parametrize("when", ["at the start", "later"])
async def test_dead_server_does_not_delay_another_server(
    two: tuple[World, Second], how: str, when: str
) -> None:
    world, second = two
    # The status of an app on a dead server is shown after this time.
    timing = {"poll_timeout": stretched(timedelta(seconds=1))}
    if when == "at the start":
        await second.dies(how)
        await world.start_bot(timing)
    else:
        await world.start_bot(timing)
        await world.deploy("blog main to staging")
        await says(world, "blog", "Deployed")
        await second.dies(how)
    await world.deploy("blog main to staging")
    # The post waits at most half a second for the dead server, and says what it waits for.
    first = 1 if when == "at the start" else 2
    await world.posted(first)
    await world.deploy("myapp main to default")
    await says(world, "myapp", "Deployed")
    assert "Waiting" in shown(world.messages[first - 1])
    # People's questions do not wait either.
    await world.deploy("apps")
    listed = await world.whispered("Apps the bot can deploy", "myapp")
    assert "staging" in listed
    await world.deploy("status blog")
    await world.deploy("status myapp")
    await until_ephemeral(world, "*myapp*", "is live on default")
    await until_ephemeral(world, "*blog* on staging")
    async with asyncio.timeout(stretched(STOP_S)):
        await world.stop_bot()
    assert "Waiting" in shown(world.messages[first - 1])


async def test_server_frozen_during_a_deploy_does_not_stop_another(
    two: tuple[World, Second],
) -> None:
    world, second = two
    await world.start_bot(timing={"poll_timeout": timedelta(seconds=1), "max_poll_errors": 1000})
    second.host.hold_for_test("blog", at="build step 4/")
    await world.deploy("blog main to staging")
    await second.host.until(lambda: second.host.holding("blog"))
    await says(world, "blog", "Building")
    world.hold()
    await world.deploy("myapp main to default")
    await world.held()
    await second.dies("black hole")
    await says(world, "blog", "stale since")
    # The other server is polled and its deployments start and are cancelled as usual.
    await says(world, "myapp", "Building")
    assert "stale" not in shown(about(world, "myapp"))
    await world.click("deployment_cancel", about(world, "myapp"))
    await says(world, "myapp", "Cancelled")
    world.let_go()
    await world.deploy("shop main to default")
    await says(world, "shop", "Deployed")
    assert "Deploying" in shown(about(world, "blog"))
    await second.revives()
    second.host.release_for_test("blog")
    await says(world, "blog", "Deployed")


async def test_readiness_names_the_dead_server_and_stays_ready(
    two: tuple[World, Second],
) -> None:
    world, second = two
    await second.dies("refused")
    bot = await world.start_bot()
    await world.deploy("blog main to staging")
    await world.posted(1)
    health = bot.servers.health()
    assert health["default"] is None
    assert "refused" in (health["staging"] or "")


@pytest.mark.parametrize("how", FAULTS)
async def test_check_reports_each_server(two: tuple[World, Second], how: str) -> None:
    world, second = two
    limits = SshLimits(connect_s=stretched(2.0))
    await second.dies(how, slow_s=0.8)
    found = await run_checks(environ=world.environ, folder=world.folder, ssh_limits=limits)
    checks = {one.what: one for one in found}
    assert checks["dokku default"].ok
    assert "Dokku 0.38" in checks["dokku default"].found
    if how == "slow":  # it answers within the 15 s that a check waits
        assert checks["dokku staging"].ok
    else:
        assert not checks["dokku staging"].ok
        assert "127.0.0.1" in checks["dokku staging"].found + checks["dokku staging"].fix


async def test_slots_of_a_server_are_given_in_order(tmp_path: Path) -> None:
    names = ("blog", "wiki", "docs")
    apps = tuple(
        DemoApp(name=name, behaviour="ok", hint="", commits=COMMITS, live=False) for name in names
    )
    async with (
        open_world(tmp_path, apps=(*APPS, *apps)) as world,
        open_second(world, *names, max_running=1) as second,
    ):
        await world.start_bot()
        second.host.hold_for_test("blog", at="build step 4/")
        await world.deploy("blog main to staging")
        await second.host.until(lambda: second.host.holding("blog"))
        await world.deploy("wiki main to staging")
        await says(world, "wiki", "1st in line", "a free slot on the server (1 of 1 in use)")
        await world.deploy("docs main to staging")
        await says(world, "docs", "1st in line", "a free slot on the server (1 of 1 in use)")
        # Each server has its own slots.
        await world.deploy("myapp main to default")
        await says(world, "myapp", "Deployed")
        second.host.hold_for_test("wiki", at="build step 4/")
        second.host.release_for_test("blog")
        await second.host.until(lambda: second.host.holding("wiki"))
        await says(world, "blog", "Deployed")
        assert "a free slot" in shown(about(world, "docs"))
        second.host.release_for_test("wiki")
        await says(world, "wiki", "Deployed")
        await says(world, "docs", "Deployed")
        await world.stop_bot()
