"""One process of the bot: settings in, signals handled, exit status out."""

import asyncio
import gc
import importlib.util
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial

import structlog
from aiohttp import web
from structlog.types import Processor

from bot.bootstrap import Bot, check_refused, open_bot
from bot.config.loading import Settings
from bot.deployments.model import Deployment
from bot.dokku.servers import DokkuServers
from bot.errors import ConfigError
from bot.git_folders import remove_left_folders
from bot.logs import configure_logging
from bot.metrics import Metrics
from bot.readiness import Readiness
from bot.redaction import Redactor
from bot.web import Inside, open_web

log = structlog.get_logger(__name__)

Opener = Callable[..., AbstractAsyncContextManager[Bot]]


def run_bot(settings: Settings, *, opener: Opener = open_bot) -> int:
    """Run until SIGTERM, SIGINT or SIGHUP. Returns the exit status: 0, or 2 for a wrong setting.

    `opener`: `open_bot`, or one with other pauses and limits.
    """
    redactor = Redactor(settings.secrets())
    try:
        extras = _load_extras(settings, redactor)
    except ConfigError as error:
        sys.stderr.write(f"deploybot: {_masked(error, redactor)}\n")
        return 2
    configure_logging(
        json=settings.json_logs,
        level=settings.values.log_level,
        mask=redactor.text,
        stream=settings.log_stream,
        report=extras.report,
    )
    for warning in settings.warnings():
        log.warning("setting_warning", why=warning)
    remove_left_folders()
    try:
        asyncio.run(_serve(settings, redactor, opener, Metrics(trace=extras.trace)))
    except ConfigError as error:
        sys.stderr.write(f"deploybot: {_masked(error, redactor)}\n")
        return 2
    finally:
        extras.stop()
    return 0


@dataclass(kw_only=True)
class _Extras:
    """What goes to other services than Slack and Dokku; none of it without its setting."""

    report: Processor | None = None
    """Sends errors."""
    trace: Callable[[Deployment], None] | None = None
    ends: list[Callable[[], None]] = field(default_factory=list)

    def stop(self) -> None:
        for end in self.ends:
            end()


def _load_extras(settings: Settings, redactor: Redactor) -> _Extras:
    """ConfigError: an extra is not installed, or its address is none."""
    from bot.release import release  # noqa: PLC0415 - slow

    extras, values = _Extras(), settings.values
    if values.sentry_dsn is not None:
        source = _check_extra(settings, "sentry_dsn", "SENTRY_DSN", "sentry", "sentry_sdk")
        from bot import sentry  # noqa: PLC0415 - an extra

        dsn = values.sentry_dsn.get_secret_value()
        extras.report = sentry.start(dsn, mask=redactor.text, release=release(), source=source)
        extras.ends.append(sentry.stop)
    if values.otel_endpoint is not None:
        _check_extra(
            settings,
            "otel_endpoint",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "otel",
            "opentelemetry.exporter.otlp.proto.http",
        )
        from bot import tracing  # noqa: PLC0415 - an extra

        headers = values.otel_headers.get_secret_value() if values.otel_headers else ""
        exporter = tracing.over_http(str(values.otel_endpoint), headers)
        traces = tracing.Traces(exporter, mask=redactor.text, release=release())
        extras.trace = traces.trace
        extras.ends.append(traces.stop)
    return extras


def _check_extra(settings: Settings, name: str, variable: str, extra: str, package: str) -> str:
    """The source of the setting. ConfigError: what it needs is not installed."""
    source = settings.origin(name).source
    try:
        installed = importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # nor is what it is a part of
        installed = False
    if not installed:
        fix = f"Install the extra: dokku-deploybot[{extra}]."
        raise ConfigError(variable, source, f"its package {package} is not installed", fix)
    return source


def _masked(error: ConfigError, redactor: Redactor) -> ConfigError:
    # Masked in parts: next to the setting's name, its explanation would look like a secret.
    problem, fix = redactor.text(error.problem), redactor.text(error.fix)
    return ConfigError(error.setting, error.source, " ".join(problem.split()), fix)


async def _serve(settings: Settings, redactor: Redactor, opener: Opener, metrics: Metrics) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # What was ignored before stays so: `nohup` lets the bot outlive its terminal.
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stop.set)
    readiness = Readiness()
    routes = [web.route("*", "/slack/events", _slack_events(readiness))]
    extra = [] if settings.slack.socket_mode else routes
    async with open_web(
        settings.values.bind,
        settings.values.port,
        ready=readiness.check,
        metrics=metrics,
        measure=partial(readiness.measure, metrics),
        inside=Inside(token=settings.metrics_token, port=settings.values.metrics_port),
        extra_routes=extra,
    ) as site:
        log.info("listening", port=site.port, metrics_port=site.inside_port)
        stopping = asyncio.create_task(stop.wait())
        bot_task = asyncio.create_task(
            _run_until_stopped(settings, redactor, metrics, readiness, stop, opener)
        )
        await asyncio.wait({stopping, bot_task}, return_when=asyncio.FIRST_COMPLETED)
        if readiness.intake is None:
            bot_task.cancel()  # still starting: nothing to drain
        stopping.cancel()
        try:
            await bot_task
        except asyncio.CancelledError:
            log.info("stopped_while_starting")


async def _run_until_stopped(
    settings: Settings,
    redactor: Redactor,
    metrics: Metrics,
    readiness: Readiness,
    stop: asyncio.Event,
    opener: Opener,
) -> None:
    async with opener(settings, metrics=metrics, redactor=redactor, readiness=readiness) as bot:
        _forget_modules_at_collections()
        log.info("ready")
        stopping = asyncio.create_task(stop.wait())
        by_slack = asyncio.create_task(bot.intake.failure())
        by_dokku = asyncio.create_task(_slow_refusal(bot.servers, settings))
        tasks = (stopping, by_slack, by_dokku)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        log.info("stopping")
        for task in tasks:
            if task.done():
                task.result()
            task.cancel()


def _forget_modules_at_collections() -> None:
    """Leave what a start has loaded out of each later garbage collection.

    Going through it held the event loop, and every acknowledgement, for 0.1 s each time.
    """
    gc.collect()
    gc.freeze()


async def _slow_refusal(servers: DokkuServers, settings: Settings) -> None:
    """Never return. Raise ConfigError if a server that was slow refuses its first login."""
    check_refused(await servers.refused(), settings)
    await asyncio.Event().wait()


def _slack_events(
    readiness: Readiness,
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        if readiness.intake is None:
            return web.Response(status=503, text="starting")
        return await readiness.intake.handle_http(request)

    return answer
