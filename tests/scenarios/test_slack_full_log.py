"""`Full log`: the modal with its pages, reading on while it builds, and the file in the thread."""

import asyncio
import re

from bot.simulators.slack.model import View
from tests.scenarios.conftest import World, print_line, until_stored

LOG = "deployment_log"
MANY = 400


async def test_log_is_read_in_pages_while_it_grows(quick: World) -> None:
    quick.hold()
    await quick.deploy()
    await quick.until_message("Building", "build step 4/", "Dokku build")
    await until_stored(quick, "build step 3/8")
    await quick.click(LOG)
    view = await quick.viewed("build step 3/8", "Page 1 of 1")
    assert set(view.buttons.values()) == {"Refresh", "Post as file"}

    for number in range(MANY):
        await print_line(quick, f"#8 4.2 a line among many, number {number:04}\n")
    await print_line(quick, "#8 4.3 ERROR: cannot find the flux capacitor\n")
    for number in range(MANY):
        await print_line(quick, f"#8 4.4 and on it goes, number {number:04}\n")
    await until_stored(quick, f"and on it goes, number {MANY - 1:04}")

    await _press(quick, view, "Refresh")
    grown = await quick.slack.until(lambda: _grown(quick))
    assert grown is not None
    view, pages = grown, _pages(grown)
    assert f"Page {pages} of {pages}" in view.plain
    assert set(view.buttons.values()) == {"Older", "First error", "Refresh", "Post as file"}

    await _press(quick, view, "Older")
    view = await quick.viewed(f"Page {pages - 1} of {pages}")
    assert {"Older", "Newer"} <= set(view.buttons.values())
    await _press(quick, view, "First error")
    view = await quick.viewed("the flux capacitor")
    page = _page(view)
    await _press(quick, view, "Newer")
    view = await quick.viewed("and on it goes", f"Page {page + 1} of {pages}")
    assert "flux" not in view.plain

    quick.let_go()
    await quick.until_message("Deployed")
    await _press(quick, view, "Newer")
    view = await quick.viewed("and on it goes", f"Page {page + 2} of")
    assert "Refresh" not in view.buttons.values()


async def test_log_is_posted_as_a_file_in_the_thread(quick: World) -> None:
    await quick.deploy()
    message = await quick.until_message("Deployed")
    await quick.click(LOG, user="grace")
    view = await quick.viewed("Application deployed:", user="grace")
    await quick.click("log_post_as_file", view, user="grace")
    await quick.viewed("Posted as a file in the thread.", user="grace")
    (file,) = quick.slack.files
    (row,) = await quick.rows()
    assert "=====> Application deployed:" in file.text
    assert "-----> Cleaning up..." in file.text
    assert row.id in file.name
    replies = [one for one in quick.slack.thread(message) if one.file_ids]
    assert [one.file_ids for one in replies] == [[file.id]]
    assert len(quick.messages) == 1


async def test_log_without_lines_says_so(quick: World, dokku_may_start: asyncio.Event) -> None:
    await quick.deploy()
    await quick.until_message("Starting", "Full log")
    await quick.click(LOG)
    view = await quick.viewed("No output is stored yet")
    await quick.click("log_post_as_file", view)
    await quick.viewed("No output of this deployment is stored yet")
    assert quick.slack.files == []
    dokku_may_start.set()
    await quick.until_message("Deployed")


async def _press(world: World, view: View, label: str) -> None:
    (action_id,) = [key for key, text in view.buttons.items() if text == label]
    result = await world.slack.click(world.ada, view, action_id=action_id)
    assert result.acked


def _page(view: View) -> int:
    return int(_numbers(view)[1])


def _grown(world: World) -> View | None:
    view = world.slack.view(world.slack.user("ada"))
    return view if view is not None and _pages(view) > 3 else None


def _pages(view: View) -> int:
    return int(_numbers(view)[2])


def _numbers(view: View) -> re.Match[str]:
    found = re.search(r"Page (\d+) of (\d+)", view.plain)
    assert found is not None
    return found
