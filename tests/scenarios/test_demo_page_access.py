"""The demo page by keyboard alone, on a phone's width, and read in light and in dark mode."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Locator, expect

from tests.scenarios.conftest import QuickClock, print_line
from tests.scenarios.visitor import Visitor, open_visitor

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

PHONE_WIDTH = 390
STOPS = 80
"""More presses of Tab than the page has stops."""
FOCUSED = """
() => {
  const one = document.activeElement;
  const style = getComputedStyle(one.closest(".composer") ?? one);
  return {
    name: one === document.body ? "" : one.getAttribute("aria-label") || one.textContent.trim(),
    id: one.id,
    place: one.closest("[data-ts]")?.dataset.ts ?? "",
    seen: (style.outlineStyle !== "none" || style.boxShadow !== "none")
      && one.checkVisibility({ visibilityProperty: true }),
    somewhere: one !== document.body,
  };
}
"""
TOO_WIDE = """
(width) => [...document.querySelectorAll("body *")].filter((one) => {
  if (!one.checkVisibility({ visibilityProperty: true }) || one.closest(".skip")) return false;
  const box = one.getBoundingClientRect();
  const scrolls = one.scrollWidth > one.clientWidth + 1
    && ["auto", "scroll"].includes(getComputedStyle(one).overflowX);
  return box.width > 0 && (box.right > width + 1 || box.left < -1 || scrolls);
}).map((one) => `${one.tagName}#${one.id}.${one.className} ${one.textContent.slice(0, 40)}`)
"""
TOO_WEAK = """
(least) => {
  const rgba = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = (top, below) => [0, 1, 2].map((at) => top[at] * top[3] + below[at] * (1 - top[3]));
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((one) => {
      const c = one / 255;
      return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    const layers = [];
    for (let one = node; one; one = one.parentElement) {
      const colour = rgba(getComputedStyle(one).backgroundColor);
      layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((below, top) => [...over(top, below), 1], [255, 255, 255, 1]);
  };
  const found = new Set();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode.parentElement;
    const text = texts.currentNode.textContent.trim();
    if (!text || node.closest("svg, script, style, option")) continue;
    if (!node.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
    const below = ground(node);
    const [one, other] = [light(over(rgba(getComputedStyle(node).color), below)), light(below)];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    const name = `${node.tagName}.${node.className} ${text.slice(0, 40)}`;
    if (ratio < least) found.add(`${ratio.toFixed(2)} ${name}`);
  }
  return [...found];
}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page_visitor(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Visitor]:
    async with open_visitor(tmp_path_factory.mktemp("demo"), clock=QuickClock()) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def visitor(page_visitor: Visitor) -> Visitor:
    await page_visitor.arrive()
    return page_visitor


async def focused(visitor: Visitor) -> dict[str, Any]:
    """What has the focus. Whatever it is, one can see it."""
    found: dict[str, Any] = await visitor.page.evaluate(FOCUSED)
    # After the last stop the focus is in the browser's own controls once.
    assert found["seen"] or not found["somewhere"], found
    return found


async def tab_to(
    visitor: Visitor, wanted: Callable[[dict[str, Any]], bool], key: str = "Tab"
) -> dict[str, Any]:
    passed: list[str] = []
    for _ in range(STOPS):
        await visitor.page.keyboard.press(key)
        found = await focused(visitor)
        if wanted(found):
            return found
        passed.append(found["name"][:30])
    raise AssertionError(passed)


def labelled(name: str) -> Callable[[dict[str, Any]], bool]:
    return lambda found: found["name"] == name or found["name"].startswith(f"{name}:")


async def held_by_keyboard(visitor: Visitor) -> Locator:
    """Deploy with the keyboard; the message of a build that is held."""
    visitor.world.hold()
    before = await visitor.messages.count()
    await visitor.page.keyboard.type("/deploy myapp main")
    await visitor.page.keyboard.press("Enter")
    message = await visitor.new_message(before)
    await visitor.sees(message, "build step 4/")
    await visitor.world.held()
    return message


async def test_buttons_and_dialogs_by_keyboard_alone(visitor: Visitor) -> None:
    keys = visitor.page.keyboard
    message = await held_by_keyboard(visitor)
    # Back from the composer: the buttons of the newest message come first.
    await tab_to(visitor, labelled("Full log"), "Shift+Tab")
    await keys.press("Enter")
    await visitor.sees(visitor.modal, "build step 4/")
    await keys.press("Escape")
    await expect(visitor.modal).to_be_hidden()
    await expect(visitor.button(message, "Full log")).to_be_focused()

    # An edit of the message takes the focus from nobody; neither does a question that is left.
    await tab_to(visitor, labelled("Cancel"))
    await print_line(visitor.world, "#8 5.0 one more line\n")
    await visitor.sees(message, "one more line")
    await expect(visitor.button(message, "Cancel")).to_be_focused()
    await keys.press("Enter")
    await expect(visitor.page.locator("#confirm")).to_be_visible()
    await keys.press("Escape")
    await expect(visitor.page.locator("#confirm")).to_be_hidden()
    await expect(visitor.button(message, "Cancel")).to_be_focused()
    await keys.press("Enter")
    await keys.press("Enter")
    await visitor.sees(message, "Cancelled: myapp")
    visitor.world.let_go()


async def test_menu_and_thread_by_keyboard_alone(visitor: Visitor) -> None:
    keys = visitor.page.keyboard
    message = await held_by_keyboard(visitor)
    # The message's menu stays open while the message is edited, and is left with Escape.
    await tab_to(visitor, labelled("More actions"), "Shift+Tab")
    await keys.press("Enter")
    await keys.press("ArrowDown")
    chosen = await focused(visitor)
    assert chosen["name"].startswith("Deployment status")
    await print_line(visitor.world, "#8 5.1 and another\n")
    await visitor.sees(message, "and another")
    assert (await focused(visitor))["name"] == chosen["name"]
    await keys.press("Escape")
    await expect(message.get_by_role("button", name="More actions")).to_be_focused()

    # A thread opens at its composer, and gives the focus back.
    await tab_to(visitor, labelled("Reply in thread"), "Shift+Tab")
    await keys.press("Enter")
    await expect(visitor.page.locator("#thread-composer textarea")).to_be_focused()
    await keys.type("status")
    await keys.press("Enter")
    await visitor.sees(visitor.replies.last, "Deploying myapp")
    await keys.press("Escape")
    await expect(visitor.page.locator("#thread-composer")).to_be_hidden()
    assert (await focused(visitor))["place"]
    visitor.world.let_go()
    await visitor.sees(message, "Deployed myapp")


async def test_columns_by_keyboard_alone(visitor: Visitor) -> None:
    """Another person, another conversation, another tab, a trouble on and off."""
    keys = visitor.page.keyboard
    await tab_to(visitor, lambda found: found["id"].startswith("me-"), "Shift+Tab")
    await keys.press("ArrowDown")
    await expect(visitor.page.locator("#me-grace")).to_be_checked()
    await keys.press("ArrowUp")
    await expect(visitor.page.locator("#me-ada")).to_be_checked()
    await tab_to(visitor, labelled("#deploys"), "Shift+Tab")
    await keys.press("ArrowDown")
    await keys.press("Enter")
    await visitor.sees(visitor.page.locator("#where"), "#random")
    assert (await focused(visitor))["name"] == "#random"

    await tab_to(visitor, lambda found: found["id"].startswith("tab-"))
    await keys.press("End")
    await expect(visitor.page.locator("#troubles")).to_be_visible()
    await tab_to(visitor, labelled("Switch on: The build fails"))
    await keys.press("Enter")
    await expect(visitor.page.locator("#alerts")).to_be_visible()
    assert (await focused(visitor))["name"] == "Switch off: The build fails"
    await keys.press("Enter")
    await expect(visitor.page.locator("#alerts")).to_be_hidden()


async def fits(visitor: Visitor) -> None:
    """Nothing is wider than the phone, and nothing scrolls sideways."""
    page = visitor.page
    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE_WIDTH
    assert await page.evaluate(TOO_WIDE, PHONE_WIDTH) == []


async def reads(visitor: Visitor) -> None:
    """Every text is readable, in both modes."""
    for scheme in ("dark", "light"):
        await visitor.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert await visitor.page.evaluate(TOO_WEAK, 4.5) == [], scheme


async def test_phone_shows_messages_and_dialogs(visitor: Visitor) -> None:
    await visitor.page.set_viewport_size({"width": PHONE_WIDTH, "height": 844})
    failed = await visitor.deploy("/deploy shop main")
    await visitor.sees(failed, "Failed: shop")
    visitor.world.hold()
    message = await visitor.deploy("/deploy myapp main")
    await visitor.sees(message, "build step 4/")
    await visitor.world.held()
    await visitor.press(failed, "Details")
    await expect(visitor.ephemerals.last).to_be_in_viewport()
    await fits(visitor)
    await reads(visitor)

    await visitor.press(message, "Full log")
    await visitor.sees(visitor.modal, "build step 4/")
    await fits(visitor)
    await visitor.page.keyboard.press("Escape")
    await expect(visitor.modal).to_be_hidden()
    await visitor.press(message, "Cancel")
    await fits(visitor)
    await reads(visitor)
    await visitor.page.keyboard.press("Escape")
    await visitor.type("/deploy")
    app = visitor.modal.locator("select[data-action=app]")
    await app.select_option("shop")
    await fits(visitor)
    await reads(visitor)
    await visitor.page.keyboard.press("Escape")
    await expect(visitor.modal).to_be_hidden()

    await message.get_by_role("button", name="Reply in thread").click()
    await visitor.reply("help")
    await expect(visitor.replies.last).to_be_in_viewport()
    await fits(visitor)
    visitor.world.let_go()
    await visitor.sees(visitor.replies.first, "Deployed myapp")


async def test_phone_reaches_the_columns_and_the_home_tab(visitor: Visitor) -> None:
    page = visitor.page
    await page.set_viewport_size({"width": PHONE_WIDTH, "height": 844})
    for tab in ("Webhooks", "Troubles"):
        await visitor.side(tab)
        await fits(visitor)
    await page.get_by_role("button", name="Switch on: Slack limits edits").click()
    await visitor.sees(page.locator("#trouble-list"), "ON")
    await reads(visitor)
    await page.locator("#side-close").click()
    await page.locator("#alerts").get_by_role("button", name="Switch off").click()

    menu = page.get_by_role("button", name="Channels and people")
    await menu.click()
    await fits(visitor)
    await reads(visitor)
    await page.keyboard.press("Escape")
    await expect(menu).to_be_focused()
    await menu.click()
    await visitor.act_as("grace")
    await page.get_by_role("button", name="· Home").click()
    await expect(page.locator("#sidebar")).to_be_hidden()
    await visitor.sees(page.locator("#home"), "Deploy")
    await fits(visitor)
    await reads(visitor)


async def test_desk_can_be_read_in_both_modes(visitor: Visitor) -> None:
    """Mentions, code, links, badges, quotes, a toast, the menu and the webhooks."""
    await visitor.type("Hello @grace and @ada, see https://example.com and `code`, :rocket:")
    await visitor.type("@deploybot status")
    await visitor.sees(await visitor.deploy("/deploy billing main"), "Awaiting approval")
    await visitor.sees(await visitor.deploy("/deploy blog main"), "Failed: blog")
    await visitor.page.locator("#deliveries summary").first.click()
    message = visitor.messages.last
    await message.hover()
    await message.get_by_role("button", name="More actions").click()
    await visitor.composer.fill("/unknown")
    await visitor.composer.press("Enter")
    await expect(visitor.page.locator(".toast")).to_be_visible()
    await reads(visitor)
