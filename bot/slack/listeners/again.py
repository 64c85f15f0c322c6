"""Cancel, retry, roll back one deployment: what buttons, words and answers have in common."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from bot.deployments.model import Deployment
from bot.errors import Declined
from bot.slack.listeners import answers as say
from bot.slack.listeners.desk import Call, as_answer


async def cancel_deployment(call: Call, deployment: Deployment) -> None:
    """Request a cancel; the answer goes to whoever asked."""
    sentence = await call.desk.service.cancel(
        deployment.id, actor=call.asker.actor, through=call.trigger
    )
    await call.answers.say(as_answer(sentence))


async def deploy_again(
    call: Call, deployment: Deployment, *, back: bool, sha: str | None = None
) -> Deployment | None:
    """Retry or roll back (to `sha`, if it was fixed before). None: delivered before.

    In a thread the answer links to the new deployment.
    """
    service = call.desk.service
    who: dict[str, Any] = {
        "actor": call.asker.actor,
        "trigger": call.trigger,
        "request_key": call.request_key,
        "channel": call.asker.channel or channel_near(deployment, call.asker.dm),
    }
    async with call.desk.repeats.hold(deployment.id):
        await refuse_twice(service.queries.store.unfinished, deployment, back=back)
        if back:
            new = await service.rollback(deployment.id, sha, **who)
        else:
            new = await service.retry(deployment.id, **who)
    await say_where(call, new)
    return new


def channel_near(deployment: Deployment, own: str) -> str:
    """Where what follows a deployment is posted, if the person who asks is in no channel.

    In its channel; in the person's `own` conversation with the bot if that was someone's direct
    message.
    """
    return own if deployment.channel.startswith("D") else deployment.channel or own


async def say_where(call: Call, new: Deployment | None) -> None:
    """In a thread or DM, and of a message in another channel; else the message is the answer."""
    if new is not None and (call.answers.aloud or new.channel != call.asker.channel):
        await call.answers.say(say.started_answer(new, name_server=call.desk.names_server))


async def refuse_twice(
    unfinished: Callable[[], Awaitable[Sequence[Deployment]]], deployment: Deployment, *, back: bool
) -> None:
    """Declined: the same was started before and has not ended."""
    for one in await unfinished():
        if deployment.id == (one.rollback_of if back else one.retry_of):
            raise Declined(say.already_words(one, back=back))
