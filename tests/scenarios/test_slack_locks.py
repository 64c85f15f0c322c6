"""Locks between both simulators: who is stopped, who gets a message, and what everyone sees."""

from datetime import timedelta
from pathlib import Path

from bot.deployments.model import Phase
from bot.simulators.slack.model import Message
from tests.scenarios.conftest import QuickClock, World, open_world, shown
from tests.support.message_parts import parts_of


def newest_whisper(world: World, user: str) -> Message:
    return world.slack.ephemerals(world.slack.user(user))[-1]


async def notified(world: World, user: str, *words: str) -> Message:
    """Wait until a person got a direct message with all the words."""
    person = world.slack.user(user)

    def found() -> list[Message]:
        channel = world.slack.workspace.direct_channel(person.id)
        texts = [] if channel is None else world.slack.messages(channel)
        return [one for one in texts if all(word in shown(one) for word in words)]

    return (await world.slack.until(found))[-1]


async def test_lock_is_said_to_all_and_stops_others_until_one_takes_it_over(quick: World) -> None:
    await quick.deploy("lock myapp for 2h release <!channel> day")
    said = await quick.until_message("*myapp* is locked by @\u2060ada until", "release")
    assert "<!channel>" not in shown(said)
    await quick.deploy("myapp main", user="grace")
    refused = await quick.whispered("locked by @\u2060ada", "Nothing was started", user="grace")
    assert "release" in refused
    assert await quick.rows() == []
    whisper = newest_whisper(quick, "grace")
    labels = list(whisper.buttons.values())
    assert labels == ["Unlock", "Take over", "Tell me when it is free"]
    await quick.click("lock_take_over", whisper, user="grace")
    await quick.until_message("locked by @\u2060grace until", "took it over from @\u2060ada")
    await notified(quick, "ada", "@\u2060grace took over your lock", "myapp")
    await quick.click("lock_release", whisper, user="grace")  # of the lock that is gone
    await quick.whispered("That lock is not there any more", user="grace")
    await quick.deploy("myapp main")
    await quick.whispered("locked by @\u2060grace")
    await quick.deploy("myapp main", user="grace")
    await quick.until_message("Deployed myapp")


async def test_waiting_deployment_says_who_locked_the_app_and_starts_after_the_unlock(
    quick: World,
) -> None:
    quick.hold()
    await quick.deploy("myapp main")
    await quick.until_message("Building")
    await quick.deploy("myapp feature/login")
    await quick.posted(2)
    await quick.until_message("1st in line")
    waiting = quick.message
    assert parts_of(waiting).buttons == ["Cancel", "Tell me when it is free"]
    await quick.deploy("lock myapp audit", user="grace")
    await quick.until_message("is locked by @\u2060grace (audit)", "already running goes on")
    await quick.slack.until(lambda: "locked by @\u2060grace (audit)" in shown(waiting))
    quick.let_go()
    await quick.slack.until(lambda: "Deployed myapp" in shown(quick.messages[0]))
    (row, _) = await quick.rows()
    assert row.phase is Phase.QUEUED
    await quick.deploy("queue", user="grace")
    await quick.whispered("Waiting to deploy myapp", "locked by @\u2060grace (audit)", user="grace")
    await quick.deploy("status myapp", user="grace")
    await quick.whispered("is locked by @\u2060grace (audit)", user="grace")
    await quick.deploy("unlock myapp")
    await quick.whispered("Confirm to end it")
    await quick.click("lock_release", newest_whisper(quick, "ada"))
    await quick.until_message("unlocked by @\u2060ada", "@\u2060grace had locked it (audit)")
    await notified(quick, "grace", "@\u2060ada ended your lock", "myapp")
    await quick.slack.until(lambda: "Deployed myapp" in shown(waiting))


async def test_holder_of_a_freeze_passes_those_who_wait(quick: World) -> None:
    quick.hold()
    await quick.deploy("myapp main")
    await quick.until_message("Building")
    await quick.deploy("myapp feature/login")
    await quick.posted(2)
    await quick.deploy("lock all", user="grace")
    await quick.until_message("*Every app* is locked by @\u2060grace")
    await quick.deploy("myapp v1.0", user="grace")
    await quick.posted(4)
    quick.let_go()
    await quick.slack.until(lambda: "Deployed myapp" in shown(quick.messages[3]))
    assert "locked by @\u2060grace" in shown(quick.messages[1])
    await quick.deploy("unlock all", user="grace")
    await quick.slack.until(lambda: "Deployed myapp" in shown(quick.messages[1]))


async def test_end_of_a_lock_is_said_once_in_its_channel_also_after_a_restart(
    tmp_path: Path,
) -> None:
    async with open_world(tmp_path) as world:
        clock = QuickClock()
        await world.start_bot(clock=clock)
        await world.deploy("lock myapp for 10 minutes")
        await world.until_message("is locked by")
        await world.stop_bot()
        clock.leap(timedelta(minutes=11))
        bot = await world.start_bot(clock=clock)
        await world.until_message("is no longer locked", "the lock of @\u2060ada ended")
        await world.stop_bot()
        bot = await world.start_bot(clock=clock)
        await world.deploy("myapp main", user="grace")
        await world.until_message("Deployed myapp")
        assert sum("no longer locked" in shown(one) for one in world.messages) == 1
        assert not await bot.service.locks.held()


async def test_person_who_asked_is_told_once_when_the_app_is_free(quick: World) -> None:
    quick.hold()
    await quick.deploy("myapp main")
    await quick.until_message("Building")
    await quick.deploy("myapp feature/login")
    await quick.posted(2)
    await quick.until_message("1st in line")
    await quick.click("deployment_follow", quick.message, user="grace")
    await quick.whispered("one direct message when myapp is free", user="grace")
    await quick.click("deployment_follow", quick.message, user="grace")
    quick.let_go()
    await quick.ended(2)
    await notified(quick, "grace", "*myapp* is free")
    channel = quick.slack.dm(quick.slack.user("grace"))
    assert len(quick.slack.messages(channel)) == 1


async def test_misspelled_app_is_not_locked_and_a_stranger_to_words_gets_the_usage(
    quick: World,
) -> None:
    await quick.deploy("lock myap")
    await quick.whispered("There is no app myap, so nothing was locked", "`myapp`")
    await quick.deploy("lock")
    await quick.whispered("Which app?")
    await quick.deploy("lock myapp for 2 fortnights")
    await quick.whispered("not a duration")
    await quick.deploy("unlock myapp")
    await quick.whispered("myapp is not locked")
    assert quick.bot is not None
    assert not await quick.bot.service.locks.held()
