"""Delivers notices about locks: to a channel or, as a direct message, to a person.

Slack has no idempotency key. A message to a channel carries the id of its row as metadata, and is
looked for before it may be sent again; a direct message may arrive twice, but is never lost.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from bot.clock import Clock
from bot.deployments.locks.rules import ENDED
from bot.errors import SlackError
from bot.outbox import (
    NOTICES_LANE,
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
from bot.slack.refusals import PASSING
from bot.slack.render.blocks import section
from bot.slack.render.locks import notice_words
from bot.slack.render.text import mention, plain_times
from bot.slack.thread_replies import check_hold, may_be_there

_log = structlog.get_logger(__name__)

NOBODY_THERE = frozenset(
    {
        "account_inactive",
        "cannot_dm_bot",
        "is_inactive",
        "messages_tab_disabled",
        "channel_not_found",
        "is_archived",
        "not_in_channel",
        "user_disabled",
        "user_not_found",
    }
)
"""Slack's codes for a receiver that no later try would reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notices:
    """Sends one notice."""

    client: SlackClient
    clock: Clock
    limits: SlackLimits = field(default_factory=SlackLimits)
    name_server: bool = True

    async def __call__(self, row: Outgoing) -> Attempt:
        """Post it. The lane tries again what Slack refused for a while."""
        to = row.deployment_id
        text = notice_words(row.kind, row.body, name_server=self.name_server)
        try:
            tried = may_be_there(row, now=self.clock.now(), untried=self.limits.untried_reply)
            if tried and not _is_person(to) and await is_posted(self.client, to, row):
                return Delivered("an earlier try had got through")
            check_hold(row)
            await self.client.post(
                to, text=plain_times(text), blocks=(section(text),), deployment_id=row.id
            )
        except SlackError as error:
            if not _is_final(error):
                return Failed(f"{error.code or 'refused'}: {error}")
            holder = row.body.get("holder")
            user = str(holder.get("user")) if isinstance(holder, Mapping) else ""
            if row.kind != ENDED or user == to or mention(user) is None:
                return Undeliverable(f"{error.code}: {error}")
            # Who set the lock has to know, even where the channel takes no message.
            return await self._tell(user, row, text)
        return Delivered()

    async def _tell(self, user: str, row: Outgoing, text: str) -> Attempt:
        try:
            check_hold(row)
            await self.client.post(
                user, text=plain_times(text), blocks=(section(text),), deployment_id=row.id
            )
        except SlackError as error:
            if _is_final(error):
                return Undeliverable(f"{error.code}: {error}")
            return Failed(f"{error.code or 'refused'}: {error}")
        return Delivered("sent to its holder")


async def is_posted(client: SlackClient, channel: str, row: Outgoing) -> bool:
    """Whether the channel has the message of this row.

    False if the channel can't be read: a duplicate beats a loss. SlackError: Slack does not answer
    for a while.
    """
    since = row.created_at or datetime.fromtimestamp(0, tz=UTC)
    try:
        return await client.find_by_metadata(channel, row.id, since=since) is not None
    except SlackError as error:
        if error.code in PASSING:
            raise
        _log.info("channel_not_readable", code=error.code, outgoing=row.id)
        return False


def _is_person(receiver: str) -> bool:
    """A direct message cannot be looked for: it may arrive twice."""
    return receiver.startswith(("U", "W"))


def _is_final(error: SlackError) -> bool:
    """Whether a later try cannot work: the receiver is gone, or a setting forbids it."""
    return error.code in NOBODY_THERE or error.code.startswith("restricted_action")


@asynccontextmanager
async def open_notices(
    *,
    client: SlackClient,
    outbox: Outbox,
    clock: Clock,
    limits: SlackLimits,
    name_server: bool,
    drain: timedelta = timedelta(seconds=1),
    timing: LaneTiming | None = None,
) -> AsyncIterator[OutboxLane]:
    """Send notices while open. Leaving sends what is due, for at most `drain`."""
    lane = OutboxLane(
        lane=NOTICES_LANE,
        outbox=outbox,
        deliver=Notices(client=client, clock=clock, limits=limits, name_server=name_server),
        clock=clock,
        timing=timing or LaneTiming(),
    )
    async with open_lanes([lane], drain=drain):
        yield lane
