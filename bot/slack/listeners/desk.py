"""What every listener works with: one call by one person, the ways to answer it, shared tools."""

import asyncio
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import aiohttp
import structlog
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.clock import Clock
from bot.deployments.model import Deployment, Trigger
from bot.deployments.requests.queries import Queries
from bot.deployments.requests.service import Service
from bot.errors import Declined, SlackError, StoreError
from bot.names import break_mentions
from bot.slack.client import OpenView, SlackClient
from bot.slack.limits import SlackLimits
from bot.slack.listeners.payloads import Asker, write_meta
from bot.slack.listeners.states import RecentStates
from bot.slack.refusals import PERHAPS_DONE
from bot.slack.render.answer_window import answer_window
from bot.slack.render.blocks import Answer, Json, section
from bot.slack.render.text import cut

CLOSED_MEANWHILE = frozenset({"not_found", "hash_conflict"})
LONGEST_SENTENCE = 2_000
RESPOND_TIMEOUT_S = 10
STOPPING = (
    "deploybot is being restarted and takes no requests now, so nothing was done. Deployments that "
    "run go on. Try again in a minute."
)
REMEMBERED = timedelta(minutes=10)
"""Slack's last retry of an event comes about 5 minutes after the first try."""
MOST_REMEMBERED = 20_000
MOST_MODALS = 1_000
_HTTP_OK = 200
_BROADCAST = re.compile(r"@(?=(?:here|channel|everyone)\b)")

log = structlog.get_logger(__name__)


class LockPerDeployment:
    """One lock per deployment or app, kept only while someone holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Hold the lock of `key` for the block."""
        lock, wanted = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, wanted + 1)
        try:
            async with lock:
                yield
        finally:
            lock, wanted = self._locks.pop(key)
            if wanted > 1:
                self._locks[key] = (lock, wanted - 1)


class RecentDeliveries:
    """Deliveries that this process received lately, so that Slack's repeats are ignored.

    Across replicas and restarts `Desk.claim` does the same in the database. This saves a query.
    """

    def __init__(
        self, *, clock: Clock, keep: timedelta = REMEMBERED, most: int = MOST_REMEMBERED
    ) -> None:
        self._clock = clock
        self._keep = keep.total_seconds()
        self._most = most
        self._received: OrderedDict[str, float] = OrderedDict()

    def add(self, key: str) -> bool:
        """Remember a delivery; whether it is the first with this key."""
        now = self._clock.monotonic()
        while self._received:
            oldest, since = next(iter(self._received.items()))
            if now - since < self._keep and len(self._received) < self._most:
                break
            del self._received[oldest]
        if key in self._received:
            return False
        self._received[key] = now
        return True


class Repeated(Exception):
    """This request was delivered before, perhaps to another replica: it is not handled again."""


class Turns:
    """The newest action in each modal: an older one that is late changes nothing any more."""

    def __init__(self, most: int = MOST_MODALS) -> None:
        self._most = most
        self._newest: OrderedDict[str, str] = OrderedDict()

    def is_newest(self, view_id: str, action_ts: str) -> bool:
        """Note an action; whether no later one in this modal was noted before."""
        newest = max(action_ts, self._newest.pop(view_id, ""))
        self._newest[view_id] = newest
        if len(self._newest) > self._most:
            self._newest.popitem(last=False)
        return newest == action_ts


async def claim_all(_key: str) -> bool:
    """For a process without a database: each request is its own."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The listeners' tools. One per process, made once Slack has said who the bot is."""

    service: Service
    client: SlackClient
    clock: Clock
    bot_user: str
    """The bot's own user id, to recognise mentions of it."""
    limits: SlackLimits = field(default_factory=SlackLimits)
    in_channel: Callable[[str, bool], None] = lambda _channel, _back: None
    """(channel, whether the bot has just come back): something arrived from there."""
    repeats: LockPerDeployment = field(default_factory=LockPerDeployment)
    """When two people press `Retry` at the same time, one deployment starts."""
    turns: Turns = field(default_factory=Turns)
    states: RecentStates
    """What was read for the newest answers about apps."""
    claim: Callable[[str], Awaitable[bool]] = claim_all
    """Whether the request with this key is handled by this process alone. StoreError."""
    stopping: Callable[[], bool] = lambda: False
    """Whether this process takes no more requests, because it is about to end."""

    @property
    def queries(self) -> Queries:
        """What listeners may ask."""
        return self.service.queries

    @property
    def names_server(self) -> bool:
        """Whether there are several servers, so that each app's is named."""
        return len(self.queries.servers.names()) > 1

    async def admit(self, asker: Asker) -> Asker:
        """The person, as one of the bot's own workspace. Declined: a stranger, or a guest.

        The service refuses their changes as well; questions, logs and forms also show what is on
        the servers, so they are for the bot's own workspace only.

        Every listener asks here first. Declined also while the bot stops; Repeated.
        """
        await self._claim(asker.key)
        admitted = replace(asker, actor=await self.service.access.admit(asker.actor))
        if self.stopping():
            raise Declined(STOPPING)
        return admitted

    async def _claim(self, key: str) -> None:
        try:
            if key and not await self.claim(key):
                raise Repeated(key)
        except StoreError as error:
            # What it asks for needs the database too, or changes nothing.
            log.warning("request_not_claimed", why=str(error))

    def answers(self, asker: Asker, *, aloud: bool = False) -> "Answers":
        """The ways to answer this person."""
        return Answers(client=self.client, asker=asker, aloud=aloud)

    async def show_view(
        self, view_id: str, view: Json, *, view_hash: str | None = None
    ) -> OpenView | None:
        """Replace what a modal shows. None: it was closed, or has changed since `view_hash`."""
        try:
            return await self.client.update_view(view_id, view, view_hash=view_hash)
        except SlackError as error:
            if error.code not in CLOSED_MEANWHILE:
                raise
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Answers to one act of one person: where they are, or at least somewhere."""

    client: SlackClient
    asker: Asker
    aloud: bool = False
    """Answer where all can read it, in the thread or the DM; else to the person only."""

    async def say(self, answer: Answer) -> None:
        """Send the answer. Where all could read it, but nothing can be posted: to the person."""
        if self.aloud:
            try:
                await self.post(answer)
            except SlackError as error:
                if error.code in PERHAPS_DONE:
                    raise
                log.info("answer_not_posted", error=error.code)
            else:
                return
        await self.whisper_answer(answer)

    async def whisper(self, sentence: str) -> None:
        """Send one line to the person only: a mistake, or what only they need to know."""
        answer = as_answer(sentence)
        if self.asker.direct:
            try:
                await self.post(answer)
            except SlackError as error:
                # A conversation between two other people has the same kind of id.
                log.info("direct_message_refused", error=error.code)
            else:
                return
        await self.whisper_answer(answer)

    async def ask(self, question: Answer) -> None:
        """Show a question with buttons to the person only."""
        await self.whisper_answer(question)

    async def settle(self, sentence: str | None = None) -> None:
        """Remove the question whose button was clicked, or replace it with `sentence`."""
        url = self.asker.response_url
        if sentence is None:
            if url is not None:
                await self._send(url, {"delete_original": True})
        elif not await self._replace(as_answer(sentence)):
            await self.whisper(sentence)

    async def replace(self, answer: Answer) -> None:
        """Show an answer in place of the one whose button was clicked; else below it."""
        if not await self._replace(answer):
            await self.whisper_answer(answer)

    async def _replace(self, answer: Answer) -> bool:
        url = self.asker.response_url
        body = {"replace_original": True, "text": answer.text, "blocks": list(answer.blocks)}
        return url is not None and await self._send(url, body)

    async def post(self, answer: Answer) -> None:
        """Say it where all can read it. SlackError: it cannot be posted there."""
        await self.client.post(
            self.asker.channel,
            text=answer.text,
            blocks=answer.blocks,
            thread_ts=self.asker.thread_ts,
        )

    async def whisper_answer(self, answer: Answer) -> None:
        """To the person only: by the response URL, else as an ephemeral message, else as a DM.

        The response URL works where the bot is not a member, but ends after 30 minutes or 5
        uses; an ephemeral message needs membership; a DM reaches everyone else, unless the app's
        Messages tab is switched off. SlackError: it cannot be said in a window either.
        """
        if self.asker.response_url and await self._respond(self.asker.response_url, answer):
            return
        user = self.asker.actor.user
        try:
            if self.asker.channel:
                await self.client.ephemeral(
                    self.asker.channel,
                    user,
                    text=answer.text,
                    blocks=answer.blocks,
                    thread_ts=self.asker.thread_ts,
                )
                return
        except SlackError as error:
            log.info("ephemeral_refused", error=error.code)
        try:
            await self.client.post(user, text=answer.text, blocks=answer.blocks)
        except SlackError as error:
            log.info("direct_message_refused", error=error.code)
            await self._show(answer, error)

    async def _show(self, answer: Answer, refused: SlackError) -> None:
        """No message reaches them: where the form was opened, else in a window."""
        asker = self.asker
        if asker.form_url and await self._respond(asker.form_url, answer):
            return
        if not asker.trigger_id:
            raise refused
        metadata = write_meta(channel=asker.channel, dm=asker.dm, url=asker.form_url)
        view = answer_window(answer, metadata=metadata)
        await self.client.open_view(asker.trigger_id, view, above=asker.in_window)

    async def _respond(self, url: str, answer: Answer) -> bool:
        body: dict[str, Any] = {
            "response_type": "ephemeral",
            "replace_original": False,
            "text": answer.text,
            "blocks": list(answer.blocks),
        }
        if self.asker.thread_ts is not None:
            body["thread_ts"] = self.asker.thread_ts
        return await self._send(url, body)

    async def _send(self, url: str, body: dict[str, Any]) -> bool:
        """Whether Slack took it: a refused response URL raises nothing by itself."""
        web = self.client.web
        webhook = AsyncWebhookClient(
            url, session=web.session, ssl=web.ssl, timeout=RESPOND_TIMEOUT_S, retry_handlers=[]
        )
        # The SDK reads HTTPS_PROXY here too, and never NO_PROXY; the client has decided.
        webhook.proxy = web.proxy
        try:
            response = await webhook.send_dict(body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.info("response_url_failed", error=type(error).__name__)
            return False
        if response.status_code != _HTTP_OK:
            log.info("response_url_refused", status=response.status_code)
        return response.status_code == _HTTP_OK


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One thing that a person asked for: who, where, and through what."""

    desk: Desk
    asker: Asker
    answers: Answers
    trigger: Trigger
    request_key: str
    rest: tuple[str, ...] = ()
    """The words behind the command."""
    trigger_id: str | None = None
    """A modal can be opened with it, for 3 seconds; chat messages have none."""
    about: Deployment | None = None
    """The deployment in whose thread it was said."""


def as_answer(sentence: str) -> Answer:
    """One of the bot's sentences as a message; in a block, so that Slack makes no links of it.

    It may quote what a person typed, and a branch may be called `@here`.
    """
    sentence = _BROADCAST.sub(break_mentions("@"), cut(sentence, LONGEST_SENTENCE) or "-")
    return Answer(text=sentence, blocks=(section(sentence),))
