import pytest

from bot.deployments.model import Live, Phase, Trigger
from tests.support.builders import OLD_SHA, SHA, a_deployment
from tests.support.stage import Stage, open_stage

ONE = "01K9ZB0000000000000000001A"
TWO = "01K9ZB0000000000000000002B"
OLDEST = "01K9ZA0000000000000000003C"


async def test_command_starts_a_deployment_and_its_message_is_the_answer() -> None:
    async with open_stage() as stage:
        await stage.deploy("myapp `main` to production")
        message = await stage.live_message()
        assert "myapp" in message.text
        (ask,) = stage.service.requests
        assert (ask.app, ask.ref, ask.server) == ("myapp", "main", "production")
        assert ask.trigger is Trigger.COMMAND
        assert ask.channel == stage.deploys.id
        assert (ask.actor.user, ask.actor.team, ask.actor.name) == (
            stage.ada.id,
            stage.slack.workspace.team_id,
            "ada",
        )
        assert ask.request_key.startswith("command:")
        assert stage.service.access.home_team == stage.slack.workspace.team_id
        assert not stage.slack.ephemerals(stage.ada)
        assert not stage.slack.notices


async def test_redelivered_command_starts_nothing() -> None:
    async with open_stage() as stage:
        await stage.deploy("myapp")
        await stage.live_message()
        await stage.slack.redeliver_last_for_test("slash_commands")
        await stage.deploy("apps")
        await stage.whisper()
        assert len(stage.service.requests) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("myap main", "Did you mean `myapp`?"),
        ("myapp a..b", "not a valid branch, tag or commit"),
        ("my_app", "not a valid app name"),
        ("myapp main and more", "I don't understand"),
        ("logs", "Which app or deployment?"),
        ("cancel nothing", "No deployment of"),
        ("APPROVE myapp", "is waiting for an approval"),
        ("reject", "Which app or deployment?"),
        ("rollback shop", "No deployment of"),
        ("https://example.com/ main", "This link names no repository"),
        ("<https://github.com/acme/myapp/issues/3>", "This link names no repository"),
        ("<https://github.com/acme/myapp/actions/runs/3>", "This link names no repository"),
        ("myapp <!channel>", "name of a person, channel or group"),
        ("myapp <@U1|ada>", "name of a person, channel or group"),
        ("myapp user's-name", "Dokku cannot be given such a name safely"),
    ],
)
async def test_mistake_gets_one_line_that_only_the_caller_sees(text: str, said: str) -> None:
    async with open_stage() as stage:
        await stage.deploy(text)
        assert said in await stage.whisper()
        assert len(stage.slack.ephemerals(stage.ada)) == 1
        assert not stage.slack.messages(stage.deploys)
        assert not stage.service.requests


async def test_internal_error_is_reported_without_details() -> None:
    async with open_stage() as stage:
        stage.service.broken = True
        await stage.deploy("myapp")
        said = await stage.whisper()
        assert "Something went wrong" in said
        assert "4242" not in said


async def test_refused_post_tells_the_caller_how_to_invite_the_bot() -> None:
    async with open_stage() as stage:
        await stage.deploy("myapp", stage.slack.channel("random"))
        assert "/invite" in await stage.whisper()


async def test_link_works_as_app_and_ref() -> None:
    async with open_stage() as stage:
        await stage.deploy("https://github.com/acme/myapp/pull/7 to staging")
        await stage.live_message()
        (ask,) = stage.service.requests
        assert (ask.app, ask.ref, ask.server) == ("myapp", "refs/pull/7/head", "staging")


async def test_deploy_deploys_an_app_named_like_a_command() -> None:
    async with open_stage() as stage:
        stage.service.apps = ("status",)
        await stage.deploy("deploy status main")
        await stage.live_message()
        assert stage.service.requests[0].app == "status"


async def test_status_lists_running_deployments_or_shows_one() -> None:
    async with open_stage() as stage:
        await stage.deploy("status")
        assert await stage.whisper() == "Nothing is running or queued."
        stage.service.known(a_deployment(id=ONE, app="myapp", phase=Phase.BUILDING))
        await stage.deploy("status")
        said = await stage.whisper(2)
        assert "1 deployment running or queued: 🔵 *Deploying myapp*" in said
        assert "· by @\u2060ada" in said
        await stage.deploy("STATUS myapp")
        assert "Building" in await stage.whisper(3)
        await stage.deploy(f"status {ONE[:10]}")
        assert "Building" in await stage.whisper(4)


async def test_history_lists_the_newest_deployments_of_an_app() -> None:
    async with open_stage() as stage:
        stage.service.known(a_deployment(id=ONE, app="myapp", phase=Phase.FAILED, live=Live.NONE))
        await stage.deploy("history myapp")
        await stage.whisper()
        (seen,) = stage.slack.ephemerals(stage.ada)
        assert "Failed" in str(seen.blocks)


async def test_apps_and_help_are_lists_that_only_the_caller_sees() -> None:
    async with open_stage() as stage:
        await stage.deploy("apps")
        await stage.whisper()
        assert "`myapp`, `shop`" in str(stage.slack.ephemerals(stage.ada)[-1].blocks)
        await stage.deploy("help")
        await stage.whisper(2)
        assert "/deploy logs APP|ID" in str(stage.slack.ephemerals(stage.ada)[-1].blocks)
        assert not stage.slack.messages(stage.deploys)


async def test_answers_name_the_command_as_it_was_typed() -> None:
    async with open_stage(command="/ship") as stage:
        await stage.deploy("help")
        await stage.whisper()
        shown = str(stage.slack.ephemerals(stage.ada)[-1].blocks)
        assert "/ship logs APP|ID" in shown
        assert "/deploy" not in shown
        await stage.deploy("status myapp too many words")
        assert "`/ship help` lists the commands" in await stage.whisper(2)
        await stage.deploy("statsu myapp")
        assert "Did you mean `/ship status myapp`?" in await stage.whisper(3)


async def test_cancel_answers_with_the_services_sentence() -> None:
    async with open_stage() as stage:
        stage.service.known(a_deployment(id=ONE, app="myapp", phase=Phase.BUILDING))
        await stage.deploy("cancel myapp")
        assert await stage.whisper() == "Cancelling it."
        ((cancelled, actor, through),) = stage.service.cancels
        assert (cancelled, actor.user, through) == (ONE, stage.ada.id, "command")


async def test_logs_opens_the_modal() -> None:
    async with open_stage() as stage:
        stage.service.known(
            a_deployment(id=ONE, app="myapp", phase=Phase.BUILDING), "step 1\nstep 2\n"
        )
        await stage.deploy("logs myapp")
        await stage.view("step 2")


def with_a_past(stage: Stage) -> None:
    stage.service.known(
        a_deployment(id=OLDEST, app="myapp", phase=Phase.SUCCEEDED, live=Live.NEW, sha=OLD_SHA)
    )
    stage.service.known(
        a_deployment(
            id=ONE,
            app="myapp",
            phase=Phase.SUCCEEDED,
            live=Live.NEW,
            sha=SHA,
            rollback_sha=OLD_SHA,
        )
    )
    stage.service.known(
        a_deployment(id=TWO, app="myapp", phase=Phase.FAILED, live=Live.PREVIOUS, rollback_sha=SHA)
    )


@pytest.mark.parametrize(
    ("text", "ref", "of"),
    [
        ("rollback myapp", OLD_SHA, ONE),
        (f"rollback myapp {OLD_SHA[:8]}", OLD_SHA, ONE),
        (f"rollback {TWO}", SHA, TWO),
        (f"rollback {TWO} {OLD_SHA}", OLD_SHA, ONE),
    ],
)
async def test_rollback_deploys_the_release_before_live(text: str, ref: str, of: str) -> None:
    async with open_stage() as stage:
        with_a_past(stage)
        await stage.deploy(text)
        await stage.live_message()
        (ask,) = stage.service.requests
        assert (ask.ref, ask.rollback_of) == (ref, of)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rollback myapp 0000000", "never proved `0000000` live for myapp"),
        ("rollback myapp 00", "too short"),
        ("rollback myapp main", "is not a commit"),
        ("rollback", "Which app or deployment?"),
    ],
)
async def test_rollback_never_guesses(text: str, said: str) -> None:
    async with open_stage() as stage:
        with_a_past(stage)
        await stage.deploy(text)
        assert said in await stage.whisper()
        assert not stage.service.requests


async def test_rollback_without_an_earlier_release_says_what_to_do() -> None:
    async with open_stage() as stage:
        stage.service.known(a_deployment(id=ONE, app="myapp", phase=Phase.SUCCEEDED, live=Live.NEW))
        await stage.deploy("rollback myapp")
        assert "`/deploy myapp SHA` deploys any commit" in await stage.whisper()


async def test_running_retry_is_not_started_again() -> None:
    async with open_stage() as stage:
        stage.service.known(a_deployment(id=ONE, app="myapp", phase=Phase.FAILED))
        await stage.deploy(f"retry {ONE}")
        await stage.live_message()
        await stage.deploy(f"retry {ONE}")
        assert "already been started" in await stage.whisper()
        assert [ask.retry_of for ask in stage.service.requests] == [ONE]


async def test_unverified_rollback_by_command_asks_first() -> None:
    async with open_stage() as stage:
        row = a_deployment(
            id=ONE,
            app="myapp",
            sha=SHA,
            phase=Phase.SUCCEEDED,
            live=Live.NEW,
            previous_sha=OLD_SHA,
        )
        stage.service.known(row)
        await stage.deploy("rollback myapp")
        assert "*not verified by deploybot*" in await stage.whisper()
        assert not stage.service.requests
        (question,) = stage.slack.ephemerals(stage.ada)
        await stage.slack.click(stage.ada, question, action_id="answer_roll_back")
        await stage.live_message()
        (ask,) = stage.service.requests
        assert (ask.ref, ask.rollback_of) == (OLD_SHA, ONE)
        assert ask.request_key.startswith("command:")
        await stage.slack.until(lambda: not stage.slack.ephemerals(stage.ada))
