"""A whole simulated Slack on one loopback port, for `deploybot demo` and tests."""

import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal, TypeVar

from aiohttp import web

from bot.simulators.patience import limit_s
from bot.simulators.slack.clock import Clock, Timings
from bot.simulators.slack.controls import TestControls
from bot.simulators.slack.delivery import Attempt, Delivery
from bot.simulators.slack.events import EventPublisher
from bot.simulators.slack.external_options import ExternalOptions
from bot.simulators.slack.faults import Faults
from bot.simulators.slack.http_mode import HttpTransport
from bot.simulators.slack.interaction_tokens import InteractionTokens
from bot.simulators.slack.manifest import AppConfig
from bot.simulators.slack.methods.chat import Chat
from bot.simulators.slack.methods.conversations import Conversations
from bot.simulators.slack.methods.files import Files
from bot.simulators.slack.methods.users import Users
from bot.simulators.slack.methods.views import Views
from bot.simulators.slack.model import (
    ApiError,
    Channel,
    Message,
    NotPossible,
    Rendering,
    SlackFile,
    User,
    UserGroup,
    View,
)
from bot.simulators.slack.page_server import Page, TroublePanel
from bot.simulators.slack.responses import Responses
from bot.simulators.slack.socket_mode import SocketHub
from bot.simulators.slack.user_actions import Notice, UserActions
from bot.simulators.slack.web_api import ApiCall, RateLimiter, WebApi
from bot.simulators.slack.workspace import Workspace

T = TypeVar("T")
Mode = Literal["socket", "http"]
SidePanel = Callable[[], list[dict[str, Any]]]
_MAX_BODY = 32 * 1024 * 1024


class SlackSimulator(TestControls):
    """One workspace with one installed app; `open_slack` makes it.

    What users do (`command`, `click`, `submit`, `say`, ...) is in `user_actions.UserActions`.
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
            changes=self.workspace.changes,
            url=base_url.replace("http://", "ws://") + "link/",
        )
        self._http = HttpTransport(
            signing_secret=self.signing_secret, clock=clock, request_url=request_url
        )
        self._delivery = Delivery(
            transport=self._hub if mode == "socket" else self._http,
            clock=clock,
            timings=timings,
            changes=self.workspace.changes,
        )
        self._events = EventPublisher(workspace=self.workspace, app=app, delivery=self._delivery)
        self.workspace.on_message.append(self._events.message_changed)
        tokens = InteractionTokens(clock=clock, timings=timings, base_url=base_url)
        chat = Chat(workspace=self.workspace, scopes=app.scopes, page_url=base_url)
        views = Views(workspace=self.workspace, tokens=tokens, home_tab=app.home_tab)
        self._files = Files(workspace=self.workspace, chat=chat, base_url=base_url)
        conversations = Conversations(workspace=self.workspace, scopes=app.scopes)
        users = Users(
            workspace=self.workspace,
            page_url=base_url,
            open_connection=self._hub.open_connection if mode == "socket" else None,
        )
        self._responses = Responses(workspace=self.workspace, tokens=tokens, chat=chat)
        self.actions = UserActions(
            workspace=self.workspace,
            app=app,
            delivery=self._delivery,
            events=self._events,
            tokens=tokens,
            responses=self._responses,
            views=views,
            chat=chat,
            options=ExternalOptions(
                workspace=self.workspace,
                delivery=self._delivery,
                over_http=mode == "http",
                url=app.options_url,
            ),
        )
        self.command = self.actions.command
        self.click = self.actions.click
        self.click_stale_for_test = self.actions.click_stale_for_test
        self.suggest = self.actions.suggest
        self.choose = self.actions.choose
        self.submit = self.actions.submit
        self.close = self.actions.close
        self.shortcut = self.actions.shortcut
        self.say = self.actions.say
        self.delete = self.actions.delete
        self.open_home = self.actions.open_home
        self._api = WebApi(
            workspace=self.workspace,
            scopes=app.scopes,
            bot_token=self.bot_token,
            app_token=self.app_token,
            faults=self._faults,
            limiter=RateLimiter(clock=clock) if enforce_rate_limits else None,
            methods={
                **chat.methods(),
                **views.methods(),
                **conversations.methods(),
                **users.methods(),
                **self._files.methods(),
            },
        )
        self._page = Page(
            workspace=self.workspace,
            app=app,
            actions=self.actions,
            origin=base_url,
            hints=hints,
            side_panel=side_panel,
        )

    # Who and where --------------------------------------------------------------------------

    def user(self, name: str) -> User:
        """Return a user: ada, grace, alan, or mallory, who belongs to another team."""
        for user in self.workspace.users.values():
            if user.name == name and not user.is_bot:
                return user
        raise NotPossible(f"there is no user {name}")

    @property
    def bot(self) -> User:
        """The app's bot user."""
        return self.workspace.bot

    def channel(self, name: str) -> Channel:
        """Return a channel by name.

        With the bot: deploys, oncall (private). Without: random, secret (private). `ada-grace` is
        the DM of two users.
        """
        for channel in self.workspace.channels.values():
            if channel.name == name:
                return channel
        raise NotPossible(f"there is no channel {name}")

    def dm(self, user: User) -> Channel:
        """Return this user's DM with the bot."""
        channel = self.workspace.direct_channel(user.id)
        if channel is None:
            raise NotPossible(f"{user.name} has no DM with the bot")
        return channel

    def usergroup(self, handle: str = "release-team") -> UserGroup:
        """Return a user group: release-team, with ada and grace."""
        return next(g for g in self.workspace.groups.values() if g.handle == handle)

    # What is visible -------------------------------------------------------------------------

    def messages(self, channel: Channel) -> list[Message]:
        """Return the channel's messages, oldest first, without thread replies."""
        return [
            message
            for message in self.workspace.messages(channel.id)
            if message.thread_ts is None or message.reply_broadcast
        ]

    def thread(self, message: Message) -> list[Message]:
        """Return the replies to this message, oldest first."""
        return [
            reply
            for reply in self.workspace.messages(message.channel)
            if reply.thread_ts == message.ts
        ]

    def ephemerals(self, user: User) -> list[Message]:
        """Return the ephemeral messages of this user, oldest first."""
        return [m for m in self.workspace.ephemerals if m.ephemeral_for == user.id]

    def view(self, user: User) -> View | None:
        """Return the user's topmost modal."""
        return self.workspace.open_view(user.id)

    def home(self, user: User) -> View | None:
        """Return what the app last published on this user's Home tab."""
        return self.workspace.homes.get(user.id)

    @property
    def files(self) -> list[SlackFile]:
        """All uploads."""
        return list(self.workspace.files.values())

    @property
    def notices(self) -> list[Notice]:
        """Failures that Slack showed to users (no ack in time, an invalid modal)."""
        return self.actions.notices

    @property
    def calls(self) -> list[ApiCall]:
        """Every finished Web API call, in order."""
        return self._api.calls

    @property
    def deliveries(self) -> list[Attempt]:
        """Every delivery attempt, in order."""
        return self._delivery.attempts

    def edits(self, message: Message) -> list[Rendering]:
        """Return what a message showed over time, oldest first."""
        return list(message.history)

    async def until(self, condition: Callable[[], T], *, timeout_s: float | None = None) -> T:
        """Wait until `condition` is truthy, checked after every change; return its value.

        Raises NothingHappened, with the whole workspace as text.
        """
        return await self.workspace.changes.until(
            condition, timeout_s=timeout_s or limit_s(), dump=self.workspace.dump
        )

    # Administration -------------------------------------------------------------------------

    def invite_bot(self, channel: Channel) -> None:
        """Add the bot to a channel, as `/invite @bot` does."""
        if channel.kind == "im":
            raise NotPossible("a DM takes no further members")
        channel.members.add(self.bot.id)
        self.workspace.changes.add("member_joined", channel.name)
        self._events.channel_event(channel, "channel_join", self.bot.id)

    def remove_bot(self, channel: Channel, *, refuses_edits: str = "not_in_channel") -> None:
        """Remove the bot from a channel; a private one it cannot even see any more."""
        channel.members.discard(self.bot.id)
        channel.refuses_edits = refuses_edits
        self.workspace.changes.add("member_left", channel.name)

    def archive(self, channel: Channel) -> None:
        """Archive a channel."""
        channel.is_archived = True
        self.workspace.changes.add("channel_archived", channel.name)

    def unarchive(self, channel: Channel, by: User) -> None:
        """Make an archived channel usable again; its members are still there."""
        channel.is_archived = False
        self.workspace.changes.add("channel_unarchived", channel.name)
        self._events.channel_event(channel, "channel_unarchive", by.id)

    def make_private(self, channel: Channel) -> None:
        """Convert a public channel to a private one; its id and its members stay."""
        channel.kind = "group"
        self.workspace.changes.add("channel_converted", channel.name)

    async def set_request_url(self, url: str) -> None:
        """Set where the app listens in HTTP mode; Slack first sends it a challenge.

        Raises NotPossible if the app does not answer with the challenge.
        """
        self._http.request_url = url
        if not await self._http.verify(timeout_s=self._timings.ack_s):
            raise NotPossible(f"{url} did not answer with the challenge")

    def notify_page(self) -> None:
        """Redraw the page because the side panel changed."""
        self.workspace.changes.add("side_panel")

    def offer_troubles(self, troubles: TroublePanel) -> None:
        """Let visitors of the page switch these on and off."""
        self._page.offer_troubles(troubles)

    # Server ---------------------------------------------------------------------------------

    def web_app(self) -> web.Application:
        """Return the web app with every address of the simulated Slack."""
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_route("*", "/api/{method}", self._api.handle)
        app.router.add_post("/upload/v1/{ticket}", self._upload)
        app.router.add_post("/response/{token}", self._responses.handle)
        app.router.add_get("/link/", self._hub.handle)
        self._page.add_routes(app.router)
        return app

    async def shut_down(self) -> None:
        """Release all held calls, stop all retries, close all connections."""
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
        port: 0 for any free port.
        mode: How Slack delivers to the app.
        request_url: Where the app listens in HTTP mode; or call `set_request_url` later.
        timings: Slack's delays, if a test cannot wait for the real ones.
        enforce_rate_limits: Apply the documented limits of every method.
        hints: Commands that the page offers to try.
        side_panel: Returns the page's "Webhooks received": dicts with `time`, `type`, `status`,
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
    """Return a bound loopback listener: every address that Slack gives out contains the port."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        raise
    return listener
