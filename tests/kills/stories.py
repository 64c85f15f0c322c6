"""What people do, and the points at which the bot dies meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bot.deployments.model import Deployment, Failure, Phase
from bot.simulators.slack.model import Message
from tests.kills.deaths import AFTER, BEFORE, Death
from tests.kills.world import Lives

APP = "myapp"
GUARDED = "guarded"
BUILD = "build step 4/"
SERVER_CANCEL, YES = "deployment_server_cancel", "answer_server_cancel"
SETTINGS = """
[apps.myapp]
approvers = ["{ada}", "{grace}"]

[apps.guarded]
approval = "second_person"
approvers = ["{grace}"]
"""

Act = Callable[[Lives], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One life of the bot: what people do in it, and how it ends."""

    act: Act | None = None
    """None: it dies of what an earlier life left to do."""
    death: Death


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Lives in turn. Afterwards a bot that lives on brings everything to its end."""

    name: str
    lives: Sequence[Life]
    last: Act | None = None
    """What people do in the life that goes on."""


async def deploy(it: Lives, app: str = APP) -> None:
    """Deploy another commit than the last time."""
    ref = "feature/login" if len(it.world.messages) % 2 else "main"
    await it.world.deploy(f"{app} {ref}")


async def ask_approval(it: Lives) -> None:
    await deploy(it, GUARDED)


async def approve(it: Lives) -> None:
    await it.world.until_message("Awaiting approval")
    await it.world.deploy(f"approve {GUARDED}", user="grace")


async def ask_and_approve(it: Lives) -> None:
    await ask_approval(it)
    await approve(it)


async def reject(it: Lives) -> None:
    await it.world.until_message("Awaiting approval")
    await it.world.deploy(f"reject {GUARDED}", user="grace")


async def ask_and_reject(it: Lives) -> None:
    await ask_approval(it)
    await reject(it)


async def deploy_held(it: Lives) -> None:
    it.world.hold(BUILD)
    earlier = len(it.world.messages)
    await deploy(it)
    await it.world.posted(earlier + 1)
    await it.world.until_message("Building", "Cancel")


async def deploy_until_held(it: Lives) -> None:
    it.world.hold(BUILD)
    await deploy(it)


async def cancel(it: Lives) -> None:
    await it.world.deploy(f"cancel {APP}")


async def deploy_and_cancel(it: Lives) -> None:
    await deploy_held(it)
    await cancel(it)


async def let_go(it: Lives) -> None:
    """What was held dies at its next line: its client is gone."""
    it.world.let_go()


async def cancel_and_let_go(it: Lives) -> None:
    await cancel(it)
    await it.world.whispered("ancel")
    it.world.let_go()


async def lose_the_line(it: Lives) -> None:
    """A build goes on, and another deployment waits behind it."""
    await deploy_two(it)
    it.world.simulators.server.forget_clients_for_test()


async def cancel_on_server(it: Lives) -> None:
    """An approver does, from the message of what waits behind the build."""

    def offered() -> Message | None:
        found = [one for one in it.world.messages if SERVER_CANCEL in one.buttons]
        return found[-1] if len(found) == len(it.world.messages) else None

    def questions() -> list[Message]:
        found = it.world.slack.ephemerals(it.world.slack.user("grace"))
        return [one for one in found if YES in one.buttons]

    message = await it.world.slack.until(offered)
    assert message is not None
    earlier = len(questions())
    await it.world.click(SERVER_CANCEL, message, user="grace")
    await it.world.slack.until(lambda: len(questions()) > earlier)
    await it.world.click(YES, questions()[-1], user="grace")


async def lose_and_cancel(it: Lives) -> None:
    await lose_the_line(it)
    await cancel_on_server(it)


async def deploy_two(it: Lives) -> None:
    await deploy_held(it)
    count = len(it.world.messages)
    await deploy(it)
    await it.world.posted(count + 1)
    await it.world.until_message("1st in line")


async def cancel_waiting(it: Lives) -> None:
    await it.world.click("deployment_cancel", await waiting(it))


async def queue_and_cancel(it: Lives) -> None:
    await deploy_two(it)
    await cancel_waiting(it)


async def waiting(it: Lives) -> Message:
    return await it.world.until_message("Cancel", "1st in line")


async def lock(it: Lives) -> None:
    await it.world.deploy(f"lock {APP} for 1h release day", user="grace")


async def unlock(it: Lives) -> None:
    await it.world.deploy(f"unlock {APP}", user="grace")


async def follow(it: Lives) -> None:
    """Somebody is refused by the lock, and wants a message when the app is free."""
    await deploy(it)
    await it.world.whispered("is locked by")
    refused = it.world.slack.ephemerals(it.world.ada)[-1]
    await it.world.click("app_follow", refused)


async def look_home(it: Lives) -> None:
    await it.world.slack.open_home(it.world.ada)


def at(when: str, call: str, act: Act | None = None, number: int = 1) -> Life:
    """A life that ends `before` or `after` a call. With an act, it ends because of that."""
    before_or_after = BEFORE if when == BEFORE else AFTER
    death = Death(call=call, when=before_or_after, number=number, armed=act is None)
    return Life(act=act, death=death)


STORIES = (
    Story(
        name="a request reaches its message",
        lives=(
            at("before", "slack.ack", deploy),
            at("before", "store.create", deploy),
            at("after", "store.create", deploy),
            at("before", "slack.post"),
            at("after", "slack.post"),
            at("after", "slack.find_by_metadata"),
            at("after", "store.place_message"),
            at("after", "leases.claim"),
            at("after", "git.resolve"),
            at("after", "ssh ps:inspect"),
            at("before", "store.save queued > starting"),
            at("after", "store.save queued > starting"),
            at("after", "store.save starting > queued"),
            at("before", "ssh git:sync"),
            at("after", "ssh git:sync"),
        ),
    ),
    Story(
        name="a build that died starts once more",
        lives=(
            at("after", "logs.append", deploy_until_held),
            at("before", "store.save * > starting", let_go),
            at("after", "logs.append", deploy_until_held),
            at("after", "store.save * > starting", let_go),
        ),
    ),
    Story(
        name="a release is proven and told",
        lives=(
            at("after", "store.save * > checking", deploy),
            at("before", "store.save checking > succeeded"),
            at("after", "store.save checking > succeeded"),
            at("before", "slack.post_reply"),
            at("after", "slack.post_reply"),
            at("after", "slack.has_reply"),
        ),
    ),
    Story(
        name="a webhook arrives",
        lives=(
            at("before", "webhook.post", deploy),
            at("after", "webhook.post"),
            at("before", "outbox.delivered"),
        ),
    ),
    Story(
        name="an approval counts",
        lives=(
            at("after", "slack.post_reply", ask_approval),
            at("before", "store.save awaiting_approval > queued", approve),
            at("after", "store.save awaiting_approval > queued", approve),
            at("before", "store.save awaiting_approval > failed", ask_and_reject),
            at("after", "store.save awaiting_approval > failed", reject),
        ),
    ),
    Story(
        name="a cancel counts",
        lives=(
            at("before", "store.ask_cancel", deploy_and_cancel),
            at("after", "store.ask_cancel", cancel),
            at("before", "store.save * > cancelled", let_go),
            at("after", "store.save * > cancelling", deploy_and_cancel),
            at("after", "store.save cancelling > cancelled", let_go),
            at("after", "ssh builds:cancel", deploy_and_cancel),
        ),
    ),
    Story(
        name="a queue keeps its order",
        lives=(
            at("before", "store.save queued > cancelled", queue_and_cancel),
            at("after", "store.save queued > cancelled", cancel_waiting),
        ),
        last=let_go,
    ),
    Story(
        name="a build without a connection is cancelled on the server",
        lives=(
            at("before", "store.ask_cancel", lose_and_cancel),
            at("after", "store.ask_cancel", cancel_on_server),
            at("after", "store.save building > cancelling"),
            at("before", "ssh builds:cancel"),
            at("after", "ssh builds:cancel"),
            at("before", "store.save cancelling > cancelled"),
            at("after", "store.save cancelling > cancelled"),
        ),
        last=let_go,
    ),
    Story(
        name="a lock holds and its end is told",
        lives=(
            at("before", "locks.put", lock),
            at("after", "locks.put", lock),
            at("after", "locks.follow", follow),
            at("before", "locks.remove", unlock),
            at("after", "locks.remove", unlock),
            at("before", "locks.unfollow"),
            at("after", "locks.unfollow"),
            at("after", "slack.post"),
            at("after", "slack.publish_home", look_home),
        ),
    ),
)


async def play(it: Lives, story: Story) -> None:
    """Live all its lives; afterwards a bot runs that lives on."""
    for life in story.lives:
        await it.begin(life.death)
        if life.act is not None:
            assert await it.bot.ready(), it.bot.last_lines
            it.arm()
            await _act_until_death(it, life.act)
        else:
            await it.died()
        it.processes.let_leases_expire()
    await it.begin()
    if story.last is not None:
        assert await it.bot.ready(), it.bot.last_lines
        await story.last(it)


async def _act_until_death(it: Lives, act: Act) -> None:
    """Slack waits 3 s for the answer of a dead bot; what a person did is over before."""
    acting = asyncio.ensure_future(act(it))
    try:
        await it.died()
    finally:
        acting.cancel()
        await asyncio.wait({acting})
    if not acting.cancelled():
        acting.result()


def unexpected(rows: Sequence[Deployment]) -> list[str]:
    """Ends that no death explains."""
    return [
        f"{row.id}: {row.phase} {row.failure}: {row.reason}"
        for row in rows
        if row.phase is Phase.FAILED and row.failure not in {Failure.INTERRUPTED, Failure.REJECTED}
    ]
