import asyncio
from collections.abc import Sequence

import pytest

from bot.deployments.live.reader import LiveReport
from bot.deployments.model import AppPolicy, Live, Phase, Trigger
from bot.deployments.refs import NotThere
from bot.errors import Declined, StoreError
from bot.simulators.slack.model import View
from bot.simulators.slack.simulator import Mode
from bot.slack.limits import SlackLimits
from tests.support.builders import NOW, SHA, a_deployment
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
        assert stage.slack.view(stage.ada) is not None
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


async def test_ref_that_the_repository_does_not_have_is_a_mistake_at_its_field() -> None:
    async with open_stage() as stage:
        view = await a_form(stage)
        stage.service.refs.answer = NotThere()
        result = await stage.slack.submit(stage.ada, view, {"app": "myapp", "ref": "nope"})
        assert result.errors == {"ref": "The repository of myapp has no branch or tag nope."}
        stage.service.refs.listed = [("main", "branch"), ("feature/login", "branch")]
        result = await stage.slack.submit(stage.ada, view, {"app": "shop", "ref": "logni"})
        assert result.errors["ref"].endswith("no branch or tag logni. Did you mean feature/login?")
        assert not stage.service.requests


async def test_refs_are_offered_while_someone_types_and_free_text_always() -> None:
    async with open_stage() as stage:
        stage.service.refs.listed = [("main", "branch"), ("feature/login", "branch"), ("v2", "tag")]
        view = await a_form(stage)
        assert await stage.slack.suggest(stage.ada, view, "ref") == []  # no app is chosen yet
        await stage.slack.choose(stage.ada, view, "app", "myapp")
        offered = await stage.slack.suggest(stage.ada, view, "ref")
        assert [one["value"] for one in offered] == ["main", "feature/login", "v2"]
        offered = await stage.slack.suggest(stage.ada, view, "ref", "login")
        assert [(one["value"], one["description"]["text"]) for one in offered] == [
            ("feature/login", "branch"),
            ("login", "as typed"),
        ]
        assert not stage.slack.notices


async def test_slow_repository_delays_no_answer() -> None:
    async with open_stage(limits=SlackLimits(options_s=0.01)) as stage:
        stage.service.refs.takes_s = 60
        view = await a_form(stage)
        await stage.slack.choose(stage.ada, view, "app", "myapp")
        (typed,) = await stage.slack.suggest(stage.ada, view, "ref", "v2")
        assert typed["value"] == "v2"


@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_chosen_app_shows_what_is_live_runs_and_waits(mode: Mode) -> None:
    async with open_stage(mode) as stage:
        live = a_deployment(
            id=ONE, app="shop", sha=SHA, phase=Phase.SUCCEEDED, live=Live.NEW, finished_at=NOW
        )
        stage.service.known(live)
        running = "01K9ZB0000000000000000002B"
        stage.service.known(a_deployment(id=running, app="shop", ref="v9", phase=Phase.BUILDING))
        view = await a_form(stage)
        await stage.slack.choose(stage.ada, view, "app", "shop")
        view = await stage.view("`v9`")
        facts = view.blocks[-1]["elements"][0]["text"]
        assert "*production*: " in facts
        assert "Building" in facts
        assert view.values["app"]["app"]["selected_option"]["value"] == "shop"
        await stage.slack.submit(stage.ada, view, {"ref": "v10"})
        await stage.live_message()
        (ask,) = stage.service.requests
        assert (ask.app, ask.ref) == ("shop", "v10")


async def test_late_look_up_never_overwrites_a_later_choice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_stage() as stage:
        slow, real = asyncio.Event(), stage.service.queries.live_state
        asked = asyncio.Event()

        async def live_state(app: str, *, server: str | None = None) -> Sequence[LiveReport]:
            if app == "myapp":
                asked.set()
                await slow.wait()
            return await real(app, server=server)

        monkeypatch.setattr(stage.service.queries, "live_state", live_state)
        view = await a_form(stage)
        await stage.slack.choose(stage.ada, view, "app", "myapp")
        await asked.wait()
        await stage.slack.choose(stage.ada, view, "app", "shop")
        await stage.view("There is no app shop")
        slow.set()
        await stage.slack.until(
            lambda: [call.outcome for call in stage.slack.calls if call.outcome == "hash_conflict"]
        )
        assert "There is no app shop" in str(view.payload)
        await stage.slack.submit(stage.ada, view)
        await stage.live_message()
        assert stage.service.requests[0].app == "shop"


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
