"""What is being deployed: the commits since the live release, in the message and in webhooks."""

from typing import Any

import pytest

from tests.scenarios.conftest import World, shown
from tests.support.message_parts import parts_of

ROLLBACK = "deployment_rollback"
pytestmark = pytest.mark.usefixtures("patient_git")


def shipped(world: World) -> list[dict[str, Any]]:
    """The commits of the newest webhook."""
    commits = world.simulators.receiver.received[-1].body["data"]["commits"]
    assert isinstance(commits, list)
    return commits


async def test_message_and_webhook_name_the_commits_since_the_live_release(quick: World) -> None:
    forge = quick.simulators.forge
    live, first = forge.sha("myapp", "v1.0"), forge.sha("myapp")
    await quick.deploy()
    message = await quick.until_message("Deployed", "1 commit since")
    commit = parts_of(message).facts["Commit"]
    assert f"`{first[:7]}`" in commit
    assert commit.endswith('"Fix the login redirect" by Ada Example')
    assert '"Fix the login redirect" by Ada Example · 1 commit since' in message.text
    await quick.ended()
    (row,) = await quick.rows()
    assert row.previous_sha != live
    assert shipped(quick) == [
        {"sha": first, "subject": "Fix the login redirect", "author": "Ada Example"}
    ]

    words = [f"Change {number}" for number in range(1, 8)]
    newest = [forge.commit("myapp", word) for word in words][-1]
    await quick.deploy()
    message = await quick.until_message(
        "Deployed", "7 commits since the previous release", first[:7]
    )
    assert '"Change 7" by Ada Example' in shown(message)
    for word in words[2:]:
        assert word in shown(message)
    assert "and 2 more" in shown(message)
    assert words[0] not in shown(message)
    await quick.ended(2)
    assert [one["subject"] for one in shipped(quick)] == words[::-1]

    (question,) = [
        one["confirm"]["text"]["text"]
        for block in message.blocks
        for one in block.get("elements", ())
        if one.get("action_id") == ROLLBACK
    ]
    back = f"back to {first[:7]}, the commit that was live before (7 commits back)"
    assert f"from {newest[:7]}" in question
    assert back in question
    await quick.click(ROLLBACK)
    await quick.posted(3)
    message = await quick.until_message("Deployed", "Goes back 7 commits from the previous release")
    assert '"Fix the login redirect"' in message.text
    assert "Change 7" in shown(message)
    await quick.ended(3)
    assert [one["sha"] for one in shipped(quick)] == [first]


async def test_commit_behind_what_is_live_is_marked_before_it_starts(quick: World) -> None:
    old = quick.simulators.forge.sha("myapp")
    quick.simulators.forge.commit("myapp", "Fix it")
    await quick.deploy()
    await quick.until_message("Deployed")
    await quick.ended()
    quick.hold()
    await quick.deploy()
    await quick.held()
    await quick.deploy(f"myapp {old}")
    message = await quick.until_message("Waiting", "Behind what is live: goes back 1 commit from")
    assert "Fix it" in shown(message)
    assert "Behind what is live" in message.text
    quick.let_go()
    await quick.until_message("Deployed", "Goes back 1 commit from")


async def test_repository_that_sends_nothing_delays_nothing_and_shows_nothing(
    quick: World,
) -> None:
    forge = quick.simulators.forge
    forge.hold_commits_for_test()
    try:
        await quick.deploy()
        deployed = parts_of(await quick.until_message("Deployed"))
        await quick.ended()
        (row,) = await quick.rows()
        assert row.commits is None
        assert f"`{row.sha[:7]}`" == deployed.facts["Commit"]
        assert shipped(quick) == []
    finally:
        forge.send_commits_for_test()


async def test_result_shows_commits_that_came_after_it(quick: World) -> None:
    forge = quick.simulators.forge
    forge.hold_commits_for_test()
    await quick.deploy()
    await quick.until_message("Deployed")
    forge.send_commits_for_test()
    await quick.until_message("Deployed", "Fix the login redirect", "1 commit since")
