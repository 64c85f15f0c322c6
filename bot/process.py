"""One process of the bot: settings in, signals handled, exit status out."""

import asyncio
import importlib.util
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import structlog
from aiohttp import web
from structlog.types import Processor

from bot.bootstrap import Bot, check_refused, open_bot
from bot.config.loading import Settings
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
        report, stop_reports = _error_reports(settings, redactor)
    except ConfigError as error:
        sys.stderr.write(f"deploybot: {_masked(error, redactor)}\n")
        return 2
    configure_logging(
        json=settings.json_logs,
        level=settings.values.log_level,
        mask=redactor.text,
        stream=settings.log_stream,
        report=report,
    )
    for warning in settings.warnings():
        log.warning("setting_warning", why=warning)
    remove_left_folders()
    try:
        asyncio.run(_serve(settings, redactor, opener))
    except ConfigError as error:
        sys.stderr.write(f"deploybot: {_masked(error, redactor)}\n")
        return 2
    finally:
        stop_reports()
    return 0


def _error_reports(
    settings: Settings, redactor: Redactor
) -> tuple[Processor | None, Callable[[], None]]:
    """What sends errors to Sentry, and what ends it; not loaded without `SENTRY_DSN`."""
    dsn = settings.values.sentry_dsn
    if dsn is None:
        return None, lambda: None
    source = settings.origin("sentry_dsn").source
    if importlib.util.find_spec("sentry_sdk") is None:
        fix = "Install the extra: dokku-deploybot[sentry]."
        raise ConfigError("SENTRY_DSN", source, "Sentry's SDK is not installed", fix)
    from bot import sentry  # noqa: PLC0415 - an extra
    from bot.release import release  # noqa: PLC0415 - slow

    report = sentry.start(
        dsn.get_secret_value(), mask=redactor.text, release=release(), source=source
    )
    return report, sentry.stop


def _masked(error: ConfigError, redactor: Redactor) -> ConfigError:
    # Masked in parts: next to the setting's name, its explanation would look like a secret.
    problem, fix = redactor.text(error.problem), redactor.text(error.fix)
    return ConfigError(error.setting, error.source, " ".join(problem.split()), fix)


async def _serve(settings: Settings, redactor: Redactor, opener: Opener) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # What was ignored before stays so: `nohup` lets the bot outlive its terminal.
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stop.set)
    metrics = Metrics()
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
