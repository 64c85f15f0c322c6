"""Delivers the outbox lane `slack`: one reply in a deployment's thread when it has ended.

Slack has no idempotency key, so each reply carries the id of its outbox row as metadata. Wherever
an earlier try may have got through, the thread is searched before the reply is sent again.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from bot.clock import Clock
from bot.deployments.model import Deployment, Live, MessagePlace, Phase
from bot.deployments.states import status_of
from bot.deployments.verdict.wording import FAILURES
from bot.errors import SlackError
from bot.outbox import (
    APPROVAL,
    CORRECTED,
    NOTE,
    SLACK_LANE,
    Attempt,
    Delivered,
    Failed,
    LaneTiming,
    Outbox,
    OutboxLane,
    Outgoing,
    Undeliverable,
    open_lanes,
)
from bot.slack.client import SlackClient
from bot.slack.limits import SlackLimits
from bot.slack.refusals import NO_ANSWER, OUT, PASSING
from bot.slack.render import blocks as kit
from bot.slack.render import text as txt
from bot.slack.render import words
from bot.slack.render.blocks import Answer as Reply

_log = structlog.get_logger(__name__)

PATIENT_TRIES = 2
"""So often a message that is missing, or a thread that refuses replies, is waited for."""
LONGEST_CORRECTION = 90
LONGEST_REASON = 500
"""Characters. In the text for notifications fewer: it may get four times as long when escaped."""
OUT_OF_CHANNEL = (
    "I can't post in <#{channel}>. Its message will show this once I am back: `/invite` me there."
)
NO_REPLY = "I couldn't reply below its message in <#{channel}>. {why}"
RESULTS = {
    Phase.SUCCEEDED: "was deployed",
    Phase.FAILED: "failed",
    Phase.CANCELLED: "was cancelled",
}

Get = Callable[[str], Awaitable[Deployment | None]]
Broadcasts = Callable[[Deployment], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadReplies:
    """Sends one reply. `get` reads the newest row of a deployment: its message may have moved."""

    client: SlackClient
    get: Get
    clock: Clock
    limits: SlackLimits = field(default_factory=SlackLimits)
    name_server: bool = True
    broadcasts: Broadcasts = lambda _deployment: False
    """Whether the settings want failures of its app in the channel too."""

    async def __call__(self, row: Outgoing) -> Attempt:
        """Reply in the thread, once; out of the channel, to the requester. The lane tries again."""
        deployment = await self.get(row.deployment_id)
        if deployment is None:
            return Delivered("the deployment was withdrawn")
        if deployment.message is None:
            if row.tries < PATIENT_TRIES or (deployment.channel and self._is_young(row)):
                return Failed("its message has not been posted yet")
            return await self._directly(deployment, row)
        try:
            tried = may_be_there(row, now=self.clock.now(), untried=self.limits.untried_reply)
            if tried and await self._is_there(deployment.message, row):
                return Delivered("an earlier try had got through")
            reply = render(deployment, row, name_server=self.name_server)
            at = deployment.message
            check_hold(row)
            await self.client.post_reply(
                at.channel,
                at.root,
                text=reply.text,
                blocks=reply.blocks,
                reply_id=row.id,
                broadcast=_tells_failure(deployment, row) and self.broadcasts(deployment),
            )
        except SlackError as error:
            for_good = row.tries >= PATIENT_TRIES and error.code not in PASSING
            if error.code in OUT or for_good:
                return await self._directly(deployment, row, error)
            return _failed(error)
        return Delivered()

    def _is_young(self, row: Outgoing) -> bool:
        """Its message may still come: a process that died often tried this reply often."""
        age = None if row.created_at is None else self.clock.now() - row.created_at
        return age is not None and age < self.limits.message_comes

    async def _directly(
        self, deployment: Deployment, row: Outgoing, error: SlackError | None = None
    ) -> Attempt:
        """Nothing can be said in the thread: the requester gets it as a direct message, once."""
        user = deployment.requested_by.user
        if txt.mention(user) is None:
            return Undeliverable(
                "the channel cannot be posted to, and nobody in Slack asked for it"
            )
        reply = render(deployment, row, name_server=self.name_server)
        why = OUT_OF_CHANNEL.format(channel=deployment.channel)
        if error is not None and error.code not in OUT:
            why = NO_REPLY.format(channel=deployment.channel, why=error)
        try:
            check_hold(row)
            await self.client.post_reply(
                user,
                None,
                text=f"{reply.text} {why}",
                blocks=(*reply.blocks, kit.section(why)),
                reply_id=row.id,
            )
        except SlackError as refused:
            if refused.code in PASSING:
                return _failed(refused)
            return Undeliverable(f"not as a direct message either: {refused.code}")
        return Delivered("sent as a direct message")

    async def _is_there(self, place: MessagePlace, row: Outgoing) -> bool:
        """Whether the thread has the reply. False where it cannot be read: twice beats never."""
        since = row.created_at or datetime.fromtimestamp(0, tz=UTC)
        try:
            return await self.client.has_reply(
                place.channel,
                place.root,
                row.id,
                since=since,
                page=self.limits.thread_page,
            )
        except SlackError as error:
            if error.code not in {"missing_scope", "thread_not_found"}:
                raise
            _log.info("thread_not_readable", code=error.code, outgoing=row.id)
            return False


def _tells_failure(deployment: Deployment, row: Outgoing) -> bool:
    """Whether the reply is the result, or the corrected result, of a failed deployment."""
    return deployment.phase is Phase.FAILED and row.kind not in {NOTE, APPROVAL}


def may_be_there(row: Outgoing, *, now: datetime, untried: timedelta) -> bool:
    """An attempt may have got through: one failed, or a process died while it held the row.

    A row younger than `untried` was not held by another process before; one of the future has an
    unknown age: the clock was set back.
    """
    if row.tries > 0 or row.created_at is None:
        return True
    return not timedelta(0) <= now - row.created_at < untried


def check_hold(row: Outgoing) -> None:
    """SlackError: another process may have taken the row, as this one was suspended meanwhile."""
    if not row.may_send():
        raise SlackError("It took too long, so nothing was sent.", code=NO_ANSWER)


def _failed(error: SlackError) -> Failed:
    return Failed(f"{error.code or 'refused'}: {error}")


def render(deployment: Deployment, row: Outgoing, *, name_server: bool = True) -> Reply:
    """The reply to an outbox row: the newest result, a correction of it, a note, a call."""
    if row.kind == APPROVAL:
        return approval_reply(deployment, row, name_server=name_server)
    if row.kind == NOTE:
        note = txt.one_line(str(row.body.get("text") or ""))
        return Reply(
            text=txt.inert(note, 700), blocks=(kit.plain_section(txt.cut(note, 900) or "-"),)
        )
    result = result_reply(deployment, name_server=name_server)
    correction = correction_of(row)
    if not correction:
        return result
    return Reply(
        text=f"{txt.inert(correction, LONGEST_CORRECTION)} {result.text}",
        blocks=(kit.plain_section(correction), *result.blocks),
    )


def correction_of(row: Outgoing) -> str:
    """What was reported before, as plain text; empty if the row is not about a correction."""
    if row.kind != CORRECTED:
        return ""
    data = row.body.get("data")
    reported = data.get("corrected_from") if isinstance(data, Mapping) else None
    sentence = f"Correction: previously reported as {_reported(reported)}."
    return txt.cut(txt.one_line(sentence), LONGEST_CORRECTION)


def approval_reply(deployment: Deployment, row: Outgoing, *, name_server: bool = True) -> Reply:
    """Asks the app's approvers; pings them."""
    listed = row.body.get("mentions")
    who = " ".join(map(_ping, listed)) if isinstance(listed, list) else ""
    asker = words.actor_words(deployment.requested_by)
    target = words.target_words(deployment, name_server=name_server)
    line = (
        f"{who} {asker} asks to deploy *{txt.inert(deployment.app, 80)}* {target}. Approve or "
        "reject it in the message above."
    )
    return Reply(text=line, blocks=(kit.section(line),))


def _ping(who: object) -> str:
    """A user or a user group, of the settings."""
    found = str(who)
    return f"<!subteam^{found}>" if found.startswith("S") else f"<@{found}>"


def _reported(result: object) -> str:
    """A result in the words of the webhook payload."""
    if not isinstance(result, Mapping):
        return "something else"
    parts = [str(result[key]).replace("_", " ") for key in ("status", "failure") if result.get(key)]
    live = str(result.get("live") or Live.UNKNOWN)
    return f"{' · '.join(parts) or 'something else'} (live: {live})"


def result_reply(
    deployment: Deployment, *, now: datetime | None = None, name_server: bool = True
) -> Reply:
    """Result, duration, what is live and why, for an ended deployment.

    The only text of the bot that pings someone: the requester, if that is a Slack user. `now` is
    used only if the end's time is unknown.
    """
    end = deployment.finished_at or now or deployment.created_at
    icon = words.ICONS[status_of(deployment.phase)]
    took = txt.duration(deployment.duration(end))
    target = words.target_words(deployment, name_server=name_server)
    line = (
        f"{icon} *{txt.inert(deployment.app, 80)}* {target} {_result(deployment)} after {took}."
        f" Live now: {words.live_words(deployment)}{_address(deployment)}."
    )
    who = txt.mention(deployment.requested_by.user)
    addressed = f"{who} {line}" if who else line
    blocks = [kit.section(addressed)]
    if reason := words.reason_words(deployment):
        blocks.append(kit.plain_section(txt.cut(txt.one_line(reason), LONGEST_REASON) or "-"))
        addressed += f" {txt.inert(reason, LONGEST_REASON // 2)}"
    return Reply(text=addressed, blocks=tuple(blocks))


def _result(deployment: Deployment) -> str:
    result = RESULTS.get(deployment.phase, words.PHASES[deployment.phase].lower())
    if deployment.phase is Phase.FAILED and deployment.failure is not None:
        return f"{result} ({FAILURES[deployment.failure]})"
    return result


def _address(deployment: Deployment) -> str:
    if deployment.live is not Live.NEW or not deployment.url:
        return ""
    return f" at {words.address(deployment.url)}"


@asynccontextmanager
async def open_thread_replies(
    *,
    client: SlackClient,
    outbox: Outbox,
    get: Get,
    clock: Clock,
    limits: SlackLimits,
    name_server: bool,
    broadcasts: Broadcasts = lambda _deployment: False,
    drain: timedelta = timedelta(seconds=1),
    timing: LaneTiming | None = None,
) -> AsyncIterator[OutboxLane]:
    """Send replies while open. Leaving sends what is due, for at most `drain`."""
    deliver = ThreadReplies(
        client=client,
        get=get,
        clock=clock,
        limits=limits,
        name_server=name_server,
        broadcasts=broadcasts,
    )
    lane = OutboxLane(
        lane=SLACK_LANE, outbox=outbox, deliver=deliver, clock=clock, timing=timing or LaneTiming()
    )
    async with open_lanes([lane], drain=drain):
        yield lane
