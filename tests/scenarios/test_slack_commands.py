"""The words of `/deploy`, as typed by people."""

from functools import partial
from pathlib import Path

from bot.deployments.model import Phase, Trigger
from bot.deployments.states import RUNNING
from bot.simulators.slack.model import Message
from tests.scenarios.conftest import World, open_world, shown


async def test_app_and_ref_are_understood_in_every_spelling(world: World) -> None:
    main = world.simulators.forge.sha("myapp", "main")
    login = world.simulators.forge.sha("myapp", "feature/login")
    first = world.simulators.forge.sha("myapp", "v1.0")
    branch = "https://git.example.com/acme/myapp/tree/feature/login"
    # No two of the same ref in a row: the second one would be answered with a link to the first.
    asked = {
        "myapp": main,
        "MyApp main": main,
        "  myapp   `feature/login`  ": login,
        "myapp@v1.0": first,
        f"<{branch}|branch>": login,
        "myapp main to default": main,
        branch: login,
        "Deploy myapp main TO DEFAULT": main,
        "myapp <http://feature/login|feature/login>": login,
        f"myapp {first}": first,
    }
    world.hold()
    for count, text in enumerate(asked, start=1):
        await world.deploy(text)
        await world.looked_up(count)
        if count == 1:
            await world.held()  # the same commit, still waiting, would be linked to
    rows = list(reversed(await world.rows()))
    assert [row.sha for row in rows] == list(asked.values())
    assert {row.trigger for row in rows} == {Trigger.COMMAND}
    assert {row.requested_by.user for row in rows} == {world.ada.id}
    assert world.slack.ephemerals(world.ada) == []


async def test_known_short_commit_is_resolved_at_once(world: World) -> None:
    main = world.simulators.forge.sha("myapp", "main")
    login = world.simulators.forge.sha("myapp", "feature/login")
    await world.deploy("myapp feature/login")
    await world.ended()
    world.simulators.forge.commit("myapp", "Move on", branch="feature/login")
    world.hold()
    for count, typed in enumerate((main[:8], login[:7].upper()), start=2):
        await world.deploy(f"myapp {typed}")
        await world.looked_up(count)
    # The one is the tip of a branch; the other was one, and this bot deployed it then.
    newest, older, _ = await world.rows()
    assert (newest.sha, older.sha) == (login, main)
    world.let_go()
    await world.ended(3)


async def test_default_ref_comes_from_the_apps_table(tmp_path: Path) -> None:
    (tmp_path / "deploybot.toml").write_text('[apps.myapp]\ndefault_ref = "feature/login"\n')
    async with open_world(tmp_path) as world:
        await world.start_bot()
        await world.deploy("myapp")
        await world.until_message("feature/login")
        (row,) = await world.ended()
        assert row.sha == world.simulators.forge.sha("myapp", "feature/login")


async def test_app_named_like_a_command_is_not_deployed_by_it(tmp_path: Path) -> None:
    said = {
        "unlock myapp": "myapp is not locked",
        "Queue": "Nothing runs or waits.",
        "LOCK myapp": "*myapp* is locked by",
    }
    async with open_world(tmp_path) as world:
        words = [text.split(maxsplit=1)[0].lower() for text in said]
        for word in words:
            world.simulators.dokku.create_app(word)
        await world.start_bot()
        for text, answer in said.items():
            await world.deploy(text)

            def answered(answer: str = answer) -> bool:
                found = [*world.messages, *world.slack.ephemerals(world.ada)]
                return any(answer in shown(one) for one in found)

            await world.slack.until(answered)
        for app in ("myapp", *words):
            assert await world.rows(app) == []


MISTAKES = (
    ("myap main", "`myapp`"),
    ("myapp no-such-branch", "no-such-branch"),
    ("myapp mian", "commit mian. Did you mean `/deploy myapp main`?"),
    ("myapp status", "Did you mean `/deploy status myapp`?"),
    ("myapp ..", "not a valid branch, tag or commit"),
    ("my_app main", "not a valid app name"),
    ("myapp main to mars", "There is no server mars"),
    ("myapp main right now please", "I don't understand"),
    ("@grace main", "name of a person, channel or group"),
    ("status nothing", "There is no app nothing"),
    ("history", "Which app or deployment? Use `/deploy history APP`. The Home tab"),
    ("cancel myapp", "No deployment of `myapp` was found"),
    ("retry 01K9ZB0000000000000000001A", "No deployment"),
    ("rollback myapp", "No earlier release of myapp was proven live"),
)


async def test_mistake_is_one_line_with_the_next_step(world: World) -> None:
    for count, (text, said) in enumerate(MISTAKES):
        await world.deploy(text)
        answers = await world.slack.until(partial(_answers_after, world, count))
        assert [said in shown(one) for one in answers] == [True], text
    assert len(world.slack.ephemerals(world.ada)) == len(MISTAKES)
    assert world.messages == []
    assert await world.rows() == []
    assert world.slack.notices == []


def _answers_after(world: World, count: int) -> list[Message]:
    """What ada alone was answered after the first answers."""
    return world.slack.ephemerals(world.ada)[count:]


async def test_server_is_required_for_an_app_on_two_servers(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.second_server("staging")
        await world.start_bot()
        await world.deploy("myapp main")
        await world.whispered("On which server?", "default", "staging")
        assert world.messages == []
        await world.deploy("myapp main to Staging")
        await world.until_message("to staging")
        (row,) = await world.rows()
        assert row.server == "staging"


async def test_only_the_requester_sees_the_answers_to_questions(world: World) -> None:
    await world.deploy("status")
    await world.whispered("Nothing is running or queued.")
    await world.deploy("apps")
    await world.whispered("Apps the bot can deploy", "`myapp`")
    await world.deploy("HELP")
    await world.whispered("/deploy status", "/deploy rollback")

    world.hold()
    await world.deploy()
    await world.held()
    (row,) = await world.rows()
    await world.deploy("status")
    await world.whispered("1 deployment running or queued", "Deploying myapp")
    await world.deploy("Status myapp")
    await world.whispered("*myapp*: ", "Deploying myapp")
    await world.deploy(f"status {row.id[-6:].lower()}")
    await world.whispered("Deploying myapp", row.id)
    world.let_go()
    await world.ended()
    await world.deploy("history MYAPP")
    await world.whispered("Latest deployments", "Succeeded")
    assert len(world.messages) == 1
    assert len(world.slack.ephemerals(world.ada)) == 7


async def test_logs_command_opens_the_modal(world: World) -> None:
    await world.deploy()
    (row,) = await world.ended()
    await world.deploy("logs myapp")
    view = await world.viewed("Application deployed:")
    assert row.id in view.plain
    await world.slack.close(world.ada, view)
    await world.deploy(f"LOGS {row.id}")
    await world.viewed("Application deployed:")
    assert world.slack.files == []
    assert world.slack.ephemerals(world.ada) == []


async def test_cancel_takes_the_running_deployment_then_the_first_waiting_one(world: World) -> None:
    world.hold()
    await world.deploy("myapp main")
    await world.held()
    await world.deploy("myapp feature/login")
    await world.deploy("myapp v1.0")
    await world.posted(3)
    third, second, first = await world.rows()
    await world.deploy(f"cancel {second.id}")
    await world.whispered("was queued and is now cancelled")
    now = {row.id: row.phase for row in await world.rows()}
    assert now[second.id] is Phase.CANCELLED
    assert now[third.id] is Phase.QUEUED
    assert now[first.id] in RUNNING
    await world.deploy("cancel myapp")
    await world.whispered("Cancelling myapp", "`main`")
    await world.ended(2)
    world.let_go()
    rows = {row.id: row for row in await world.ended(3)}
    assert rows[first.id].phase is Phase.CANCELLED
    assert rows[third.id].phase is Phase.SUCCEEDED
    await world.deploy(f"cancel {first.id}")
    await world.whispered("has already ended")


async def test_retry_resolves_the_same_ref_again(world: World) -> None:
    world.now_behaves("build_fails")
    await world.deploy("myapp main")
    (failed,) = await world.ended()
    newer = world.simulators.forge.commit("myapp", "Fix the build")
    world.now_behaves("ok")
    await world.deploy("retry myapp")
    new, _old = await world.ended(2)
    assert (new.phase, new.sha, new.retry_of) == (Phase.SUCCEEDED, newer, failed.id)
    assert newer != failed.sha
    await world.until_message("Deployed", "(retry)")
    await world.deploy("retry myapp")
    await world.whispered("That deployment succeeded")
    assert len(await world.rows()) == 2


async def test_rollback_accepts_only_commits_proven_live(quick: World) -> None:
    before = _live(quick)
    await quick.deploy("myapp main")
    (first,) = await quick.ended()
    await quick.deploy("rollback myapp")
    await quick.whispered(f"to `{before[:7]}`", "not verified by deploybot")  # asks first
    await quick.deploy(f"rollback myapp {before}")
    await quick.whispered(f"never proved `{before}` live for myapp")
    await quick.deploy("myapp feature/login")
    second = (await quick.ended(2))[0]
    await quick.deploy("ROLLBACK myapp")
    back = (await quick.ended(3))[0]
    assert (back.phase, back.sha, back.rollback_of) == (Phase.SUCCEEDED, first.sha, second.id)
    assert _live(quick) == first.sha
    await quick.until_message("Deployed", "(rollback)")
    await quick.deploy(f"rollback myapp {first.sha[:7]}")
    await quick.whispered(f"`{first.sha[:7]}` is already live")
    await quick.deploy(f"rollback myapp {second.sha[:7]}")
    forth = (await quick.ended(4))[0]
    assert (forth.sha, forth.rollback_of) == (second.sha, back.id)


def _live(world: World) -> str:
    (sha,) = {one.sha for one in world.simulators.dokku.live("myapp").values()}
    return sha


async def test_every_text_names_the_command_as_the_settings_do(tmp_path: Path) -> None:
    async with open_world(tmp_path, command="/ship") as world:
        await world.start_bot()
        await world.deploy("help")
        assert "/ship logs APP|ID" in await world.whispered("Commands:")
        # Nobody types the command here: its name comes from the settings.
        await world.slack.say(world.ada, world.deploys, "@deploybot rollback myapp")
        await world.whispered("`/ship myapp")
        await world.deploy()
        await world.ended()
        assert "/deploy" not in "\n".join(map(shown, world.messages))
