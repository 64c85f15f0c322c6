import asyncio
from collections.abc import Sequence

import pytest

from bot.deployments.model import AppPolicy, Trigger
from bot.errors import Declined, StoreError
from bot.simulators.slack.model import View
from bot.slack.limits import SlackLimits
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


async def test_redelivered_submission_starts_nothing() -> None:
    async with open_stage() as stage:
        view = await a_form(stage)
        await stage.slack.submit(stage.ada, view, {"app": "myapp"})
        await stage.live_message()
        await stage.slack.redeliver_last_for_test("interactive")
        await stage.deploy("apps")
        await stage.whisper()
        assert len(stage.service.requests) == 1


async def test_mistakes_are_shown_in_the_form_and_can_be_corrected() -> None:
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


async def test_refusal_after_the_form_is_shown_only_to_the_requester() -> None:
    async with open_stage() as stage:
        await stage.deploy("", stage.slack.channel("random"))
        view = await stage.view("Branch, tag or commit")
        await stage.slack.submit(stage.ada, view, {"app": "myapp"})
        direct = stage.slack.dm(stage.ada)
        (seen,) = await stage.slack.until(lambda: stage.slack.messages(direct))
        assert "/invite" in seen.text


class SlowApps(FakeService):
    """Its list of apps comes when the test says so."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.client)
        self.answer = asyncio.Event()

    async def known_apps(self) -> Sequence[AppPolicy]:
        await self.answer.wait()
        return await self.queries.known_apps()


async def test_form_opens_before_the_apps_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_stage() as stage:
        slow = SlowApps(stage)
        monkeypatch.setattr(stage.service.queries, "known_apps", slow.known_apps)
        await stage.deploy("")
        await stage.view("Looking up the apps")
        slow.answer.set()
        view = await stage.view("Choose an app")
        await stage.slack.submit(stage.ada, view, {"app": "shop"})
        await stage.live_message()


async def test_form_closed_meanwhile_is_not_an_error(
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
        assert await stage.whisper() == "Nothing is running or queued."


async def test_form_opens_if_the_apps_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def down() -> Sequence[AppPolicy]:
        raise StoreError("the database does not answer")

    async with open_stage() as stage:
        monkeypatch.setattr(stage.service.queries, "known_apps", down)
        view = await a_form(stage)
        assert view.blocks[0]["element"]["type"] == "plain_text_input"


async def test_unknown_server_is_a_mistake_at_its_field(
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


async def test_invalid_app_name_is_a_mistake_at_its_field() -> None:
    async with open_stage() as stage:
        stage.service.apps = ()
        view = await a_form(stage)
        result = await stage.slack.submit(stage.ada, view, {"app": "my_app"})
        assert "not a valid app name" in result.errors["app"]


async def test_slow_list_of_apps_does_not_delay_the_form(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_stage(limits=SlackLimits(form_check_s=0.01)) as stage:
        view = await a_form(stage)
        slow = SlowApps(stage)
        monkeypatch.setattr(stage.service.queries, "known_apps", slow.known_apps)
        result = await stage.slack.submit(stage.ada, view, {"app": "myapp"})
        assert result.acked
        await stage.live_message()


async def test_failed_check_leaves_the_decision_to_the_service(
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


async def test_refused_slow_form_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_stage() as stage:
        slow = SlowApps(stage)
        monkeypatch.setattr(stage.service.queries, "known_apps", slow.known_apps)
        stage.slack.fail_for_test("views.open", error="expired_trigger_id")
        await stage.deploy("")
        assert "try again" in await stage.whisper()


async def test_expired_trigger_is_reported() -> None:
    async with open_stage() as stage:
        stage.slack.fail_for_test("views.open", error="expired_trigger_id")
        await stage.deploy("")
        assert "try again" in await stage.whisper()
