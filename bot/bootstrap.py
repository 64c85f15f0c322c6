"""The composition root: the only module that builds every part. Closing runs backwards."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import structlog
from ulid import ULID

from bot.clock import Clock, SystemClock, Tasks
from bot.config.loading import Settings
from bot.deployments.execution.dispatcher import Dispatcher
from bot.deployments.requests.from_shell import ShellRequest, handle
from bot.deployments.requests.service import Service
from bot.deployments.state.repository import DATABASE_PAUSE, DeploymentCache, MessageRecovery
from bot.deployments.timing import Timing
from bot.dokku.limits import SshLimits
from bot.dokku.servers import DokkuServers, open_servers
from bot.domain import Ports, assemble_domain
from bot.errors import Refused, StoreError
from bot.git import GitRefs
from bot.lanes import open_lanes
from bot.metrics import DeploymentMetrics, Metrics
from bot.names import commit_url, compare_url
from bot.outbox import LaneTiming
from bot.poller import Poller, open_poller
from bot.readiness import Readiness
from bot.redaction import Redactor
from bot.slack.bolt import Intake, open_intake
from bot.slack.budget import BudgetShare, EditGate
from bot.slack.client import SlackClient, open_client
from bot.slack.limits import SlackLimits
from bot.slack.listeners.message_buttons import MESSAGE_BUTTONS
from bot.slack.live_message.messages import LiveMessages
from bot.store.engine import open_store
from bot.store.inbox import SqlInbox
from bot.store.leases import SqlHandled
from bot.store.receiving import stop_listening
from bot.store.retention import EVERY, Retention
from bot.store.shared_tables import shell_requests
from bot.store.sql_store import SqlStore
from bot.webhooks.payload import planner

log = structlog.get_logger(__name__)

FLUSH = timedelta(seconds=1)
SPARE = timedelta(seconds=4)
"""The most of the unused drain time that goes to the last edits."""
FIRST_LOGINS_S = 1.0
"""How long the start waits for the first logins. A dead server cannot delay it further."""
ASKED = timedelta(seconds=10)
"""The most of the unused drain time that goes to what people asked for just before the end."""
CUT_OFF = timedelta(seconds=1)
"""Then it is cut off, and says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bot:
    """A bot that listens."""

    service: Service
    dispatcher: Dispatcher
    intake: Intake
    live: LiveMessages
    servers: DokkuServers


@asynccontextmanager
async def open_bot(
    settings: Settings,
    *,
    metrics: Metrics,
    redactor: Redactor,
    readiness: Readiness,
    clock: Clock | None = None,
    timing: Timing | None = None,
    slack_limits: SlackLimits | None = None,
    ssh_limits: SshLimits | None = None,
    lane_timing: LaneTiming | None = None,
    git: Callable[..., GitRefs] = GitRefs,
) -> AsyncIterator[Bot]:
    """Build every part and listen. Leaving: stop intake, drain, flush, hang up.

    Raises ConfigError for what waiting cannot fix.
    """
    clock = clock or SystemClock()
    timing = timing or settings.timing()
    slack_limits = slack_limits or SlackLimits()
    repositories = settings.repositories()
    async with AsyncExitStack() as stack:
        store = await _open_store(stack, settings, readiness, clock)
        servers = await stack.enter_async_context(
            open_servers(
                settings.servers,
                redactor,
                repositories=repositories,
                limits=ssh_limits,
                on_connections=metrics.connected,
            )
        )
        readiness.servers = servers
        client = await stack.enter_async_context(
            open_client(
                settings.slack.bot_token,
                base_url=settings.slack.api_url,
                observed=metrics.called_slack,
            )
        )
        tasks = Tasks()
        stack.push_async_callback(tasks.close)
        cache = DeploymentCache(clock=clock, ttl=timing.tracker_ttl)
        name_server = len(servers.names()) > 1
        replica = f"{socket.gethostname()}-{os.getpid()}-{ULID()}"
        share = BudgetShare(
            partial(store.leases.beat, replica), clock=clock, posts_for=3 * timing.heartbeat
        )
        live = _build_live_messages(
            cache,
            store,
            client,
            EditGate(
                clock=clock, running=cache.count_running, limits=slack_limits.edits, share=share
            ),
            metrics,
            clock,
            name_server=name_server,
        )
        poller = Poller(interval=timing.poll_interval, lateness=metrics.poll_lateness.observe)
        domain = assemble_domain(
            Ports(
                store=store,
                cache=cache,
                announcer=live,
                observer=DeploymentMetrics(metrics, servers.names()),
                servers=servers,
                refs=git(settings.git_credentials, redactor=redactor, repositories=repositories),
                catalog=settings.catalog(),
                people=client,
                polls=poller,
            ),
            replica=replica,
            timing=timing,
            clock=clock,
            tasks=tasks,
            max_running=settings.max_running(),
        )
        service, dispatcher, deployments = domain.service, domain.dispatcher, domain.deployments
        await open_lanes(
            stack,
            settings,
            store,
            client,
            clock=clock,
            metrics=metrics,
            limits=slack_limits,
            timing=lane_timing,
            name_server=name_server,
        )
        stack.callback(store.database.subscribe(dispatcher.on_change))
        live.start(shows_running=dispatcher.shows)
        stack.push_async_callback(live.stop)
        poller.poll_with(dispatcher.poll)
        poller.every(timing.look_for_work, dispatcher.look, "look for work")
        poller.every(timing.heartbeat, dispatcher.heartbeat, "heartbeat")
        poller.every(timing.heartbeat, partial(dispatcher.report, share.look), "replicas")
        poller.every(timing.late_interval, domain.late_verdicts.look, "late verdicts")
        poller.every(timing.late_interval, domain.crash_watch.look, "crashes after a success")
        retention = Retention(
            store.database,
            clock=clock,
            logs=settings.values.log_retention,
            history=settings.values.history_retention,
        )
        poller.every(EVERY, retention.look, "retention")
        readiness.poller = await stack.enter_async_context(open_poller(poller))
        share.tell_what_is_posted(service.in_progress)
        recovery = MessageRecovery(
            deployments,
            resume=live.resume,
            in_progress=share.posting,
            clock=clock,
            timing=timing,
        )
        await recovery.load()
        await share.look(0)
        # Check refused keys first, so queued deployments don't fail while the bot shuts down.
        check_refused(await servers.refused(FIRST_LOGINS_S), settings)
        tasks.spawn(recovery.show_recent_results())
        poller.every(timing.look_for_work, recovery.post_missing, "missing messages")
        stack.push_async_callback(_end, dispatcher.start())
        # Also if the start fails or is cut off: running deploys must not lose their connection.
        wind_down = _WindDown(
            dispatcher,
            live,
            settings.values.drain_timeout,
            clock,
            partial(stop_listening, store.database, replica=replica),
        )
        stack.push_async_callback(wind_down)
        intake = await stack.enter_async_context(
            open_intake(
                client=client,
                service=service,
                clock=clock,
                app_token=settings.slack.app_token,
                signing_secret=settings.slack.signing_secret,
                observe_ack=metrics.ack.observe,
                drain=CUT_OFF,
                limits=slack_limits,
                in_channel=_in_channel(live, recovery, tasks),
                claim=SqlHandled(store.database, clock=clock).claim,
                source_of=lambda name: settings.origin(name.lower()).source,
            )
        )
        readiness.intake = intake
        share.tell_who_listens(intake.takes_requests)
        poller.every(
            timing.look_for_work,
            partial(
                store.database.if_rows,
                shell_requests,
                _look_at_shells(stack, store, service, tasks),
            ),
            "requests from shells",
        )
        # First of all: Slack's requests get an answer as long as running deployments may take.
        stack.push_async_callback(wind_down, intake)
        poller.every(slack_limits.home.look, intake.refresh_homes, "open Home tabs")
        yield Bot(service=service, dispatcher=dispatcher, intake=intake, live=live, servers=servers)


def check_refused(refused: tuple[str, Refused] | None, settings: Settings) -> None:
    """Raises ConfigError for the key or host key of a server that refused the first login."""
    if refused is not None:
        server, refusal = refused
        origin = settings.origin("servers", server, refusal.setting)
        raise origin.wrong(refusal.problem.rstrip("."), refusal.fix) from refusal


async def _end(looking: asyncio.Task[None]) -> None:
    """Cancel the look for work, and let it give its database connection back."""
    looking.cancel()
    await asyncio.wait({looking}, timeout=CUT_OFF.total_seconds())


class _WindDown:
    """At the end, once: refuse requests, wait for running deployments, hand the rest over."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        live: LiveMessages,
        drain: timedelta,
        clock: Clock,
        stop_listening: Callable[[], Awaitable[bool]],
    ) -> None:
        self._dispatcher = dispatcher
        self._live = live
        self._drain = drain
        self._clock = clock
        self._stop_listening = stop_listening
        """Whether another replica listens to Slack."""
        self._done = False

    async def __call__(self, intake: Intake | None = None) -> None:
        """Without `intake`: the start failed or was cut off before any request could arrive."""
        if self._done:
            return
        self._done = True
        if intake is not None:
            intake.refuse()
            if await self._others_listen():
                await intake.hang_up()
        began = self._clock.monotonic()

        def unused() -> timedelta:
            spent = timedelta(seconds=self._clock.monotonic() - began)
            return max(self._drain - spent, timedelta(0))

        async def show() -> None:
            # A message may be edited every 2 s: its result needs that long, if there is time.
            await self._live.flush(FLUSH + min(unused(), SPARE))

        left = await self._dispatcher.drain(self._drain.total_seconds(), show)
        if intake is not None:
            await intake.finish(min(unused(), ASKED))
        if left:
            log.warning("handed_over", deployments=left)

    async def _others_listen(self) -> bool:
        try:
            async with asyncio.timeout(CUT_OFF.total_seconds()):
                return await self._stop_listening()
        except (StoreError, TimeoutError) as error:
            # Then people get the refusal, as if this were the only replica.
            log.warning("replicas_not_read", why=str(error) or "no answer in time")
            return False


def _build_live_messages(
    cache: DeploymentCache,
    store: SqlStore,
    client: SlackClient,
    gate: EditGate,
    metrics: Metrics,
    clock: Clock,
    *,
    name_server: bool,
) -> LiveMessages:
    return LiveMessages(
        client=client,
        cache=cache,
        store=store,
        gate=gate,
        clock=clock,
        buttons=MESSAGE_BUTTONS,
        name_server=name_server,
        commit_url=commit_url,
        compare_url=compare_url,
        edit_lag=metrics.edited,
    )


def _in_channel(
    live: LiveMessages, recovery: MessageRecovery, tasks: Tasks
) -> Callable[[str, bool], None]:
    def in_channel(channel: str, back: bool) -> None:
        live.in_channel(channel)
        if back:
            tasks.spawn(recovery.show_recent_results(channel))

    return in_channel


def _look_at_shells(
    stack: AsyncExitStack, store: SqlStore, service: Service, tasks: Tasks
) -> Callable[[], Awaitable[None]]:
    """Handle what shells ask for, until the stack closes: a bot that drains takes no requests."""
    inbox = SqlInbox(store.database)
    busy: set[str] = set()
    closed = asyncio.Event()
    stack.callback(closed.set)

    async def look() -> None:
        for one in () if closed.is_set() else await inbox.waiting():
            if one.id not in busy:
                busy.add(one.id)
                tasks.spawn(answer(one))

    async def answer(one: ShellRequest) -> None:
        try:
            await handle(one, service=service, inbox=inbox)
        except StoreError as error:
            # Another look takes it again, and finds what was stored.
            log.warning("shell_request_not_answered", request_id=one.id, why=str(error))
        finally:
            busy.discard(one.id)

    return look


async def _open_store(
    stack: AsyncExitStack, settings: Settings, readiness: Readiness, clock: Clock
) -> SqlStore:
    """Keep trying while no database answers; `/readyz` says so meanwhile."""
    while True:
        try:
            readiness.store = await stack.enter_async_context(
                open_store(
                    settings.database_url,
                    clock=clock,
                    planner=planner(
                        settings.endpoints(),
                        clock=clock,
                        name_server=len(settings.values.servers) > 1,
                        notified=settings.catalog().notified,
                    ),
                    source=settings.origin("database_url").source,
                    max_running=settings.max_running(),
                )
            )
        except StoreError as error:
            readiness.database_problem = str(error)
            log.warning("database_unreachable", why=str(error))
            await clock.sleep(DATABASE_PAUSE)
        else:
            return readiness.store
