import asyncio
from collections.abc import Sequence

import pytest

from bot.deployments.model import AppPolicy, Phase, Trigger
from bot.errors import Declined, StoreError
from bot.simulators.slack.model import View
from bot.slack.limits import SlackLimits
from tests.support.builders import a_deployment
from tests.support.fake_service import FakeService
from tests.support.stage import Stage, open_stage

ONE = "01K9ZB0000000000000000001A"


async def a_form(stage: Stage) -> View:
    await stage.deploy("")
    return await stage.view("Branch, tag or commit")


def titles(view: View) -> list[str]:
    return [block["block_id"] for block in view.blocks if block["type"] == "input"]


async def test_bare_deploy_opens_the_form_and_deploys_into_the_same_channel() -> None:
    async with open_stage() as stage:
        view = await a_form(stage)
        assert titles(view) == ["app", "ref", "server"]
        result = await stage.slack.submit(
            stage.ada, view, {"app": "myapp", "ref": "v2", "server": "staging"}
        )
        assert not result.errors
        await stage.live_message()
        (ask,) = stage.service.requests
        assert (ask.app, ask.ref, ask.server) == ("myapp", "v2", "staging")
        assert (ask.trigger, ask.channel) == (Trigger.FORM, stage.deploys.id)
        assert ask.request_key.startswith(f"view:{view.id}:")
        assert stage.slack.view(stage.ada) is None


async def test_the_same_submission_delivered_again_starts_nothing_more() -> None:
    async with open_stage() as stage:
        view = await a_form(stage)
        await stage.slack.submit(stage.ada, view, {"app": "myapp"})
        await stage.live_message()
        await stage.slack.redeliver_last_for_test("interactive")
        await stage.deploy("apps")
        await stage.whisper()
        assert len(stage.service.requests) == 1


async def test_mistakes_go_back_into_the_form_and_can_be_mended() -> None:
    async with open_stage() as stage:
        stage.service.apps = ()
        view = await a_form(stage)
        stage.service.apps = ("myapp",)
        result = await stage.slack.submit(stage.ada, view, {"app": "myap", "ref": "a..b"})
        assert result.errors["app"].endswith("Did you mean myapp?")
        assert "not a valid branch" in result.errors["ref"]
        assert not stage.service.requests
        result = await stage.slack.submit(stage.ada, view, {"app": "MyApp", "ref": "main"})
        assert not result.errors
        await stage.live_message()
        assert stage.service.requests[0].app == "myapp"


async def test_what_is_declined_later_is_told_in_the_channel_to_the_asker_alone() -> None:
    async with open_stage() as stage:
        await stage.deploy("", stage.slack.channel("random"))
        view = await stage.view("Branch, tag or commit")
        await stage.slack.submit(stage.ada, view, {"app": "myapp"})
        direct = stage.slack.dm(stage.ada)
        (told,) = await stage.slack.until(lambda: stage.slack.messages(direct))
        assert "/invite" in told.text


class SlowApps(FakeService):
    """Its list of apps comes when the test says so."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.client)
        self.answer = asyncio.Event()

    async def known_apps(self) -> Sequence[AppPolicy]:
        await self.answer.wait()
        return await self.queries.known_apps()


async def test_the_form_opens_before_the_list_of_apps_has_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_stage() as stage:
        slow = SlowApps(stage)
        monkeypatch.setattr(stage.service.queries, "known_apps", slow.known_apps)
        await stage.deploy("")
        await stage.view("Looking up what can be deployed")
        slow.answer.set()
        view = await stage.view("Choose an app")
        await stage.slack.submit(stage.ada, view, {"app": "shop"})
        await stage.live_message()


async def test_a_form_that_was_closed_meanwhile_is_nobodys_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_stage() as stage:
        slow = SlowApps(stage)
        monkeypatch.setattr(stage.service.queries, "known_apps", slow.known_apps)
        await stage.deploy("")
        await stage.slack.close(stage.ada, await stage.view("Looking up"))
        slow.answer.set()
        await stage.slack.until(
            lambda: any(call.method == "views.update" for call in stage.slack.calls)
        )
        await stage.deploy("status")
        assert await stage.whisper() == "Nothing is being deployed."


async def test_a_form_opens_though_nothing_can_be_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def down() -> Sequence[AppPolicy]:
        raise StoreError("the database does not answer")

    async with open_stage() as stage:
        monkeypatch.setattr(stage.service.queries, "known_apps", down)
        view = await a_form(stage)
        assert view.blocks[0]["element"]["type"] == "plain_text_input"


async def test_a_server_that_does_not_exist_is_a_mistake_at_its_field(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_stage() as stage:
        view = await a_form(stage)

        def gone(app: str, server: str | None = None) -> AppPolicy:
            raise Declined(f"{app} is not on `{server}` any more.")

        monkeypatch.setattr(stage.service.queries.catalog, "policy", gone)
        chosen = {"app": "myapp", "server": "staging"}
        result = await stage.slack.submit(stage.ada, view, chosen)
        assert result.errors == {"server": "myapp is not on staging any more."}


async def test_a_name_that_can_be_no_app_is_a_mistake_at_its_field() -> None:
    async with open_stage() as stage:
        stage.service.apps = ()
        view = await a_form(stage)
        result = await stage.slack.submit(stage.ada, view, {"app": "my_app"})
        assert "not a valid app name" in result.errors["app"]


async def test_a_list_of_apps_that_is_late_holds_no_form_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_stage(limits=SlackLimits(form_check_s=0.01)) as stage:
        view = await a_form(stage)
        slow = SlowApps(stage)
        monkeypatch.setattr(stage.service.queries, "known_apps", slow.known_apps)
        result = await stage.slack.submit(stage.ada, view, {"app": "myapp"})
        assert result.acked
        await stage.live_message()


async def test_a_check_that_breaks_leaves_the_decision_to_the_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken() -> Sequence[AppPolicy]:
        raise ZeroDivisionError

    async with open_stage() as stage:
        view = await a_form(stage)
        monkeypatch.setattr(stage.service.queries, "known_apps", broken)
        result = await stage.slack.submit(stage.ada, view, {"app": "myapp"})
        assert result.acked
        await stage.live_message()


async def test_a_slow_form_that_slack_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_stage() as stage:
        slow = SlowApps(stage)
        monkeypatch.setattr(stage.service.queries, "known_apps", slow.known_apps)
        stage.slack.fail_for_test("views.open", error="expired_trigger_id")
        await stage.deploy("")
        assert "try again" in await stage.whisper()


async def test_a_slack_too_slow_for_the_trigger_is_told() -> None:
    async with open_stage() as stage:
        stage.slack.fail_for_test("views.open", error="expired_trigger_id")
        await stage.deploy("")
        assert "try again" in await stage.whisper()


def long_log() -> str:
    lines = [f"line {number:05d} " + "x" * 40 for number in range(600)]
    lines[10] = "ERROR: it broke here"
    return "\n".join(lines) + "\n"


async def test_the_log_is_paged_and_read_on() -> None:
    async with open_stage() as stage:
        stage.service.known(a_deployment(id=ONE, app="myapp", phase=Phase.BUILDING), long_log())
        await stage.deploy(f"logs {ONE}")
        view = await stage.view("line 00599")
        await stage.slack.click(stage.ada, view, action_id="log_older")
        view = await stage.view("Page 5 of 6")
        await stage.slack.click(stage.ada, view, action_id="log_first_error")
        view = await stage.view("it broke here")
        await stage.slack.click(stage.ada, view, action_id="log_newer")
        view = await stage.view("Page 2 of 6")
        stage.service.logs[ONE] += "and more\n"
        await stage.slack.click(stage.ada, view, action_id="log_newer")
        view = await stage.view("Page 3 of 6")


async def test_refresh_follows_the_end_of_the_log() -> None:
    async with open_stage() as stage:
        stage.service.known(a_deployment(id=ONE, app="myapp", phase=Phase.BUILDING), "one\n")
        await stage.deploy(f"logs {ONE}")
        view = await stage.view("one")
        stage.service.logs[ONE] = long_log()
        await stage.slack.click(stage.ada, view, action_id="log_refresh")
        await stage.view("line 00599")


async def test_post_as_file_uploads_into_the_thread_and_says_so() -> None:
    async with open_stage() as stage:
        row = a_deployment(id=ONE, app="myapp", phase=Phase.BUILDING)
        stage.service.logs[ONE] = "step 1\n"
        await stage.service.post(row, stage.deploys.id)
        message = await stage.live_message()
        await stage.deploy(f"logs {ONE}")
        view = await stage.view("step 1")
        await stage.slack.click(stage.ada, view, action_id="log_post_as_file")
        await stage.view("Posted as a file")
        assert len(stage.slack.files) == 1
        assert len(stage.slack.thread(message)) == 1


async def test_without_a_message_there_is_no_thread_to_post_into() -> None:
    async with open_stage() as stage:
        stage.service.known(a_deployment(id=ONE, app="myapp", phase=Phase.BUILDING), "one\n")
        await stage.deploy(f"logs {ONE}")
        view = await stage.view("one")
        await stage.slack.click(stage.ada, view, action_id="log_post_as_file")
        await stage.view("has no message in Slack")
        assert not stage.slack.files


async def test_an_upload_that_slack_refuses_is_said_in_the_modal() -> None:
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
