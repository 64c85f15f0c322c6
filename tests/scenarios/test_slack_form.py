"""The form: opened by `/deploy` alone or from a message, filled in, corrected, submitted."""

from pathlib import Path

from bot.deployments.model import Phase, Trigger
from bot.simulators.slack.model import View
from tests.scenarios.conftest import World, open_world, shown

FROM_MESSAGE = "deploy_from_message"
TITLE = "Branch, tag or commit"


async def test_bare_command_opens_a_form_that_deploys_into_its_channel(quick: World) -> None:
    await quick.deploy("")
    view = await quick.viewed(TITLE)
    assert view.title == "Deploy an app"
    assert _filled(view) == {"app": None, "ref": None}
    empty = await quick.slack.submit(quick.ada, view)
    assert set(empty.errors) == {"app"}
    done = await quick.slack.submit(quick.ada, view, {"app": "myapp", "ref": "feature/login"})
    assert done.errors == {}
    assert quick.slack.view(quick.ada) is None
    await quick.until_message("Deployed", "`feature/login`")
    (row,) = await quick.rows()
    assert row.trigger is Trigger.FORM
    assert row.requested_by.user == quick.ada.id
    assert row.message.channel == quick.deploys.id


async def test_form_without_a_ref_deploys_the_default(quick: World) -> None:
    await quick.deploy("")
    view = await quick.viewed(TITLE)
    await quick.slack.submit(quick.ada, view, {"app": "myapp"})
    (row,) = await quick.ended()
    assert row.sha == quick.simulators.forge.sha("myapp", "main")


async def test_mistake_is_shown_at_its_field_and_can_be_corrected(quick: World) -> None:
    quick.simulators.server.stall_for_test()
    await quick.deploy("")
    view = await quick.viewed(TITLE)  # nothing is known of the apps: their field is typed into
    quick.simulators.server.heal_for_test()
    wrong = await quick.slack.submit(quick.ada, view, {"app": "my_app", "ref": "a..b"})
    assert set(wrong.errors) == {"app", "ref"}
    assert "not a valid app name" in wrong.errors["app"]
    assert "is not a valid branch, tag or commit" in wrong.errors["ref"]
    wrong = await quick.slack.submit(quick.ada, view, {"app": "myap", "ref": "main"})
    assert wrong.errors == {
        "app": "There is no app myap. Did you mean myapp?",
    }
    assert quick.messages == []
    assert await quick.rows() == []
    done = await quick.slack.submit(quick.ada, view, {"app": "MyApp"})
    assert done.errors == {}
    (row,) = await quick.ended()
    assert row.phase is Phase.SUCCEEDED


async def test_form_opens_in_time_if_dokku_does_not_answer(quick: World) -> None:
    quick.simulators.server.stall_for_test()
    result = await quick.deploy("")
    assert result.acked
    view = await quick.viewed(TITLE)
    opened = [call for call in quick.slack.calls if call.method == "views.open"]
    assert [call.outcome for call in opened] == ["ok"]
    await quick.deploy("apps")
    await quick.whispered("no apps found; the server may not be answering")
    quick.simulators.server.heal_for_test()
    await quick.slack.submit(quick.ada, view, {"app": "myapp", "ref": "main"})
    (row,) = await quick.ended()
    assert row.phase is Phase.SUCCEEDED


async def test_queries_to_a_silent_server_end_when_the_bot_stops(quick: World) -> None:
    quick.simulators.server.stall_for_test()
    await quick.deploy("apps")
    await quick.whispered("no apps found; the server may not be answering")
    await quick.stop_bot()


async def test_missing_ref_is_a_mistake_at_its_field(quick: World) -> None:
    await quick.deploy("")
    view = await quick.viewed(TITLE)
    wrong = await quick.slack.submit(quick.ada, view, {"app": "myapp", "ref": "no-such-branch"})
    assert wrong.errors == {"ref": "The repository of myapp has no branch or tag no-such-branch."}
    assert quick.messages == []
    assert await quick.rows() == []
    done = await quick.slack.submit(quick.ada, view, {"ref": "feature/login"})
    assert done.errors == {}
    await quick.until_message("Deployed", "`feature/login`")


async def test_form_offers_the_refs_of_the_repository_and_shows_what_is_live(quick: World) -> None:
    await quick.deploy("myapp main")
    await quick.until_message("Deployed")
    (row,) = await quick.rows()
    quick.hold()
    await quick.deploy("myapp v1.0")
    await quick.held()
    await quick.deploy("")
    view = await quick.viewed(TITLE)
    await quick.slack.choose(quick.ada, view, "app", "myapp")
    await quick.viewed("Looking up what is live")
    view = await quick.viewed(f"`{row.sha[:7]}`", "is live", "*Deploying myapp* `v1.0`")
    offered = await quick.slack.suggest(quick.ada, view, "ref")
    assert [(one["value"], one["description"]["text"]) for one in offered] == [
        ("main", "branch"),
        ("feature/login", "branch"),
        ("v1.0", "tag"),
    ]
    quick.let_go()
    await quick.until_message("Deployed", "`v1.0`")


async def test_form_asks_for_the_server_if_there_are_two(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.second_server("staging")
        await world.start_bot()
        await world.deploy("")
        view = await world.viewed("Server")
        wrong = await world.slack.submit(world.ada, view, {"app": "myapp"})
        assert "On which server?" in wrong.errors["server"]
        await world.slack.submit(world.ada, view, {"app": "myapp", "server": "staging"})
        await world.until_message("to staging")


NAMED = (
    ("ship https://git.example.com/acme/myapp/pull/12 please", "myapp", "refs/pull/12/head"),
    ("https://git.example.com/acme/myapp/tree/feature/login", "myapp", "feature/login"),
    ("look at https://git.example.com/acme/myapp", "myapp", None),
    ("myapp@v1.0 is ready", "myapp", "v1.0"),
    ("myapp feature/login", "myapp", "feature/login"),
    ("can we have 0123456789abcdef0123456789abcdef01234567?", None, "0123456789abcdef"),
    ("good morning everybody", None, None),
)


async def test_message_fills_the_form_with_what_it_names(world: World) -> None:
    for said, app, ref in NAMED:
        message = await world.slack.say(world.slack.user("grace"), world.deploys, said)
        result = await world.slack.shortcut(world.ada, message, callback_id=FROM_MESSAGE)
        assert result.acked
        view = await world.viewed(TITLE)
        filled = _filled(view)
        assert filled["app"] == app, said
        assert (filled["ref"] or "").startswith(ref or ""), said
        assert (filled["ref"] is None) == (ref is None), said
        assert ("I found no app" in view.plain) == (app is None), said
        await world.slack.close(world.ada, view)


async def test_deploy_from_message_deploys_into_the_channel_of_the_message(quick: World) -> None:
    sha = quick.simulators.forge.sha("myapp", "v1.0")
    oncall = quick.slack.channel("oncall")
    message = await quick.slack.say(quick.slack.user("grace"), oncall, f"bad: {sha[:12]}x {sha}")
    await quick.slack.shortcut(quick.ada, message, callback_id=FROM_MESSAGE)
    view = await quick.viewed("I found no app")
    assert _filled(view) == {"app": None, "ref": sha}
    await quick.slack.submit(quick.ada, view, {"app": "myapp"})
    (row,) = await quick.ended()
    assert (row.sha, row.trigger) == (sha, Trigger.MESSAGE_ACTION)
    assert row.message.channel == oncall.id
    assert quick.messages == []


async def test_message_action_on_a_live_message_offers_the_same_deployment(quick: World) -> None:
    await quick.deploy("myapp feature/login")
    message = await quick.until_message("Deployed")
    await quick.slack.shortcut(quick.ada, message, callback_id=FROM_MESSAGE)
    view = await quick.viewed(TITLE)
    assert _filled(view) == {"app": "myapp", "ref": "feature/login"}
    await quick.slack.close(quick.ada, view)
    reply = await quick.slack.say(quick.ada, quick.deploys, "again?", thread_ts=message.ts)
    await quick.slack.shortcut(quick.slack.user("grace"), reply, callback_id=FROM_MESSAGE)
    view = await quick.viewed(TITLE, user="grace")
    assert _filled(view) == {"app": "myapp", "ref": "feature/login"}
    await quick.slack.submit(quick.slack.user("grace"), view)
    newest, oldest = await quick.ended(2)
    assert (newest.ref, newest.sha) == (oldest.ref, oldest.sha)
    assert newest.requested_by.user == quick.slack.user("grace").id
    assert "@\u2060grace" in shown(quick.message)


async def test_deployment_status_is_answered_in_the_thread(quick: World) -> None:
    await quick.deploy("myapp main")
    message = await quick.until_message("Deployed")
    await quick.replied("was deployed")
    result = await quick.slack.shortcut(
        quick.slack.user("grace"), message, callback_id="deployment_status"
    )
    assert result.acked
    await quick.replied("Deployed myapp", "is live")
    other = await quick.slack.say(quick.ada, quick.deploys, "good morning")
    await quick.slack.shortcut(quick.ada, other, callback_id="deployment_status")
    await quick.whispered("belongs to no deployment")
    assert [one for one in quick.slack.thread(other) if one.bot_id] == []


def _filled(view: View) -> dict[str, str | None]:
    """By block: what its field holds."""
    filled: dict[str, str | None] = {}
    for block_id, block in view.values.items():
        (value,) = block.values()
        option = value.get("selected_option")
        filled[block_id] = option["value"] if option else value.get("value")
    return filled


async def test_form_shows_who_holds_a_lock_and_who_approves(tmp_path: Path) -> None:
    (tmp_path / "deploybot.toml").write_text(
        '[apps.myapp]\napproval = "second_person"\napprovers = ["U01GRACE001"]\n'
    )
    async with open_world(tmp_path) as world:
        await world.start_bot()
        await world.deploy("lock myapp for 2h audit", user="grace")
        await world.deploy("lock all freeze", user="grace")
        await world.deploy("")
        view = await world.viewed(TITLE)
        await world.slack.choose(world.ada, view, "app", "myapp")
        await world.viewed(
            "is locked by @\u2060grace until",
            "(audit)",
            "*Every app* is locked by @\u2060grace (freeze)",
            "Needs an approval by a second person: <@U01GRACE001>.",
        )
