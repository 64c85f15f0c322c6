"""One live message: where it is and what it shows; and how it is posted exactly once."""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from bot.clock import Clock
from bot.deployments.model import Deployment, MessagePlace, Phase
from bot.deployments.ports import Urgency
from bot.deployments.progress import Progress
from bot.deployments.states import ENDINGS
from bot.errors import SlackError
from bot.slack.client import Blocks
from bot.slack.refusals import NO_ANSWER, OUT, PASSING, PERHAPS_DONE
from bot.slack.render.deployment import Rendered
from bot.slack.render.text import mention

log = structlog.get_logger(__name__)

PERMALINK_LIMIT_S = 0.5
ALONE_FOR = timedelta(seconds=10)
"""After half of `Timing.posting` another replica may post the message soon. Only a process that was
suspended meanwhile, or a Slack that is slow, takes so long."""
UNNAMED = "…"

LONGEST_BACKOFF = timedelta(seconds=60)
PATIENT_TRIES = 2
TRIES_OUT_OF_CHANNEL = 8
FIRST_OUT, LONGEST_OUT = timedelta(minutes=1), timedelta(minutes=10)
"""Pauses between tries while the bot is out of the channel: about an hour in all."""


@dataclass(slots=True, kw_only=True)
class LiveMessage:
    """What is known of one message."""

    place: MessagePlace
    stored: bool = True
    """The store knows the place."""
    hash: str | None = None
    """Of what it shows; None: unknown."""
    phase: Phase | None = None
    has_lines: bool = False
    """It shows lines of the log."""
    changed_at: float | None = None
    """Since when there is a phase or a result that it does not show."""
    gone: bool = False
    """It was deleted twice, or cannot be edited: it is left alone."""
    bare: bool = False
    """Slack found it too large: rendered without log lines from now on."""
    out: int = 0
    """How many edits in a row were refused because the bot is out of the channel."""
    failures: int = 0
    unanswered: bool = False
    """Slack did not answer an edit: it may still arrive, after newer ones."""

    def out_of_channel(self) -> timedelta | None:
        """Another edit was refused for that: when to try again; None: only if something changes."""
        self.out += 1
        if self.out > TRIES_OUT_OF_CHANNEL:
            return None
        return min(LONGEST_OUT, FIRST_OUT * 2.0 ** (self.out - 1))

    def was_refused(self, code: str) -> None:
        """An edit failed, or was not answered."""
        self.failures += 1
        self.unanswered = self.unanswered or code == NO_ANSWER

    def needs_another(self, deployment: Deployment) -> bool:
        """Whether the result that it shows now must be shown once more, once."""
        again = self.unanswered and deployment.phase in ENDINGS
        if again:
            self.unanswered, self.hash = False, None
        return again

    def may_come_back(self, code: str) -> bool:
        """Whether it may still be there after that error; Slack also calls an absence so."""
        return code in OUT or (code == "cant_update_message" and self.out < PATIENT_TRIES)

    def shows(self, deployment: Deployment, rendered: Rendered, *, has_lines: bool) -> None:
        """Note what it shows now."""
        self.hash = rendered.shown_hash
        self.phase = deployment.phase
        self.has_lines = has_lines
        self.failures = self.out = 0


def backoff(failures: int) -> timedelta:
    """How long to wait after that many failures in a row."""
    return min(LONGEST_BACKOFF, timedelta(seconds=2.0 ** min(failures - 1, 10)))


def urgency_of(
    message: LiveMessage | None, deployment: Deployment, progress: Progress, given: Urgency
) -> Urgency:
    """How urgent an edit is: results, new phases and first log lines always are."""
    if deployment.phase in ENDINGS:
        return Urgency.NOW
    if message is None:
        return given
    if message.phase is deployment.phase and (message.has_lines or not progress.tail):
        return given
    return min(given, Urgency.PHASE)


def without_ping(deployment: Deployment) -> Deployment:
    """As it is posted: only an edit shows a requester without a known name, since it pings nobody.

    The requester is mentioned once, in the thread at the end.
    """
    actor = deployment.requested_by
    if actor.name is not None or mention(actor.user) is None:
        return deployment
    return replace(deployment, requested_by=replace(actor, user=UNNAMED))


class PostingClient(Protocol):
    """What posting needs of the Slack client."""

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
    """Posts a live message, or finds one that was posted before."""

    def __init__(self, *, client: PostingClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._searched: dict[str, float] = {}
        """Since when no message was found, in monotonic seconds."""

    async def post(self, deployment: Deployment, rendered: Rendered) -> MessagePlace:
        """Post it in the deployment's channel. SlackError: it cannot be posted.

        If Slack's answer was lost or unclear, the channel is searched before a second try; if
        another replica may have posted it meanwhile, before the first one.
        """
        if self._is_alone(deployment):
            try:
                ts = await self._send(deployment, rendered, deployment.channel)
            except SlackError as error:
                if error.code not in PERHAPS_DONE:
                    raise
            else:
                return await self._place(deployment.channel, ts)
        found = await self.find(deployment, now=True)
        if found is not None:
            return found
        ts = await self._send(deployment, rendered, deployment.channel)
        return await self._place(deployment.channel, ts)

    async def find(self, deployment: Deployment, *, now: bool = False) -> MessagePlace | None:
        """The message of a bot that died before it stored the place.

        None: there is none, or the channel's history cannot be read. SlackError: it can be read
        later, and a message that is there must not be posted again; `now`: nobody can wait.
        """
        try:
            ts = await self._client.find_by_metadata(
                deployment.channel, deployment.id, since=deployment.created_at
            )
        except SlackError as error:
            log.warning("message_not_searched", deployment_id=deployment.id, code=error.code)
            if error.code in PASSING and not now:
                raise
            return None
        if ts is None:
            self._searched[deployment.id] = self._clock.monotonic()
            return None
        return await self._place(deployment.channel, ts)

    def _is_alone(self, deployment: Deployment) -> bool:
        searched = self._searched.pop(deployment.id, None)
        if searched is None:
            # Either way: the clock may have been set back since.
            return abs(self._clock.now() - deployment.created_at) < ALONE_FOR
        return self._clock.monotonic() - searched < ALONE_FOR.total_seconds()

    async def post_again(
        self, deployment: Deployment, rendered: Rendered, deleted: MessagePlace
    ) -> MessagePlace:
        """In place of a deleted message: in its former thread, else in its channel. SlackError."""
        try:
            ts = await self._send(deployment, rendered, deleted.channel, deleted.root)
        except SlackError as error:
            if error.code in PASSING | OUT:
                raise
            ts = await self._send(deployment, rendered, deleted.channel)
            return await self._place(deleted.channel, ts)
        place = await self._place(deleted.channel, ts)
        return replace(place, permalink=place.permalink or reply_link(deleted, ts))

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

    async def _place(self, channel: str, ts: str) -> MessagePlace:
        """With the permalink if it comes soon: nothing waits long for it."""
        try:
            async with asyncio.timeout(PERMALINK_LIMIT_S):
                link = await self._client.permalink(channel, ts)
        except (SlackError, TimeoutError) as error:
            log.info("no_permalink", channel=channel, ts=ts, error=type(error).__name__)
            link = None
        return MessagePlace(channel=channel, ts=ts, permalink=link)


def reply_link(parent: MessagePlace, ts: str) -> str | None:
    """The address of a reply in a message's thread, made from the message's own; None: it has none.

    Replies to the reply must go to its thread's root, which only its address keeps.
    Source: the examples of `chat.getPermalink` in Slack's docs.
    """
    if parent.permalink is None:
        return None
    home, _, _ = parent.permalink.partition("/archives/")
    place = f"{parent.channel}/p{ts.replace('.', '')}"
    return f"{home}/archives/{place}?thread_ts={parent.root}&cid={parent.channel}"


class EditingClient(PostingClient, Protocol):
    """What is needed of the Slack client."""

    async def update(self, channel: str, ts: str, *, text: str, blocks: Blocks) -> None:
        """See `SlackClient.update`."""
        ...


class Places(Protocol):
    """What is needed of the store."""

    async def get(self, deployment_id: str) -> Deployment | None:
        """By full id."""
        ...

    async def place_message(self, deployment_id: str, place: MessagePlace) -> None:
        """Store where the live message is."""
        ...
