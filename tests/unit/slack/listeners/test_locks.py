"""Locks in chat: what was typed, where it is answered, and what buttons do late."""

from datetime import timedelta

import pytest

from bot.deployments.lock import Lock
from bot.deployments.model import Actor, AppKey
from bot.errors import Declined
from bot.slack.listeners.locks import LockLine, read_lock
from tests.support.builders import NOW
from tests.support.stage import Stage, open_stage

SERVERS = ("production", "staging")
TWO_HOURS = timedelta(hours=2)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("myapp", LockLine(app="myapp")),
        ("MyApp for 2h", LockLine(app="myapp", lasts=TWO_HOURS)),
        ("all For 120m release day", LockLine(app="all", lasts=TWO_HOURS, reason="release day")),
        ("myapp for 2 hours, audit", LockLine(app="myapp", lasts=TWO_HOURS, reason="audit")),
        ("myapp on Staging for 1d", LockLine(app="myapp", server="staging", lasts=12 * TWO_HOURS)),
        ("myapp for 90s on staging", LockLine(app="myapp", server="staging", lasts=TWO_HOURS / 80)),
        ("myapp on holiday", LockLine(app="myapp", reason="on holiday")),
        ("myapp for the audit", LockLine(app="myapp", reason="for the audit")),
        ("myapp audit for 2h", LockLine(app="myapp", reason="audit for 2h")),
        ("myapp for", LockLine(app="myapp", reason="for")),
        ("myapp 2h", LockLine(app="myapp", lasts=TWO_HOURS)),
        ("myapp 2 hours audit", LockLine(app="myapp", lasts=TWO_HOURS, reason="audit")),
        ("myapp until the audit", LockLine(app="myapp", reason="until the audit")),
        ("myapp 2h, audit", LockLine(app="myapp", lasts=TWO_HOURS, reason="audit")),
        ("myapp 2 people ill", LockLine(app="myapp", reason="2 people ill")),
    ],
)
def test_line_is_app_server_duration_and_reason(text: str, read: LockLine) -> None:
    assert read_lock(text.split(), SERVERS) == read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Which app"),
        ("<@U0ADA> for 2h", "name of a person"),
        ("my_app", "not a valid app name"),
        ("myapp for 2", "not a duration"),
        ("myapp for 2 fortnights", "not a duration"),
        ("myapp for two hours", "`two hours` is not a duration"),
        ("myapp until 18:00", "`until 18:00` locked nothing. Write for how long"),
        ("myapp till Wednesday, release", "`till Wednesday,` locked nothing"),
        ("myapp for 0h", "not a duration"),
        ("myapp for 9999999d", "not a duration"),
    ],
)
def test_mistake_locks_nothing(text: str, said: str) -> None:
    with pytest.raises(Declined, match=said):
        read_lock(text.split(), SERVERS)


async def held(stage: Stage) -> list[Lock]:
    return list(await stage.service.locks.held())


async def test_mention_and_direct_message_are_answered_where_they_were_said() -> None:
    async with open_stage() as stage:
        bot = stage.slack.bot.id
        asked = await stage.slack.say(stage.ada, stage.deploys, f"<@{bot}> lock myapp for 2h")
        assert "*myapp* on production is locked by" in (await stage.replies(asked))[0]
        dm = stage.slack.dm(stage.ada)
        await stage.slack.say(stage.ada, dm, "unlock myapp")
        said = await stage.slack.until(
            lambda: [one for one in stage.slack.messages(dm) if one.bot_id]
        )
        assert "*myapp* on production was unlocked by" in said[0].text
        assert await held(stage) == []


async def test_where_the_bot_cannot_post_the_person_is_told_that_only_they_see_it() -> None:
    async with open_stage() as stage:
        stage.deploys.members.discard(stage.slack.bot.id)
        await stage.deploy("lock myapp")
        said = await stage.whisper()
        assert "*myapp* on production is locked by" in said
        assert "Only you see this: " in said
        assert len(await held(stage)) == 1


async def test_lock_of_someone_else_is_answered_with_its_buttons() -> None:
    async with open_stage() as stage:
        lock = Lock(
            id="01L",
            key=AppKey(server="production", dokku_app="myapp"),
            app="myapp",
            holder=Actor(user="U0GRACE", team=stage.slack.workspace.team_id, name="grace"),
            since=NOW,
        )
        stage.service.store.locks.held.append(lock)
        await stage.deploy("lock myapp for 2h")
        assert "locked by @\u2060grace" in await stage.whisper()
        whisper = stage.slack.ephemerals(stage.ada)[-1]
        assert list(whisper.buttons.values()) == [
            "Unlock",
            "Take over",
            "Tell me when it is free",
        ]
        await stage.slack.click(stage.ada, whisper, action_id="app_follow")
        await stage.whisper(2)
        (follower,) = stage.service.store.locks.followers
        assert (follower.key, follower.user) == (lock.key, stage.ada.id)
        await stage.slack.click(stage.ada, whisper, action_id="lock_release", confirm=False)
        assert await held(stage) == [lock]
        await stage.slack.click(stage.ada, whisper, action_id="lock_release")
        message = await stage.live_message()
        assert "unlocked by @\u2060ada; @\u2060grace had locked it" in message.text
        await stage.slack.click(stage.ada, whisper, action_id="lock_take_over")
        assert "not there any more" in await stage.whisper(3)
        assert [one.to for one in stage.service.store.locks.notices] == ["U0GRACE"]
