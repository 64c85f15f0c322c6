"""A whole simulated Slack on one loopback port, for `deploybot demo` and for tests."""

import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal, TypeVar

from aiohttp import web

from bot.simulators.slack.api import ApiCall, WebApi
from bot.simulators.slack.chat import Chat
from bot.simulators.slack.clock import Clock, Timings
from bot.simulators.slack.controls import TestControls
from bot.simulators.slack.conversations import Conversations
from bot.simulators.slack.delivery import Attempt, Delivery
from bot.simulators.slack.errors import ApiError, NotPossible
from bot.simulators.slack.events import EventPublisher
from bot.simulators.slack.faults import Faults
from bot.simulators.slack.files import Files
from bot.simulators.slack.http_delivery import HttpTransport
from bot.simulators.slack.manifest import AppConfig
from bot.simulators.slack.model import (
    Channel,
    Json,
    Message,
    Rendering,
    SlackFile,
    User,
    UserGroup,
    View,
)
from bot.simulators.slack.page_server import Page
from bot.simulators.slack.people import Notice, People
from bot.simulators.slack.ratelimits import RateLimiter
from bot.simulators.slack.responses import Responses
from bot.simulators.slack.sockets import SocketHub
from bot.simulators.slack.tickets import Tickets
from bot.simulators.slack.views import Views
from bot.simulators.slack.workspace import Workspace

T = TypeVar("T")
Mode = Literal["socket", "http"]
SidePanel = Callable[[], list[dict[str, Any]]]
_MAX_BODY = 32 * 1024 * 1024


class SlackSimulator(TestControls):
    """One workspace with one installed app; `open_slack` makes it.

    What people do (`command`, `click`, `submit`, `say`, ...) is told in `people.People`.
    """

    bot_token = "xoxb-4242-simulated-bot-token"
    app_token = "xapp-1-A01SIMULATED-4242-simulated-app-token"
    signing_secret = "simulated0signing0secret00000000"

    def __init__(
        self,
        *,
        app: AppConfig,
        mode: Mode,
        request_url: str | None,
        timings: Timings,
        enforce_rate_limits: bool,
        base_url: str,
        hints: Sequence[str],
        side_panel: SidePanel | None,
    ) -> None:
        self.app = app
        self.page_url = base_url
        self.api_url = f"{base_url}api/"
        clock = Clock()
        self.workspace = Workspace(clock=clock, app_name=app.name, bot_name=app.bot_name)
        self._timings = timings
        self._faults = Faults()
        self._hub = SocketHub(
            app_id=self.workspace.app_id,
            feed=self.workspace.feed,
            url=base_url.replace("http://", "ws://") + "link/",
        )
        self._http = HttpTransport(
            signing_secret=self.signing_secret, clock=clock, request_url=request_url
        )
        self._delivery = Delivery(
            transport=self._hub if mode == "socket" else self._http,
            clock=clock,
            timings=timings,
            feed=self.workspace.feed,
        )
        self._events = EventPublisher(workspace=self.workspace, app=app, delivery=self._delivery)
        self.workspace.on_message.append(self._events.message_changed)
        tickets = Tickets(clock=clock, timings=timings, base_url=base_url)
        chat = Chat(workspace=self.workspace, scopes=app.scopes, page_url=base_url)
        views = Views(workspace=self.workspace, tickets=tickets, home_tab=app.home_tab)
        files = Files(workspace=self.workspace, chat=chat, base_url=base_url)
        looks = Conversations(workspace=self.workspace, scopes=app.scopes)
        self._files = files
        self._responses = Responses(workspace=self.workspace, tickets=tickets, chat=chat)
        self.people = People(
            workspace=self.workspace,
            app=app,
            delivery=self._delivery,
            events=self._events,
            tickets=tickets,
            responses=self._responses,
            views=views,
            chat=chat,
        )
        self.command = self.people.command
        self.click = self.people.click
        self.click_stale_for_test = self.people.click_stale_for_test
        self.submit = self.people.submit
        self.close = self.people.close
        self.shortcut = self.people.shortcut
        self.say = self.people.say
        self.delete = self.people.delete
        self.open_home = self.people.open_home
        self._api = WebApi(
            workspace=self.workspace,
            scopes=app.scopes,
            bot_token=self.bot_token,
            app_token=self.app_token,
            faults=self._faults,
            limiter=RateLimiter(clock=clock) if enforce_rate_limits else None,
            handlers={
                "auth.test": self._auth_test,
                "apps.connections.open": self._connections_open,
                "bots.info": looks.bot,
                "chat.postMessage": chat.post_message,
                "chat.update": chat.update,
                "chat.delete": chat.delete,
                "chat.postEphemeral": chat.post_ephemeral,
                "chat.getPermalink": chat.get_permalink,
                "views.open": views.open,
                "views.push": views.push,
                "views.update": views.update,
                "views.publish": views.publish,
                "conversations.info": looks.info,
                "conversations.open": looks.open,
                "conversations.members": looks.members,
                "conversations.history": looks.history,
                "conversations.replies": looks.replies,
                "users.info": looks.user,
                "usergroups.users.list": looks.group_users,
                "files.getUploadURLExternal": files.get_upload_url,
                "files.completeUploadExternal": files.complete,
            },
        )
        self._mode = mode
        self._page = Page(
            workspace=self.workspace,
            app=app,
            people=self.people,
            origin=base_url,
            hints=hints,
            side_panel=side_panel,
        )

    # Who and where --------------------------------------------------------------------------

    def user(self, name: str) -> User:
        """A seeded person: ada, grace, alan, or mallory, who belongs to another team."""
        for user in self.workspace.users.values():
            if user.name == name and not user.is_bot:
                return user
        raise NotPossible(f"nobody is called {name}")

    @property
    def bot(self) -> User:
        """The app's bot user."""
        return self.workspace.bot

    def channel(self, name: str) -> Channel:
        """Deploys (with bot), random (without), oncall (private, with), secret (private, without).

        `ada-grace` is the DM of two people.
        """
        for channel in self.workspace.channels.values():
            if channel.name == name:
                return channel
        raise NotPossible(f"there is no channel {name}")

    def dm(self, user: User) -> Channel:
        """The DM of this person with the bot."""
        channel = self.workspace.direct_channel(user.id)
        if channel is None:
            raise NotPossible(f"{user.name} has no DM with the bot")
        return channel

    def usergroup(self, handle: str = "release-team") -> UserGroup:
        """A seeded user group: release-team, with ada and grace."""
        return next(g for g in self.workspace.groups.values() if g.handle == handle)

    # What is to be seen ---------------------------------------------------------------------

    def messages(self, channel: Channel) -> list[Message]:
        """The channel's messages, oldest first, without thread replies."""
        return [
            message
            for message in self.workspace.messages(channel.id)
            if message.thread_ts is None or message.reply_broadcast
        ]

    def thread(self, message: Message) -> list[Message]:
        """The replies to this message, oldest first."""
        return [
            reply
            for reply in self.workspace.messages(message.channel)
            if reply.thread_ts == message.ts
        ]

    def ephemerals(self, user: User) -> list[Message]:
        """What only this person sees, oldest first."""
        return [m for m in self.workspace.ephemerals if m.ephemeral_for == user.id]

    def view(self, user: User) -> View | None:
        """The modal on top of this person's screen."""
        return self.workspace.open_view(user.id)

    def home(self, user: User) -> View | None:
        """What the app last published on this person's Home tab."""
        return self.workspace.homes.get(user.id)

    @property
    def files(self) -> list[SlackFile]:
        """Everything that was uploaded."""
        return list(self.workspace.files.values())

    @property
    def notices(self) -> list[Notice]:
        """Failures that Slack showed to people (no ack in time, trouble with a modal)."""
        return self.people.notices

    @property
    def calls(self) -> list[ApiCall]:
        """Every Web API call as it ended, in order."""
        return self._api.calls

    @property
    def deliveries(self) -> list[Attempt]:
        """Every try to hand something to the app, in order."""
        return self._delivery.attempts

    def edits(self, message: Message) -> list[Rendering]:
        """How a message looked, from its first rendering on."""
        return list(message.history)

    async def until(self, condition: Callable[[], T], *, timeout_s: float = 10.0) -> T:
        """Wait until `condition` is truthy; looks again after every change. Its value.

        Raises: NothingHappened, with the whole workspace as text.
        """
        return await self.workspace.feed.until(
            condition, timeout_s=timeout_s, dump=self.workspace.dump
        )

    # Administration -------------------------------------------------------------------------

    def invite_bot(self, channel: Channel) -> None:
        """`/invite @bot`."""
        if channel.kind == "im":
            raise NotPossible("nobody can be invited into a DM")
        channel.members.add(self.bot.id)
        self.workspace.feed.add("member_joined", channel.name)

    def remove_bot(self, channel: Channel) -> None:
        """Take the bot out of a channel."""
        channel.members.discard(self.bot.id)
        self.workspace.feed.add("member_left", channel.name)

    def archive(self, channel: Channel) -> None:
        """Archive a channel."""
        channel.is_archived = True
        self.workspace.feed.add("channel_archived", channel.name)

    async def set_request_url(self, url: str) -> None:
        """HTTP mode: where the app listens; Slack asks it for a challenge first.

        Raises: NotPossible when the app does not answer with the challenge.
        """
        self._http.request_url = url
        if not await self._http.verify(timeout_s=self._timings.ack_s):
            raise NotPossible(f"{url} did not answer with the challenge")

    def notify_page(self) -> None:
        """Something in the side panel changed."""
        self.workspace.feed.add("side_panel")

    # Server ---------------------------------------------------------------------------------

    def web_app(self) -> web.Application:
        """Every address of the simulated Slack."""
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_route("*", "/api/{method}", self._api.handle)
        app.router.add_post("/upload/v1/{ticket}", self._upload)
        app.router.add_post("/response/{token}", self._responses.handle)
        app.router.add_get("/link/", self._hub.handle)
        self._page.add_routes(app.router)
        return app

    async def shut_down(self) -> None:
        """Open all doors, stop all retries, hang up."""
        self._faults.clear()
        self._page.close()
        await self._delivery.close()
        await self._hub.close()
        await self._http.close()

    async def _upload(self, request: web.Request) -> web.Response:
        if request.content_type == "multipart/form-data":
            form = await request.post()
            part = next((p for p in form.values() if isinstance(p, web.FileField)), None)
            content = part.file.read() if part is not None else b""
        else:
            content = await request.read()
        try:
            size = self._files.receive(request.match_info["ticket"], content)
        except ApiError as error:
            return web.Response(status=400, text=error.code)
        return web.Response(text=f"OK - {size}")

    def _auth_test(self, _args: Json) -> Json:
        return {
            "ok": True,
            "url": self.page_url,
            "team": "Simulated",
            "user": self.bot.name,
            "team_id": self.workspace.team_id,
            "user_id": self.bot.id,
            "bot_id": self.bot.bot_id,
            "is_enterprise_install": False,
        }

    def _connections_open(self, args: Json) -> Json:
        if self._mode != "socket":
            raise ApiError("socket_mode_not_enabled")
        return self._hub.open(args)


@asynccontextmanager
async def open_slack(
    *,
    manifest: Mapping[str, Any],
    port: int = 0,
    mode: Mode = "socket",
    request_url: str | None = None,
    timings: Timings | None = None,
    enforce_rate_limits: bool = False,
    hints: Sequence[str] = (),
    side_panel: SidePanel | None = None,
) -> AsyncIterator[SlackSimulator]:
    """Start a workspace on 127.0.0.1 with the app of `manifest` installed.

    Args:
        manifest: The app manifest, as a dict; checked as Slack checks it.
        port: 0 for any free one.
        mode: How the app hears from Slack.
        request_url: In HTTP mode where the app listens; `set_request_url` does it later.
        timings: Slack's delays, where a test cannot wait for the real ones.
        enforce_rate_limits: Apply the documented floors of every method.
        hints: Commands that the page offers to try.
        side_panel: Gives the page's "Webhooks received": dicts with `time`, `type`, `status`,
            `app`, `verified` and `body`; call `notify_page` when it changes.
    """
    app = AppConfig.from_manifest(manifest)
    async with AsyncExitStack() as stack:
        listener = _listen(port)
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        slack = SlackSimulator(
            app=app,
            mode=mode,
            request_url=request_url,
            timings=timings or Timings(),
            enforce_rate_limits=enforce_rate_limits,
            base_url=base_url,
            hints=hints,
            side_panel=side_panel,
        )
        runner = web.AppRunner(slack.web_app(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        stack.push_async_callback(slack.shut_down)
        await web.SockSite(runner, listener).start()
        yield slack


def _listen(port: int) -> socket.socket:
    """A loopback listener, bound early: every address that Slack hands out has the port in it."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        raise
    return listener
