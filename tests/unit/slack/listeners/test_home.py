"""The Home tab: who sees it, when it is refreshed, and where its buttons are answered."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.deployments.lock import Lock
from bot.deployments.model import Actor, AppKey, AuditEntry, Deployment, Live, Phase
from bot.errors import Declined
from bot.simulators.slack.model import Message, User, View
from bot.simulators.slack.simulator import SlackSimulator
from bot.slack.limits import HomeLimits, SlackLimits
from tests.support.builders import NOW, a_deployment
from tests.support.stage import Stage, open_stage

ID = "01K9ZB0000000000000000000A"
AT_ONCE = HomeLimits(spacing=timedelta(0), per_minute=1_000_000)


@asynccontextmanager
async def stage_with(home: HomeLimits = AT_ONCE) -> AsyncIterator[Stage]:
    async with open_stage(limits=SlackLimits(home=home)) as stage:
        yield stage


async def opened(stage: Stage, user: User | None = None) -> View:
    """Open the Home tab; what it shows."""
    person = user or stage.ada
    before = published(stage.slack, person)
    await stage.slack.open_home(person)
    await stage.slack.until(lambda: published(stage.slack, person) > before)
    view = stage.slack.home(person)
    assert view is not None
    return view


def published(slack: SlackSimulator, user: User | None = None) -> int:
    calls = [one for one in slack.calls if one.method == "views.publish"]
    return sum(user is None or one.args["user_id"] == user.id for one in calls)


def running(stage: Stage, **changes: object) -> Deployment:
    values = {"id": ID, "app": "myapp", "phase": Phase.BUILDING, "channel": stage.deploys.id}
    return stage.service.known(a_deployment(**{**values, **changes}))


async def direct_message(stage: Stage, *words: str) -> Message:
    dm = stage.slack.dm(stage.ada)

    def found() -> list[Message]:
        return [one for one in stage.slack.messages(dm) if all(word in one.plain for word in words)]

    return (await stage.slack.until(found))[-1]


async def test_opened_tab_shows_what_runs_and_only_the_messages_tab_shows_nothing() -> None:
    async with stage_with() as stage:
        running(stage)
        view = await opened(stage)
        assert "Deploying myapp" in view.plain
        assert "Deploy" in view.buttons.values()
        await stage.slack.open_home(stage.ada, tab="messages")
        await opened(stage, stage.slack.user("grace"))
        assert published(stage.slack, stage.ada) == 1


async def test_refresh_publishes_only_what_changed_and_only_to_those_who_opened_it() -> None:
    async with stage_with() as stage:
        await stage.intake.refresh_homes()
        assert published(stage.slack) == 0
        await opened(stage)
        await stage.intake.refresh_homes()
        assert published(stage.slack) == 1
        running(stage)
        await stage.intake.refresh_homes()
        assert published(stage.slack) == 2
        view = stage.slack.home(stage.ada)
        assert view is not None
        assert "Deploying myapp" in view.plain
        assert stage.slack.home(stage.slack.user("grace")) is None


async def test_tab_is_refreshed_at_most_every_few_seconds() -> None:
    async with stage_with(HomeLimits(spacing=timedelta(hours=1))) as stage:
        await opened(stage)
        running(stage)
        await stage.intake.refresh_homes()
        assert published(stage.slack) == 1


async def test_tab_that_was_opened_long_ago_is_not_refreshed() -> None:
    async with stage_with(replace(AT_ONCE, open_for=timedelta(0))) as stage:
        await opened(stage)
        running(stage)
        await stage.intake.refresh_homes()
        assert published(stage.slack) == 1


async def test_only_those_who_opened_it_last_are_refreshed() -> None:
    async with stage_with(replace(AT_ONCE, people=1)) as stage:
        grace = stage.slack.user("grace")
        await opened(stage)
        await opened(stage, grace)
        running(stage)
        await stage.intake.refresh_homes()
        assert published(stage.slack, stage.ada) == 1
        assert published(stage.slack, grace) == 2


async def test_429_pauses_all_tabs_and_the_newest_state_follows() -> None:
    async with stage_with(replace(AT_ONCE, pause=timedelta(0))) as stage:
        await opened(stage)
        running(stage)
        stage.slack.rate_limit_for_test("views.publish", retry_after_s=3_600)
        await stage.intake.refresh_homes()
        await stage.intake.refresh_homes()
        assert published(stage.slack) == 2
        assert stage.slack.calls[-1].outcome == "ratelimited"
        await stage.slack.open_home(stage.slack.user("grace"))
        await stage.deploy("apps")  # what came before it is handled
        await stage.whisper()
        assert published(stage.slack) == 2


async def test_tab_is_shown_after_a_call_without_an_answer() -> None:
    async with stage_with(replace(AT_ONCE, pause=timedelta(0))) as stage:
        stage.slack.fail_for_test("views.publish", status=503)
        await stage.slack.open_home(stage.ada)
        await stage.slack.until(lambda: published(stage.slack) == 1)
        assert stage.slack.home(stage.ada) is None
        await stage.slack.until(lambda: stage.intake._homes and stage.intake._homes.tabs)
        await stage.intake.refresh_homes()
        assert stage.slack.home(stage.ada) is not None


async def test_slack_that_refuses_the_view_is_not_asked_again() -> None:
    async with stage_with() as stage:
        await opened(stage)
        running(stage)
        stage.slack.fail_for_test("views.publish", error="not_enabled")
        await stage.intake.refresh_homes()
        await stage.intake.refresh_homes()
        assert published(stage.slack) == 2


async def test_guest_sees_one_sentence_and_no_deployment() -> None:
    async with stage_with() as stage:
        running(stage)
        stage.slack.change_user_for_test("ada", guest="single_channel")
        view = await opened(stage)
        assert view.plain.startswith("Guests of the workspace can't do that.")
        assert view.buttons == {}
        await stage.intake.refresh_homes()
        assert published(stage.slack) == 1


async def test_cancel_in_the_tab_is_answered_by_direct_message() -> None:
    async with stage_with() as stage:
        running(stage)
        view = await opened(stage)
        await stage.slack.click(stage.ada, view, action_id="deployment_cancel", of=ID)
        await direct_message(stage, "Cancelling")
        assert [one[0] for one in stage.service.cancels] == [ID]


async def test_full_log_opens_from_the_tab() -> None:
    async with stage_with() as stage:
        stage.service.known(running(stage), "one line of the log")
        view = await opened(stage)
        await stage.slack.click(stage.ada, view, action_id="deployment_log", of=ID)
        await stage.view("one line of the log")


async def test_retry_in_the_tab_is_posted_where_the_deployment_was() -> None:
    async with stage_with() as stage:
        failed = {"phase": Phase.FAILED, "live": Live.PREVIOUS, "finished_at": NOW}
        running(stage, **failed)
        other = running(stage, id=f"{ID[:-1]}B", channel="D01GRACE000", **failed)
        view = await opened(stage)
        await stage.slack.click(stage.ada, view, action_id="deployment_retry", of=ID)
        await stage.slack.until(lambda: stage.service.requests)
        await stage.slack.click(stage.ada, view, action_id="deployment_retry", of=other.id)
        await stage.slack.until(lambda: len(stage.service.requests) > 1)
        channels = [one.channel for one in stage.service.requests]
        assert channels == [stage.deploys.id, stage.slack.dm(stage.ada).id]


@pytest.mark.parametrize("app", ["myapp", "shop"])
async def test_deploy_opens_the_form_and_posts_where_the_app_was_deployed_last(app: str) -> None:
    async with stage_with() as stage:
        running(stage, app="myapp")
        view = await opened(stage)
        await stage.slack.click(stage.ada, view, action_id="home_deploy")
        form = await stage.view("where the app was deployed last")
        await stage.slack.submit(stage.ada, form, {"app": app, "ref": "main"})
        (ask,) = await stage.slack.until(lambda: stage.service.requests)
        where = stage.deploys if app == "myapp" else stage.slack.dm(stage.ada)
        assert ask.channel == where.id


async def test_unlock_in_the_tab_is_said_where_the_lock_was_set() -> None:
    async with stage_with() as stage:
        await unlock_in_tab(stage, channel=stage.deploys.id)
        assert "unlocked by" in (await stage.live_message()).plain


@pytest.mark.parametrize("channel", ["", "D01GRACE000"])
async def test_unlock_in_the_tab_is_said_to_the_person_if_no_channel_may_read_it(
    channel: str,
) -> None:
    async with stage_with() as stage:
        await unlock_in_tab(stage, channel=channel)
        said = await direct_message(stage, "unlocked by")
        assert "Only you" not in said.plain


async def unlock_in_tab(stage: Stage, *, channel: str) -> None:
    """Let grace lock an app there, and ada unlock it on the Home tab."""
    grace = stage.slack.user("grace")
    holder = Actor(user=grace.id, team=grace.team_id, name="grace")
    key = AppKey(server="production", dokku_app="myapp")
    lock = Lock(id="01L", key=key, app="myapp", holder=holder, since=NOW, channel=channel)
    audit = AuditEntry(actor=holder, through="command", action="locked")
    await stage.service.store.locks.put(lock, instead_of=None, audit=audit, notices=())
    view = await opened(stage)
    await stage.slack.click(stage.ada, view, action_id="lock_release", of=lock.id)


async def test_answers_are_shown_in_a_window_where_direct_messages_are_off() -> None:
    async with stage_with() as stage:
        stage.slack.disable_direct_messages_for_test()
        running(stage)
        tab = await opened(stage)
        await stage.slack.click(stage.ada, tab, action_id="deployment_cancel", of=ID)
        await stage.view("Cancelling")
        await stage.slack.click(stage.ada, tab, action_id="home_deploy")
        form = await stage.view("where the app was deployed last")
        await stage.slack.submit(stage.ada, form, {"app": "shop", "ref": "main"})
        await stage.view("Direct messages to me are switched off")


async def test_refusal_in_a_window_is_shown_above_it_where_direct_messages_are_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(_actor: Actor) -> Actor:
        raise Declined("Ask an operator.")

    async with stage_with() as stage:
        stage.service.known(running(stage), "one line of the log")
        tab = await opened(stage)
        await stage.slack.click(stage.ada, tab, action_id="deployment_log", of=ID)
        log = await stage.view("one line of the log")
        stage.slack.disable_direct_messages_for_test()
        monkeypatch.setattr(stage.service.access, "admit", refuse)
        await stage.slack.click(stage.ada, log, action_id="log_refresh")
        await stage.slack.close(stage.ada, await stage.view("Ask an operator."))
        assert stage.slack.view(stage.ada) == log
