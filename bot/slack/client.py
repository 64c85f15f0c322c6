"""All calls of Slack's Web API: one HTTP session, one metric, errors as sentences for people.

What is repeated after an error depends on the call:
- edits (`update`) are never repeated here: the edit gate sends the newest state instead;
- thread replies are never repeated here: the outbox tries again;
- one-shot calls are repeated by the SDK after a 429, a 5xx or a broken connection;
- `post` is repeated only where nothing can have been posted (a brief 429, no connection at all),
  since Slack has no key that would keep a second copy away.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import (
    AsyncConnectionErrorRetryHandler,
    AsyncRateLimitErrorRetryHandler,
    AsyncServerErrorRetryHandler,
)
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.deployments.model import Person
from bot.errors import SlackError
from bot.slack.refusals import NO_ANSWER, UNREACHABLE, RateLimited, as_error
from bot.slack.unreachable import NO_USABLE_ANSWER, BriefRateLimit, bypasses_proxy, sibling_of

SLACK_API_URL = "https://slack.com/api/"
TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=5, sock_read=15)
METADATA_TYPE = "deployment"
"""`event_type` of the metadata on a live message; its payload is `{"id": <deployment id>}`."""
REPLY_METADATA_TYPE = "outgoing"
"""`event_type` of the metadata on a thread reply; its payload is `{"id": <outgoing id>}`."""
CLOCK_SKEW = timedelta(minutes=2)
"""How far Slack's clock, which numbers the messages, may be behind the bot's clock."""
HISTORY_PAGES = 3
HISTORY_PAGE = 200
THREAD_PAGES = 5
NO_SUCH_GROUP = frozenset({"no_such_subteam", "subteam_not_found"})
NO_SUCH_USER = frozenset({"user_not_found", "user_not_visible"})

Blocks = Sequence[dict[str, Any]]
Observed = Callable[[str, str], None]
"""(method, outcome): `ok`, or Slack's error word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the bot is in its workspace (`auth.test`)."""

    team: str
    user: str
    bot: str
    name: str
    enterprise: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenView:
    """A modal that is open; `hash` guards an update against another one in between."""

    id: str
    hash: str


class SlackClient:
    """Every method may raise SlackError, with a sentence that can be shown to people.

    RateLimited carries how long to wait. Every call to the Web API is one of these methods, so
    that all of them are counted. `web` is the SDK's client, for its session, token and proxy; it
    repeats nothing.
    """

    def __init__(self, *, web: AsyncWebClient, observed: Observed) -> None:
        self.web = web
        self.identity: Identity | None = None
        self._observed = observed
        self._patient = sibling_of(
            web,
            AsyncConnectionErrorRetryHandler(),
            AsyncRateLimitErrorRetryHandler(),
            AsyncServerErrorRetryHandler(),
        )
        self._posting = sibling_of(web, BriefRateLimit())

    async def authenticate(self) -> Identity:
        """`auth.test`: learn who the bot is; SlackError says what is wrong with the token."""
        answer = await self._call("auth.test", self._patient.auth_test())
        self.identity = Identity(
            team=answer.get("team_id", ""),
            user=answer.get("user_id", ""),
            bot=answer.get("bot_id", ""),
            name=answer.get("user", ""),
            enterprise=answer.get("enterprise_id") or None,
        )
        return self.identity

    async def check_token(self) -> None:
        """`auth.test` once: SlackError says what is wrong."""
        await self._call("auth.test", self.web.auth_test())

    async def post(
        self,
        channel: str,
        *,
        text: str,
        blocks: Blocks,
        thread_ts: str | None = None,
        deployment_id: str | None = None,
    ) -> str:
        """Post a message; its ts. With `deployment_id` it can be found again by its metadata.

        SlackError with code NO_ANSWER: it may have been posted.
        """
        metadata = None if deployment_id is None else _metadata(METADATA_TYPE, deployment_id)

        def send() -> Awaitable[AsyncSlackResponse]:
            return self._posting.chat_postMessage(
                channel=channel,
                text=text,
                blocks=list(blocks),
                thread_ts=thread_ts,
                metadata=metadata,
                parse="none",
                unfurl_links=False,
                unfurl_media=False,
            )

        try:
            answer = await self._call("chat.postMessage", send())
        except SlackError as error:
            if error.code != UNREACHABLE:
                raise
            answer = await self._call("chat.postMessage", send())
        return str(answer["ts"])

    async def update(self, channel: str, ts: str, *, text: str, blocks: Blocks) -> None:
        """Edit a message. MessageGone: never again; RateLimited: not for a while."""
        await self._call(
            "chat.update",
            self.web.chat_update(
                channel=channel, ts=ts, text=text, blocks=list(blocks), parse="none"
            ),
        )

    async def ephemeral(
        self, channel: str, user: str, *, text: str, blocks: Blocks, thread_ts: str | None = None
    ) -> None:
        """Show something to one person only. Slack does not promise that it arrives."""
        await self._call(
            "chat.postEphemeral",
            self._patient.chat_postEphemeral(
                channel=channel,
                user=user,
                text=text,
                blocks=list(blocks),
                thread_ts=thread_ts,
                parse="none",
            ),
        )

    async def upload(
        self,
        channel: str,
        *,
        filename: str,
        content: str,
        title: str,
        comment: str = "",
        thread_ts: str | None = None,
    ) -> None:
        """Share a text as a file, in the thread where one is given."""
        if not content:
            raise SlackError("There is nothing to upload: the text is empty.", code="empty")
        await self._call(
            "files.upload",
            self._patient.files_upload_v2(
                filename=filename,
                content=content.encode("utf-8", "replace"),
                title=title,
                channel=channel,
                thread_ts=thread_ts,
                initial_comment=comment or None,
            ),
        )

    async def open_view(
        self, trigger_id: str, view: Mapping[str, Any], *, above: bool = False
    ) -> OpenView:
        """Open a modal, or put it `above` the open one. A trigger works once, for 3 s."""
        name, call = ("push", self.web.views_push) if above else ("open", self.web.views_open)
        answer = await self._call(f"views.{name}", call(trigger_id=trigger_id, view=dict(view)))
        return OpenView(id=answer["view"]["id"], hash=answer["view"].get("hash", ""))

    async def update_view(
        self, view_id: str, view: Mapping[str, Any], *, view_hash: str | None = None
    ) -> OpenView:
        """Show something else in an open modal. `view_hash`: only if it has not changed since."""
        answer = await self._call(
            "views.update",
            self._patient.views_update(view_id=view_id, view=dict(view), hash=view_hash),
        )
        return OpenView(id=answer["view"]["id"], hash=answer["view"].get("hash", ""))

    async def publish_home(self, user: str, view: Mapping[str, Any]) -> None:
        """Show a Home tab. Nothing is repeated: the next refresh shows the newest state."""
        await self._call("views.publish", self.web.views_publish(user_id=user, view=dict(view)))

    async def permalink(self, channel: str, ts: str) -> str:
        """The address of a message."""
        answer = await self._call(
            "chat.getPermalink", self._patient.chat_getPermalink(channel=channel, message_ts=ts)
        )
        return str(answer["permalink"])

    async def find_by_metadata(
        self, channel: str, deployment_id: str, *, since: datetime
    ) -> str | None:
        """The ts of the bot's live message of a deployment, posted at `since` or later.

        Searches the channel's history, which needs its scope and membership (SlackError).
        """
        own = await self._own_bot()
        cursor: str | None = None
        for _ in range(HISTORY_PAGES):
            answer = await self._call(
                "conversations.history",
                self._patient.conversations_history(
                    channel=channel,
                    oldest=_oldest(since),
                    inclusive=True,
                    include_all_metadata=True,
                    limit=HISTORY_PAGE,
                    cursor=cursor,
                ),
            )
            messages: Sequence[Mapping[str, Any]] = answer.get("messages", ())
            for message in messages:
                if _metadata_id(message, METADATA_TYPE, own) == deployment_id:
                    return str(message["ts"])
            cursor = (answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                break
        return None

    async def post_reply(
        self,
        channel: str,
        thread_ts: str | None,
        *,
        text: str,
        blocks: Blocks,
        reply_id: str,
        broadcast: bool = False,
    ) -> None:
        """Reply in a thread, or to a user. Nothing is repeated: the outbox does that.

        `broadcast`: Slack shows the reply in the channel too.
        """
        await self._call(
            "chat.postMessage",
            self.web.chat_postMessage(
                channel=channel,
                thread_ts=thread_ts,
                text=text,
                blocks=list(blocks),
                reply_broadcast=broadcast or None,
                metadata=_metadata(REPLY_METADATA_TYPE, reply_id),
                parse="none",
                unfurl_links=False,
                unfurl_media=False,
            ),
        )

    async def has_reply(
        self, channel: str, thread_ts: str, reply_id: str, *, since: datetime, page: int
    ) -> bool:
        """Whether `post_reply` has posted this reply at `since` or later."""
        own = await self._own_bot()
        cursor: str | None = None
        for _ in range(THREAD_PAGES):
            answer = await self._call(
                "conversations.replies",
                self.web.conversations_replies(
                    channel=channel,
                    ts=thread_ts,
                    include_all_metadata=True,
                    oldest=_oldest(since),
                    limit=page,
                    cursor=cursor,
                ),
            )
            messages: Sequence[Mapping[str, Any]] = answer.get("messages") or ()
            if any(_metadata_id(one, REPLY_METADATA_TYPE, own) == reply_id for one in messages):
                return True
            cursor = (answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                break
        return False

    async def group_members(self, group: str) -> frozenset[str]:
        """The users of a user group, by its id; none where the group no longer exists."""
        try:
            answer = await self._call(
                "usergroups.users.list", self.web.usergroups_users_list(usergroup=group)
            )
        except SlackError as error:
            if error.code in NO_SUCH_GROUP:
                return frozenset()
            raise
        return frozenset(answer.get("users") or ())

    async def person(self, user: str) -> Person | None:
        """A user; None: Slack knows no such user, or does not show them to the bot."""
        try:
            answer = await self._call("users.info", self.web.users_info(user=user))
        except SlackError as error:
            if error.code in NO_SUCH_USER:
                return None
            raise
        found: Mapping[str, Any] = answer.get("user") or {}
        org: Mapping[str, Any] = found.get("enterprise_user") or {}
        return Person(
            teams=frozenset([found.get("team_id") or "", *(org.get("teams") or ())]),
            enterprise=org.get("enterprise_id") or None,
            guest=bool(found.get("is_restricted") or found.get("is_ultra_restricted")),
            outsider=bool(found.get("deleted") or found.get("is_stranger")),
        )

    async def open_socket(self, app_token: str) -> str:
        """The address for one Socket Mode connection; it is good for one try within seconds."""
        answer = await self._call(
            "apps.connections.open", self.web.apps_connections_open(app_token=app_token)
        )
        return str(answer["url"])

    async def _own_bot(self) -> str:
        """The bot's own id: anyone may post a message with any metadata."""
        return (self.identity or await self.authenticate()).bot

    async def _call(self, method: str, call: Awaitable[AsyncSlackResponse]) -> AsyncSlackResponse:
        try:
            answer = await call
        except SlackApiError as error:
            refused = as_error(method, error.response, bot_name=self._name)
            refused.__cause__ = error
        except (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError) as error:
            refused = SlackError("Slack cannot be reached.", code=UNREACHABLE)
            refused.__cause__ = error
        except NO_USABLE_ANSWER as error:
            refused = SlackError("Slack did not answer.", code=NO_ANSWER)
            refused.__cause__ = error
        else:
            self._observed(method, "ok")
            return answer
        self._observed(method, "ratelimited" if isinstance(refused, RateLimited) else refused.code)
        raise refused

    @property
    def _name(self) -> str:
        return self.identity.name if self.identity and self.identity.name else "deploybot"


@asynccontextmanager
async def open_client(
    token: str,
    *,
    base_url: str = SLACK_API_URL,
    observed: Observed = lambda _method, _outcome: None,
) -> AsyncIterator[SlackClient]:
    """A client with its own session, closed at the end. Makes no call yet.

    The proxy of HTTPS_PROXY or HTTP_PROXY is used as the SDK does, but not for an API on
    this machine, nor for a host of NO_PROXY (which the SDK ignores).
    """
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        web = AsyncWebClient(token=token, base_url=base_url, session=session, retry_handlers=[])
        if bypasses_proxy(base_url):
            web.proxy = None
        yield SlackClient(web=web, observed=observed)


def _oldest(since: datetime) -> str:
    return f"{max(0.0, (since - CLOCK_SKEW).timestamp()):.6f}"


def _metadata(event_type: str, id_: str) -> dict[str, Any]:
    return {"event_type": event_type, "event_payload": {"id": id_}}


def _metadata_id(message: Mapping[str, Any], event_type: str, bot: str) -> str | None:
    metadata = message.get("metadata") or {}
    if message.get("bot_id") != bot or metadata.get("event_type") != event_type:
        return None
    return (metadata.get("event_payload") or {}).get("id")
