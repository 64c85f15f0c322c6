"""The answers to questions (`questions.py`). Each checks the state and the person again."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from bot.errors import BotError, Declined
from bot.slack.listeners.again import cancel_deployment, deploy_again
from bot.slack.listeners.clicks import ActionButton, Click, Permission
from bot.slack.listeners.commands import run_line
from bot.slack.listeners.desk import as_answer
from bot.slack.listeners.questions import NO, YES_CANCEL, YES_ROLL_BACK, YES_SERVER_CANCEL
from bot.slack.listeners.suggestions import RUN
from bot.slack.render.blocks import Situation, Style
from bot.slack.render.words import SERVER_CANCEL_LABEL

ANSWERED = "That was started already; nothing more was done."


def _answering(click: Click) -> Click:
    """The click under the key of the request that asked, so that repeated clicks count once.

    In a thread and in a direct message everyone may read the answer, as without the question.
    """
    aloud = click.asker.thread_ts is not None or click.asker.direct
    return replace(
        click,
        answers=click.desk.answers(click.asker, aloud=aloud),
        request_key=click.question_key or click.request_key,
    )


async def _cancel(click: Click) -> None:
    async with _settling(click):
        await cancel_deployment(_answering(click), await click.deployment())


async def _roll_back(click: Click) -> None:
    async with _settling(click):
        deployment = await click.deployment()
        new = await deploy_again(_answering(click), deployment, back=True, sha=click.fixed)
        if new is None:
            raise Declined(ANSWERED)


async def _cancel_on_server(click: Click) -> None:
    async with _settling(click):
        sentence = await click.desk.service.server_cancels.cancel(
            click.deployment_id, click.fixed, click.asker.actor, click.trigger
        )
        await click.answers.say(as_answer(sentence))


async def _run(click: Click) -> None:
    """Run the corrected line as if it had been typed in the first place."""
    call, store = _answering(click), click.desk.queries.store
    thread = call.asker.thread_ts
    about = await store.by_message(call.asker.channel, thread) if thread else None
    async with _settling(click):
        await run_line(replace(call, about=about), click.fixed or "")


async def _leave(click: Click) -> None:
    await click.answers.settle()


@asynccontextmanager
async def _settling(click: Click) -> AsyncIterator[None]:
    """Take the question away; where the act was declined, say why in its place."""
    try:
        yield
    except BotError as error:
        await click.answers.settle(str(error))
    else:
        await click.answers.settle()


def _always(_now: Situation) -> bool:
    return True


QUESTION_BUTTONS: Sequence[ActionButton] = (
    ActionButton(
        action_id=YES_CANCEL,
        label="Cancel deployment",
        shows=_always,
        style=Style.DANGER,
        permission=Permission.CANCELLER,
        call=_cancel,
        works_when_hidden=True,
    ),
    ActionButton(
        action_id=YES_ROLL_BACK,
        label="Roll back",
        shows=_always,
        style=Style.DANGER,
        permission=Permission.DEPLOYER,
        call=_roll_back,
        works_when_hidden=True,
    ),
    ActionButton(
        action_id=YES_SERVER_CANCEL,
        label=SERVER_CANCEL_LABEL,
        shows=_always,
        style=Style.DANGER,
        permission=Permission.SERVER_CANCELLER,
        call=_cancel_on_server,
        works_when_hidden=True,
    ),
    ActionButton(
        action_id=NO,
        label="Leave it",
        shows=_always,
        permission=Permission.MEMBER,
        call=_leave,
        works_when_hidden=True,
    ),
    *(
        ActionButton(
            action_id=action_id,
            label="The corrected command",
            shows=_always,
            permission=Permission.MEMBER,
            call=_run,
            works_when_hidden=True,
        )
        for action_id in RUN
    ),
)
