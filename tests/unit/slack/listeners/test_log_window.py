"""The buttons of the log window."""

import pytest

from bot.deployments.log_pages import LogPages, paginate
from bot.deployments.model import Phase
from bot.simulators.slack.model import View
from bot.slack.listeners import log_window
from tests.support.builders import a_deployment
from tests.support.log_pages import first_error
from tests.support.stage import Stage, open_stage

ONE = "01K9ZB0000000000000000001A"
LINES = "".join(f"line number {number}\n" for number in range(1_500))
LOG = f"{LINES} !     Build failed\n{LINES}"
PAGES = len(paginate(LOG))


async def open_window(stage: Stage, phase: Phase = Phase.BUILDING) -> View:
    stage.service.logs[ONE] = LOG
    await stage.service.post(a_deployment(id=ONE, app="myapp", phase=phase), stage.deploys.id)
    message = await stage.live_message()
    await stage.slack.click(stage.ada, message, action_id="deployment_log")
    return await stage.view(f"Page {PAGES} of {PAGES}")


async def press(stage: Stage, view: View, label: str) -> None:
    (action_id,) = [key for key, text in view.buttons.items() if text == label]
    await stage.slack.click(stage.ada, view, action_id=action_id)


async def test_each_page_button_leads_to_its_page() -> None:
    async with open_stage() as stage:
        view = await open_window(stage)
        await press(stage, view, "Older")
        view = await stage.view(f"Page {PAGES - 1} of {PAGES}")
        await press(stage, view, "First error")
        error = first_error(LOG)
        assert error is not None
        view = await stage.view(f"Page {error + 1} of {PAGES}")
        assert " !     Build failed" in view.plain
        await press(stage, view, "Newer")
        await stage.view(f"Page {error + 2} of {PAGES}")


async def test_refresh_follows_the_end_of_the_log_only_from_the_newest_page() -> None:
    async with open_stage() as stage:
        view = await open_window(stage)
        stage.service.logs[ONE] = longer = LOG + LINES
        await press(stage, view, "Refresh")
        pages = len(paginate(longer))
        view = await stage.view(f"Page {pages} of {pages}")
        await press(stage, view, "Older")
        view = await stage.view(f"Page {pages - 1} of {pages}")
        stage.service.logs[ONE] = longest = longer + LINES
        await press(stage, view, "Refresh")
        await stage.view(f"Page {pages - 1} of {len(paginate(longest))}")


@pytest.mark.parametrize("forgotten", [True, False])
async def test_errors_are_shown_in_the_window(*, forgotten: bool) -> None:
    async with open_stage() as stage:
        view = await open_window(stage)
        if forgotten:
            stage.service.rows.clear()
            await press(stage, view, "Older")
            await stage.view("no longer on record")
        else:
            stage.service.logs[ONE] = ""
            await press(stage, view, "Post as file")
            await stage.view("No output of this deployment is stored yet")
        assert not stage.slack.ephemerals(stage.ada)


async def test_post_as_file_uploads_the_log_and_keeps_the_page() -> None:
    async with open_stage() as stage:
        view = await open_window(stage, Phase.FAILED)
        assert "Refresh" not in view.buttons.values()
        await press(stage, view, "Older")
        view = await stage.view(f"Page {PAGES - 1} of {PAGES}")
        await press(stage, view, "Post as file")
        view = await stage.view("Posted as a file in the thread.")
        assert f"Page {PAGES - 1} of {PAGES}" in view.plain
        assert len(stage.slack.files) == 1
        assert len(stage.slack.thread(await stage.live_message())) == 1


def long_log() -> str:
    lines = [f"line {number:05d} " + "x" * 40 for number in range(600)]
    lines[10] = "ERROR: it broke here"
    return "\n".join(lines) + "\n"


async def test_log_is_shown_in_pages_while_it_grows() -> None:
    async with open_stage() as stage:
        stage.service.known(a_deployment(id=ONE, app="myapp", phase=Phase.BUILDING), long_log())
        await stage.deploy(f"logs {ONE}")
        view = await stage.view("line 00599")
        await stage.slack.click(stage.ada, view, action_id="log_older")
        view = await stage.view("Page 6 of 7")
        await stage.slack.click(stage.ada, view, action_id="log_first_error")
        view = await stage.view("First error: `ERROR: it broke here`")
        assert view.payload["blocks"][-1]["type"] == "rich_text"  # what was done is above the log
        await stage.slack.click(stage.ada, view, action_id="log_newer")
        view = await stage.view("Page 2 of 7")
        stage.service.logs[ONE] += "and more\n"
        await stage.slack.click(stage.ada, view, action_id="log_newer")
        view = await stage.view("Page 3 of 7")


async def test_deployment_without_a_message_has_no_thread_to_post_into() -> None:
    async with open_stage() as stage:
        stage.service.known(a_deployment(id=ONE, app="myapp", phase=Phase.BUILDING), "one\n")
        await stage.deploy(f"logs {ONE}")
        view = await stage.view("one")
        await stage.slack.click(stage.ada, view, action_id="log_post_as_file")
        await stage.view("has no message in Slack")
        assert not stage.slack.files


async def test_refused_upload_is_shown_in_the_modal() -> None:
    async with open_stage() as stage:
        row = a_deployment(id=ONE, app="myapp", phase=Phase.BUILDING)
        stage.service.logs[ONE] = "step 1\n"
        await stage.service.post(row, stage.deploys.id)
        await stage.deploy(f"logs {ONE}")
        view = await stage.view("step 1")
        stage.slack.fail_for_test("files.getUploadURLExternal", error="file_uploads_disabled")
        await stage.slack.click(stage.ada, view, action_id="log_post_as_file")
        view = await stage.view("Uploads are switched off")
        assert "step 1" in str(view.payload)
        assert not stage.slack.files


async def test_long_log_is_searched_only_when_someone_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_window, "SLICE_PAGES", 3)
    monkeypatch.setattr(log_window, "_END_PAGES", 2)
    asked: list[tuple[int | None, int]] = []
    async with open_stage() as stage:
        logs = stage.service.store.logs
        real = logs.pages

        async def pages(deployment_id: str, first: int | None, most: int = 1) -> LogPages:
            asked.append((first, most))
            return await real(deployment_id, first, most)

        monkeypatch.setattr(logs, "pages", pages)
        view = await open_window(stage)
        assert "First error" in view.buttons.values()
        assert asked == [(None, 1)]
        await press(stage, view, "First error")
        view = await stage.view(" !     Build failed")
        assert max(most for _, most in asked) == 3
        stage.service.logs[ONE] = LINES * 2
        asked.clear()
        await press(stage, view, "First error")
        view = await stage.view(log_window.NO_ERROR)
        assert "First error" not in view.buttons.values()
        # The end, slice by slice from the start, and the page that is shown.
        assert asked[:3] == [(None, 2), (0, 3), (3, 3)]
        assert asked[-1][1] == 1
