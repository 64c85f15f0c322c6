"""Receives Slack's requests: over a socket, or signed over HTTP."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.app.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest

from bot.clock import Clock, Tasks
from bot.deployments.requests.service import Service
from bot.errors import ConfigError, SlackError
from bot.slack.client import Identity, SlackClient
from bot.slack.limits import SlackLimits
from bot.slack.listeners.desk import Desk, claim_all
from bot.slack.listeners.dispatch import build_app
from bot.slack.listeners.home import HomeTabs
from bot.slack.listeners.states import RecentStates
from bot.slack.refusals import BAD_TOKEN, RateLimited
from bot.slack.signatures import RequestCheck, is_ssl_check
from bot.slack.unreachable import answer_of, cause_of

log = structlog.get_logger(__name__)

NO_SOCKET = frozenset({"missing_scope", "not_allowed_token_type", "socket_mode_not_enabled"})
"""Slack's error codes for an app token, or an app, that cannot use Socket Mode."""
FIRST_WAIT = timedelta(seconds=5)
"""How long the start waits for Slack before it continues without it (`/readyz` says so)."""
CONNECT_LIMIT = timedelta(seconds=15)
PING_EVERY_S = 3.0
"""A dead connection is noticed after four of these, a closed one after one."""
LOOK_EVERY = timedelta(seconds=5)
GIVE_UP_SOCKET = timedelta(seconds=60)
LONGEST_BACKOFF_S = 30.0
TOKEN_LIMIT_S = 4.0
"""Longest wait of a look at the token; `/readyz` answers within five seconds."""

Observe = Callable[[float], None]
InChannel = Callable[[str, bool], None]
Claim = Callable[[str], Awaitable[bool]]
SourceOf = Callable[[str], str]
"""(setting): where it was read."""


@asynccontextmanager
async def open_intake(
    *,
    client: SlackClient,
    service: Service,
    clock: Clock,
    app_token: str | None = None,
    signing_secret: str | None = None,
    observe_ack: Observe = lambda _seconds: None,
    source_of: SourceOf = lambda _setting: "environment",
    drain: timedelta = timedelta(seconds=2),
    first_wait: timedelta = FIRST_WAIT,
    limits: SlackLimits | None = None,
    in_channel: InChannel = lambda _channel, _back: None,
    claim: Claim = claim_all,
) -> AsyncIterator["Intake"]:
    """Listen to Slack until the block ends; then finish the running listeners, within `drain`.

    Args:
        client: With the bot token and the shared session.
        service: Called for what people ask; gets its home team.
        clock: For waits, and to forget old deliveries.
        app_token: Socket Mode, when set.
        signing_secret: HTTP mode otherwise: mount `Intake.handle_http`.
        source_of: Where `SLACK_BOT_TOKEN` and `SLACK_APP_TOKEN` were read, for the error.
        observe_ack: Called with the seconds from a request's arrival to its ack.
        drain: How long running listeners may take at the end.
        first_wait: How long an unreachable Slack may delay the start.
        limits: Pauses of the listeners.
        in_channel: See `Desk.in_channel`.
        claim: See `Desk.claim`.

    Raises: ConfigError, naming the token that Slack refused.
    """
    intake = Intake(
        client=client,
        service=service,
        clock=clock,
        app_token=app_token,
        signing_secret=signing_secret,
        observe_ack=observe_ack,
        source_of=source_of,
        limits=limits or SlackLimits(),
        in_channel=in_channel,
        claim=claim,
    )
    try:
        await intake.start(first_wait)
        yield intake
    finally:
        await intake.close(drain)


class Intake:
    """The connection on which Slack's requests arrive."""

    def __init__(
        self,
        *,
        client: SlackClient,
        service: Service,
        clock: Clock,
        app_token: str | None,
        signing_secret: str | None,
        observe_ack: Observe,
        source_of: SourceOf,
        limits: SlackLimits,
        in_channel: InChannel,
        claim: Claim,
    ) -> None:
        self._claim = claim
        self._source_of = source_of
        self._in_channel = in_channel
        self._limits = limits
        self._client = client
        self._service = service
        self._clock = clock
        self._app_token = app_token
        self._signing_secret = signing_secret
        self._observe_ack = observe_ack
        self._tasks = Tasks()
        self._app: AsyncApp | None = None
        self._homes: HomeTabs | None = None
        self._socket: AsyncSocketModeHandler | None = None
        self._check = RequestCheck(signing_secret, clock)
        self._running: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._closed = False
        self._stopping = False
        self._why = ""
        self._unanswered = 0

    async def start(self, first_wait: timedelta) -> None:
        """Connect to Slack; after `first_wait` this continues in the background.

        Raises: ConfigError.
        """
        self._running = asyncio.create_task(self._run(), name="slack-intake")
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait(
            {self._running, ready},
            timeout=first_wait.total_seconds(),
            return_when=asyncio.FIRST_COMPLETED,
        )
        ready.cancel()
        if self._running.done():
            await self._running

    async def failure(self) -> None:
        """Return never, or raise ConfigError when Slack refuses a token after the start."""
        if self._running is None:
            raise RuntimeError("the intake was not started")
        await asyncio.shield(self._running)

    async def problem(self) -> str | None:
        """Why requests cannot arrive now, for `/readyz`. None: they can."""
        if self._stopping:
            return "the bot is stopping: it takes no more requests"
        if await self.is_connected():
            return None
        return f"not connected to Slack: {self._why}" if self._why else "not connected to Slack"

    async def token_problem(self) -> str | None:
        """Ask Slack whether it still takes the bot token; why not, in a sentence.

        One call without a usable answer says nothing: a bot that is not ready may get no requests.
        """
        error = None
        try:
            async with asyncio.timeout(TOKEN_LIMIT_S):
                await self._client.check_token()
        except TimeoutError:
            error = SlackError(f"Slack did not answer within {TOKEN_LIMIT_S:.0f} s.")
        except SlackError as refused:
            error = refused
        if error is None or isinstance(error, RateLimited):
            self._unanswered = 0
            return None
        if error.code in BAD_TOKEN:
            return str(error)
        self._unanswered += 1
        if self._unanswered == 1:
            return None
        return f"{error} {self._cause(error)}" if error.__cause__ else str(error)

    async def refresh_homes(self) -> None:
        """Show in the open Home tabs what has changed; called regularly."""
        if self._homes is not None and self._homes.tabs and not self._closed:
            await self._homes.refresh()

    async def is_connected(self) -> bool:
        """Whether requests can arrive now. In HTTP mode: as far as the bot knows."""
        if self._closed or self._app is None:
            return False
        if self._app_token is None:
            return True
        return self._socket is not None and await self._socket.client.is_connected()

    async def takes_requests(self) -> bool:
        """Whether requests can arrive now, and are not refused."""
        return not self._stopping and await self.is_connected()

    def refuse(self) -> None:
        """From now on, answer each request that the bot is being restarted."""
        self._stopping = True

    async def hang_up(self) -> None:
        """Close the socket: Slack asks other replicas. In HTTP mode `/readyz` has that effect."""
        if self._app_token is not None and self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running}, timeout=LOOK_EVERY.total_seconds())

    async def finish(self, limit: timedelta) -> None:
        """Let what people have asked for end, at most for `limit`."""
        await self._tasks.settle(limit)

    async def close(self, drain: timedelta) -> None:
        """Accept no more requests and let listeners end. Safe to call twice."""
        self._closed = True
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError, ConfigError):
                await self._running
        late = await self._tasks.drain(drain)
        if late:
            log.warning("listeners_cut_off", count=late)

    async def handle_http(self, request: web.Request) -> web.StreamResponse:
        """`POST /slack/events`: verify, hand to Bolt, answer within 3 s.

        Verified here, before anything is parsed: Bolt reads the body first, and answers 500 if
        the timestamp is not a number or the body is not JSON.
        """
        if self._closed or self._app is None:
            return web.Response(status=503, text="starting")
        began = time.perf_counter()
        try:
            text = (await self._check.body(request)).decode()
        except UnicodeDecodeError:
            return web.Response(status=400, text="not UTF-8")
        if is_ssl_check(request, text):
            return web.Response()  # nothing is done for it, so it needs no signature
        if request.method != "POST":
            return web.Response(status=405, text="POST only")
        if not self._check.is_from_slack(request, text):
            return web.Response(status=401, text="invalid signature")
        try:
            bolt_request = await to_bolt_request(request)
        except (ValueError, AttributeError):  # not JSON, or not an object
            return web.Response(status=400, text="not a request from Slack")
        response = await to_aiohttp_response(await self._app.async_dispatch(bolt_request))
        self._observe_ack(time.perf_counter() - began)
        return response

    async def _run(self) -> None:
        identity = await self._identify()
        self._service.access.set_home(identity.team, identity.enterprise)
        desk = Desk(
            service=self._service,
            client=self._client,
            clock=self._clock,
            bot_user=identity.user,
            limits=self._limits,
            in_channel=self._in_channel,
            states=RecentStates(self._clock),
            claim=self._claim,
            stopping=lambda: self._stopping,
        )
        self._homes = HomeTabs(desk)
        self._app = build_app(
            desk,
            homes=self._homes,
            identity=identity,
            tasks=self._tasks,
            signing_secret=self._signing_secret or "",
        )
        self._why = ""
        log.info("slack_known", team=identity.team, bot=identity.name)
        if self._app_token is None:
            self._ready.set()
            await asyncio.Event().wait()
        else:
            await self._stay_connected(self._app, self._app_token)

    async def _identify(self) -> Identity:
        """Ask Slack who the bot is, until it answers: then no request needs to ask again."""
        tries = 0
        while True:
            try:
                return await self._client.authenticate()
            except SlackError as error:
                if error.code in BAD_TOKEN | {"not_allowed_token_type"}:
                    raise self._refused(
                        "SLACK_BOT_TOKEN", error.code, "Copy the xoxb- token of the app's page."
                    ) from error
                self._log_unreachable("auth.test", error)
            tries += 1
            await self._clock.sleep(_backoff(tries))

    async def _stay_connected(self, app: AsyncApp, app_token: str) -> None:
        """Keep one socket. The SDK reconnects by itself; where it cannot, open another socket.

        The SDK asks for a new address only after a good connection, and an address works for
        one try within seconds: a refused connection would be tried forever.
        """
        tries = 0
        while True:
            socket = _Socket(
                app, app_token, proxy=self._client.web.proxy, observe=self._observe_ack
            )
            try:
                await self._connect(socket, app_token)
                tries = 0
                self._why = ""
                self._socket = socket
                self._ready.set()
                await self._until_lost(socket)
                log.warning("slack_socket_lost")
            except Exception as error:
                # Whatever the SDK raises (AttributeError for a 500 in HTML), the next try is due.
                code = error.code if isinstance(error, SlackError) else ""
                if code in BAD_TOKEN | NO_SOCKET and not self._ready.is_set():
                    raise self._refused(
                        "SLACK_APP_TOKEN",
                        code,
                        "Make an app-level token with connections:write; turn Socket Mode on.",
                    ) from error
                self._log_unreachable("socket", error)
            finally:
                self._socket = None
                await socket.close_async()  # type: ignore[no-untyped-call]  # as Bolt has it
            tries += 1
            await self._clock.sleep(_backoff(tries))

    def _log_unreachable(self, step: str, error: Exception) -> None:
        code = error.code if isinstance(error, SlackError) else type(error).__name__
        self._why = self._cause(error)
        log.warning("slack_unreachable", step=step, error=code, why=self._why)

    def _cause(self, error: Exception) -> str:
        cause = error.__cause__ or error
        if isinstance(cause, SlackApiError) and answer_of(cause) is not None:
            return str(error)
        return str(cause_of(cause, proxy=self._client.web.proxy))

    def _refused(self, setting: str, code: str, fix: str) -> ConfigError:
        return ConfigError(setting, self._source_of(setting), f"Slack refuses it ({code})", fix)

    async def _connect(self, socket: AsyncSocketModeHandler, app_token: str) -> None:
        async with asyncio.timeout(CONNECT_LIMIT.total_seconds()):
            # connect() would try forever, and report a wrong token as a connection failure.
            socket.client.wss_uri = await self._client.open_socket(app_token)
            await socket.connect_async()  # type: ignore[no-untyped-call]  # as Bolt has it

    async def _until_lost(self, socket: AsyncSocketModeHandler) -> None:
        away = timedelta(0)
        while away < GIVE_UP_SOCKET:
            await self._clock.sleep(LOOK_EVERY)
            away = timedelta(0) if await socket.client.is_connected() else away + LOOK_EVERY


class _Socket(AsyncSocketModeHandler):
    """Bolt's Socket Mode adapter, which also reports how long each ack took."""

    def __init__(
        self, app: AsyncApp, app_token: str, *, proxy: str | None, observe: Observe
    ) -> None:
        super().__init__(
            app,
            app_token,
            logger=logging.getLogger("slack_sdk.socket_mode"),
            ping_interval=PING_EVERY_S,
        )
        # As the API client decided: the SDK reads HTTPS_PROXY, but never NO_PROXY.
        self.client.proxy = proxy
        self._observe = observe

    async def handle(  # type: ignore[override]  # as Bolt's own class does
        self, client: SocketModeClient, req: SocketModeRequest
    ) -> None:
        began = time.perf_counter()
        await super().handle(client, req)
        self._observe(time.perf_counter() - began)


def _backoff(tries: int) -> timedelta:
    return timedelta(seconds=min(LONGEST_BACKOFF_S, 2.0 ** min(tries - 1, 10)))
