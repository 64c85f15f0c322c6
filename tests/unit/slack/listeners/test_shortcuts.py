import pytest

from bot.deployments.model import Phase, Trigger
from bot.simulators.slack.model import Message, View
from bot.slack.listeners.shortcuts import DEPLOY_FROM_MESSAGE, DEPLOYMENT_STATUS
from bot.slack.manifest import manifest
from tests.support.builders import a_deployment
from tests.support.stage import Stage, open_stage

ONE = "01K9ZB0000000000000000001A"


async def choose(stage: Stage, message: Message) -> View:
    await stage.slack.shortcut(stage.ada, message, callback_id=DEPLOY_FROM_MESSAGE)
    return await stage.view("Branch, tag or commit")


def test_manifest_has_the_message_actions() -> None:
    assert DEPLOY_FROM_MESSAGE in str(manifest())
    assert DEPLOYMENT_STATUS in str(manifest())


@pytest.mark.parametrize(
    ("text", "app", "ref"),
    [
        ("please ship myapp@fix-3", "myapp", "fix-3"),
        ("https://github.com/acme/shop/pull/5 is ready", "shop", "refs/pull/5/head"),
        ("shop v2", "shop", "v2"),
    ],
)
async def test_form_is_filled_from_the_message_and_deploys_on_submit(
    text: str, app: str, ref: str
) -> None:
    async with open_stage() as stage:
        message = await stage.slack.say(stage.ada, stage.deploys, text)
        view = await choose(stage, message)
        await stage.slack.submit(stage.ada, view)
        await stage.slack.until(lambda: stage.service.requests)
        (ask,) = stage.service.requests
        assert (ask.app, ask.ref) == (app, ref)
        assert (ask.trigger, ask.channel) == (Trigger.MESSAGE_ACTION, stage.deploys.id)


async def test_form_says_that_the_message_names_no_app() -> None:
    async with open_stage() as stage:
        message = await stage.slack.say(stage.ada, stage.deploys, "good morning everybody")
        view = await choose(stage, message)
        assert "I found no app" in str(view.payload)


@pytest.mark.parametrize("found_by", ["place", "id"])
async def test_live_message_offers_the_same_deployment_again(found_by: str) -> None:
    async with open_stage() as stage:
        row = a_deployment(id=ONE, app="shop", ref="v7", server="staging", phase=Phase.FAILED)
        await stage.service.post(row, stage.deploys.id)
        if found_by == "id":
            stage.service.known(row)
        view = await choose(stage, await stage.live_message())
        await stage.slack.submit(stage.ada, view)
        await stage.slack.until(lambda: stage.service.requests)
        (ask,) = stage.service.requests
        assert (ask.app, ask.ref, ask.server) == ("shop", "v7", "staging")


async def test_reply_in_a_deployments_thread_is_about_its_app() -> None:
    async with open_stage() as stage:
        row = a_deployment(id=ONE, app="shop", ref="v7", phase=Phase.FAILED)
        await stage.service.post(row, stage.deploys.id)
        root = await stage.live_message()
        reply = await stage.slack.say(
            stage.ada, stage.deploys, "fixed in a1b2c3d", thread_ts=root.ts
        )
        view = await choose(stage, reply)
        await stage.slack.submit(stage.ada, view)
        await stage.slack.until(lambda: stage.service.requests)
        assert (stage.service.requests[0].app, stage.service.requests[0].ref) == ("shop", "a1b2c3d")


async def test_several_things_in_a_message_are_choices() -> None:
    async with open_stage() as stage:
        message = await stage.slack.say(stage.ada, stage.deploys, "myapp@fix-3 or shop@v2")
        view = await choose(stage, message)
        assert "names 2 things" in str(view.payload)
        await stage.slack.choose(stage.ada, view, "form_choice", "1")
        view = await stage.view("app-1")
        result = await stage.slack.submit(stage.ada, view, {"ref-1": "a..b"})
        assert list(result.errors) == ["ref-1"]
        await stage.slack.submit(stage.ada, view, {"ref-1": "v3"})
        await stage.slack.until(lambda: stage.service.requests)
        assert [(one.app, one.ref) for one in stage.service.requests] == [("shop", "v3")]


@pytest.mark.parametrize("below", [False, True])
async def test_status_of_a_message_is_answered_in_the_deployments_thread(below: bool) -> None:
    async with open_stage() as stage:
        row = a_deployment(id=ONE, app="shop", phase=Phase.BUILDING)
        await stage.service.post(row, stage.deploys.id)
        root = await stage.live_message()
        chosen = root
        if below:
            chosen = await stage.slack.say(stage.ada, stage.deploys, "how?", thread_ts=root.ts)
        await stage.slack.shortcut(stage.ada, chosen, callback_id=DEPLOYMENT_STATUS)
        (said,) = await stage.replies(root)
        assert "Building" in said


async def test_status_of_another_message_says_what_to_do_only_to_the_person() -> None:
    async with open_stage() as stage:
        message = await stage.slack.say(stage.ada, stage.deploys, "good morning")
        await stage.slack.shortcut(stage.ada, message, callback_id=DEPLOYMENT_STATUS)
        assert "belongs to no deployment" in await stage.whisper()
        mallory = stage.slack.user("mallory")
        assert not stage.slack.ephemerals(mallory)
