"""Delivers the outbox lane `slack`: one reply in the live message's thread at an end.

Slack has no key that keeps a second copy away, so the reply carries the outgoing id as its
metadata: wherever an earlier try may have got through, the thread is read before anything is
sent again.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.clock import Clock
from bot.deployments.model import Deployment, MessagePlace
from bot.errors import SlackError
from bot.outbox.lane import Answer, NotTold, OutboxLane, Told, open_lanes
from bot.outbox.model import Outbox, Outgoing
from bot.slack.client import SlackClient
from bot.slack.refusals import NO_ANSWER, as_error
from bot.slack.render import blocks as kit
from bot.slack.render.blocks import Answer as Reply
from bot.slack.render.mention import end_mention
from bot.slack.render.text import cut, inert, one_line

_log = structlog.get_logger(__name__)

LANE = "slack"
METADATA_TYPE = "outgoing"
"""`event_type` of the metadata on a reply; its payload is `{"id": <outgoing id>}`."""
CORRECTED = "deployment.corrected"
NOTE = "deployment.note"
FRESH = timedelta(seconds=30)
"""Younger than this and never tried: nobody can have sent it yet (a row is held for longer)."""
MARGIN = timedelta(minutes=1)
"""Slack's clock may be behind ours."""
PAGES = 5
PAGE = 200

Get = Callable[[str], Awaitable[Deployment | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mentions:
    """Tells one row. `get` reads the newest row of a deployment: its message may have moved."""

    client: SlackClient
    get: Get
    clock: Clock

    async def __call__(self, row: Outgoing) -> Answer:
        """Reply in the thread, once. Any refusal of Slack's is tried again by the lane."""
        deployment = await self.get(row.deployment_id)
        if deployment is None:
            return Told("the deployment was withdrawn")
        if deployment.message is None:
            return NotTold("its message has not been posted yet")
        try:
            if self._may_be_there(row) and await self._is_there(deployment.message, row):
                return Told("an earlier try had got through")
            await self._reply(deployment, deployment.message, row)
        except SlackError as error:
            return NotTold(f"{error.code or 'refused'}: {error}")
        return Told()

    def _may_be_there(self, row: Outgoing) -> bool:
        """A try may have got through: one failed, or a process died holding the row."""
        young = row.created_at is not None and self.clock.now() - row.created_at < FRESH
        return row.tries > 0 or not young

    async def _is_there(self, place: MessagePlace, row: Outgoing) -> bool:
        """Whether the thread has the reply. False too where the thread may not be read.

        Told twice is better than never.
        """
        since = row.created_at or datetime.fromtimestamp(0, tz=UTC)
        cursor: str | None = None
        for _ in range(PAGES):
            try:
                answer = await self._call(
                    "conversations.replies",
                    self.client.web.conversations_replies(
                        channel=place.channel,
                        ts=place.root,
                        include_all_metadata=True,
                        oldest=f"{(since - MARGIN).timestamp():.6f}",
                        limit=PAGE,
                        cursor=cursor,
                    ),
                )
            except SlackError as error:
                if error.code in {"missing_scope", "thread_not_found"}:
                    _log.info("thread_not_readable", code=error.code, outgoing=row.id)
                    return False
                raise
            messages: list[Mapping[str, Any]] = answer.get("messages") or []
            if any(_carries(message, row.id) for message in messages):
                return True
            cursor = (answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                break
        return False

    async def _reply(self, deployment: Deployment, place: MessagePlace, row: Outgoing) -> None:
        reply = render(deployment, row)
        await self._call(
            "chat.postMessage",
            self.client.web.chat_postMessage(
                channel=place.channel,
                thread_ts=place.root,
                text=reply.text,
                blocks=list(reply.blocks),
                metadata={"event_type": METADATA_TYPE, "event_payload": {"id": row.id}},
                parse="none",
                unfurl_links=False,
                unfurl_media=False,
            ),
        )

    async def _call(self, method: str, call: Awaitable[AsyncSlackResponse]) -> AsyncSlackResponse:
        try:
            return await call
        except SlackApiError as error:
            name = self.client.identity.name if self.client.identity else "deploybot"
            raise as_error(method, error.response, bot_name=name) from error
        except (aiohttp.ClientError, SlackClientError, TimeoutError, OSError) as error:
            raise SlackError("Slack did not answer.", code=NO_ANSWER) from error


def render(deployment: Deployment, row: Outgoing) -> Reply:
    """The end as it is known now; a correction says so first."""
    if row.kind == NOTE:
        words = one_line(str(row.body.get("text") or ""))
        return Reply(text=inert(words, 900), blocks=(kit.plain_section(cut(words, 900) or "-"),))
    said = end_mention(deployment)
    if row.kind != CORRECTED:
        return said
    former = row.body.get("data")
    known = former.get("corrected_from") if isinstance(former, Mapping) else None
    words = f"Corrected. It was told before as {_former(known)}."
    return Reply(text=f"{words} {said.text}", blocks=(kit.plain_section(words), *said.blocks))


def _former(known: object) -> str:
    if not isinstance(known, Mapping):
        return "something else"
    parts = [str(known[key]).replace("_", " ") for key in ("status", "failure") if known.get(key)]
    live = f"live: {known['live']}" if known.get("live") else "live: not known"
    return f"{' · '.join(parts) or 'something else'} ({live})"


def _carries(message: Mapping[str, Any], outgoing_id: str) -> bool:
    metadata = message.get("metadata") or {}
    payload = metadata.get("event_payload") or {}
    return metadata.get("event_type") == METADATA_TYPE and payload.get("id") == outgoing_id


@dataclass(frozen=True, slots=True)
class MentionLane:
    """The lane, running."""

    lane: OutboxLane

    def kick(self) -> None:
        """A row may have been written: look now. Returns at once."""
        self.lane.kick()


@asynccontextmanager
async def open_mentions(
    *,
    client: SlackClient,
    outbox: Outbox,
    get: Get,
    clock: Clock,
    drain: timedelta = timedelta(seconds=1),
) -> AsyncIterator[MentionLane]:
    """Tell what the lane holds while open. Leaving tells what is due, for at most `drain`."""
    tell = Mentions(client=client, get=get, clock=clock)
    lane = OutboxLane(lane=LANE, outbox=outbox, deliver=tell, clock=clock)
    async with open_lanes([lane], drain=drain):
        yield MentionLane(lane)
