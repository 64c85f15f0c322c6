"""Posting a live message so that there is one of it, also when Slack's answer is lost."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from bot.deployments.model import Deployment, MessagePlace
from bot.errors import SlackError
from bot.slack.client import Blocks
from bot.slack.refusals import PASSING, PERHAPS_DONE
from bot.slack.render.deployment import Rendered
from bot.slack.render.text import mention

log = structlog.get_logger(__name__)

PERMALINK_PATIENCE_S = 0.5
UNNAMED = "…"
CLOCK_SKEW = timedelta(minutes=2)
"""How far Slack's clock, which numbers the messages, may be from ours."""


def without_ping(deployment: Deployment) -> Deployment:
    """As it is posted. Who has no known name is shown by the first edit: only that pings nobody.

    The requester is mentioned once, at the end.
    """
    actor = deployment.requested_by
    if actor.name is not None or mention(actor.user) is None:
        return deployment
    return replace(deployment, requested_by=replace(actor, user=UNNAMED))


def reply_link(former: MessagePlace, ts: str) -> str | None:
    """The address of a reply in a message's thread, by the message's own; None: it has none.

    Replies to the reply must go to its thread's root, which nothing but its address keeps.
    Source: the examples of `chat.getPermalink` in Slack's docs.
    """
    if former.permalink is None:
        return None
    home, _, _ = former.permalink.partition("/archives/")
    place = f"{former.channel}/p{ts.replace('.', '')}"
    return f"{home}/archives/{place}?thread_ts={former.root}&cid={former.channel}"


class Messages(Protocol):
    """What of the Slack client is needed to post."""

    async def post(
        self,
        channel: str,
        *,
        text: str,
        blocks: Blocks,
        thread_ts: str | None = None,
        deployment_id: str | None = None,
    ) -> str:
        """See `SlackClient.post`."""
        ...

    async def permalink(self, channel: str, ts: str) -> str:
        """See `SlackClient.permalink`."""
        ...

    async def find_by_metadata(
        self, channel: str, deployment_id: str, *, since: datetime
    ) -> str | None:
        """See `SlackClient.find_by_metadata`."""
        ...


class Posting:
    """Where a live message comes into the world, or is found again."""

    def __init__(self, *, client: Messages) -> None:
        self._client = client

    async def post(self, deployment: Deployment, rendered: Rendered) -> MessagePlace:
        """Post it in the deployment's channel. SlackError: it cannot be.

        Where no answer came, or an unsure one, the channel is searched before it is posted
        once more.
        """
        try:
            ts = await self._send(deployment, rendered, deployment.channel)
        except SlackError as error:
            if error.code not in PERHAPS_DONE:
                raise
            found = await self.find(deployment)
            if found is not None:
                return found
            ts = await self._send(deployment, rendered, deployment.channel)
        return await self._place(deployment.channel, ts)

    async def find(self, deployment: Deployment) -> MessagePlace | None:
        """The message that a bot left behind which died before it stored the place.

        None: there is none, or the channel's history may not be read.
        """
        try:
            ts = await self._search(deployment)
        except SlackError as error:
            log.warning("message_not_searched", deployment_id=deployment.id, code=error.code)
            return None
        return None if ts is None else await self._place(deployment.channel, ts)

    async def post_anew(
        self, deployment: Deployment, rendered: Rendered, former: MessagePlace
    ) -> MessagePlace:
        """In place of a deleted message: in its former thread, else in its channel. SlackError."""
        try:
            ts = await self._send(deployment, rendered, former.channel, former.root)
        except SlackError as error:
            if error.code in PASSING:
                raise
            ts = await self._send(deployment, rendered, former.channel)
            return await self._place(former.channel, ts)
        place = await self._place(former.channel, ts)
        return replace(place, permalink=place.permalink or reply_link(former, ts))

    async def _send(
        self,
        deployment: Deployment,
        rendered: Rendered,
        channel: str,
        thread_ts: str | None = None,
    ) -> str:
        return await self._client.post(
            channel,
            text=rendered.text,
            blocks=rendered.blocks,
            thread_ts=thread_ts,
            deployment_id=deployment.id,
        )

    async def _search(self, deployment: Deployment) -> str | None:
        return await self._client.find_by_metadata(
            deployment.channel, deployment.id, since=deployment.created_at - CLOCK_SKEW
        )

    async def _place(self, channel: str, ts: str) -> MessagePlace:
        """With the permalink, or without: nothing waits for it for long."""
        try:
            async with asyncio.timeout(PERMALINK_PATIENCE_S):
                link = await self._client.permalink(channel, ts)
        except (SlackError, TimeoutError) as error:
            log.info("no_permalink", channel=channel, ts=ts, error=type(error).__name__)
            link = None
        return MessagePlace(channel=channel, ts=ts, permalink=link)
