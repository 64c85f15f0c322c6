"""Each trouble of the demo page leads to an end that a visitor can watch."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from playwright.async_api import Locator, expect

from tests.scenarios.conftest import QuickClock
from tests.scenarios.visitor import Visitor, open_visitor

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page_visitor(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Visitor]:
    timing = {"start_window": timedelta(seconds=60)}
    folder = tmp_path_factory.mktemp("demo")
    async with open_visitor(folder, clock=QuickClock(), timing=timing) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def visitor(page_visitor: Visitor) -> Visitor:
    await page_visitor.arrive()
    await page_visitor.side("Troubles")
    return page_visitor


def on(visitor: Visitor) -> Locator:
    """The line that says which troubles are on."""
    return visitor.page.locator("#alerts")


async def switch_on(visitor: Visitor, title: str) -> None:
    await visitor.page.get_by_role("button", name=f"Switch on: {title}").click()
    await visitor.sees(on(visitor), title)


async def deploy(visitor: Visitor) -> Locator:
    """Deploy `myapp` with the button that stands beside each trouble."""
    before = await visitor.messages.count()
    await visitor.page.get_by_role("button", name="Write /deploy myapp main").first.click()
    await expect(visitor.composer).to_be_focused()
    await visitor.page.keyboard.press("Enter")
    return await visitor.new_message(before)


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("The build fails", ["Failed: myapp", "the build failed", "the previous release"]),
        ("The health check fails", ["Failed: myapp", "the health checks failed"]),
        ("The new release crashes", ["Failed: myapp", "crash"]),
    ],
)
async def test_next_deployment_fails_and_the_one_after_it_succeeds(
    visitor: Visitor, title: str, words: list[str]
) -> None:
    await switch_on(visitor, title)
    await visitor.sees(await deploy(visitor), *words)
    await expect(on(visitor)).to_be_hidden()
    await visitor.sees(await deploy(visitor), "Deployed myapp")


async def test_cut_connection_is_followed_by_a_second_start_in_the_same_message(
    visitor: Visitor,
) -> None:
    await switch_on(visitor, "The connection is cut")
    message = await deploy(visitor)
    await visitor.sees(message, "Deployed myapp")
    await expect(on(visitor)).to_be_hidden()
    await message.get_by_text("View thread").click()
    await visitor.sees(visitor.page.locator("#replies"), "again")
    assert "cut_off" in [entry.event for entry in visitor.simulators.dokku.journal]


async def test_deployment_to_a_server_that_is_away_ends_and_works_once_it_is_back(
    visitor: Visitor,
) -> None:
    await switch_on(visitor, "Dokku is away")
    message = await deploy(visitor)
    await visitor.sees(message, "Failed: myapp", "reach")
    await on(visitor).get_by_role("button", name="Switch off").click()
    await expect(on(visitor)).to_be_hidden()
    await visitor.sees(await deploy(visitor), "Deployed myapp")


async def test_limited_edits_go_on_with_the_newest_state(visitor: Visitor) -> None:
    await switch_on(visitor, "Slack limits edits")
    message = await deploy(visitor)
    await visitor.sees(message, "Deployed myapp")
    outcomes = [one.outcome for one in visitor.simulators.slack.calls]
    assert "ratelimited" in outcomes
    await on(visitor).get_by_role("button", name="Switch off").click()
    await expect(on(visitor)).to_be_hidden()


async def test_deployment_waits_behind_the_push_of_someone_else(visitor: Visitor) -> None:
    visitor.world.hold("build step 2/")
    await switch_on(visitor, "Someone else pushes")
    await visitor.world.held()
    message = await deploy(visitor)
    await visitor.sees(message, "Waiting", "git push")
    visitor.world.let_go()
    await visitor.sees(message, "Deployed myapp")
    await expect(on(visitor)).to_be_hidden()
