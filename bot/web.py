"""The bot's HTTP port: `/healthz`, `/readyz`, `/metrics`, and routes of other modules."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler

from bot.errors import ConfigError
from bot.metrics import Metrics

Health = Mapping[str, str | None]
"""Name -> None if it works, else why not, in a sentence."""

ANSWER_WITHIN_S = 5.0
"""Longest that `/readyz` waits for the checks; a probe that hangs is of no use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """Which parts work now."""

    parts: Health
    """`database`, `slack`, `scheduler`: the bot is ready only if all of them work."""
    servers: Health = field(default_factory=dict)
    """Dokku servers, for information only: a server that is down must not take the bot down."""

    @property
    def ready(self) -> bool:
        """Whether all parts work."""
        return all(why is None for why in self.parts.values())


CheckHealth = Callable[[], Awaitable[HealthReport]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """The open port."""

    port: int


@asynccontextmanager
async def open_web(
    bind: str,
    port: int,
    *,
    ready: CheckHealth,
    metrics: Metrics,
    extra_routes: Iterable[web.AbstractRouteDef] = (),
    within_s: float = ANSWER_WITHIN_S,
) -> AsyncIterator[Web]:
    """Open the port (0: any free one). Closing stops listening and waits briefly for answers.

    `/readyz` waits at most `within_s` for the checks.

    Raises: ConfigError when the port cannot be opened.
    """
    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", _healthz),
            web.get("/readyz", _readyz(ready, within_s)),
            web.get("/metrics", make_aiohttp_handler(metrics.registry)),
            *extra_routes,
        ]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, bind, port)
        try:
            await site.start()
        except OSError as err:
            raise ConfigError(
                "PORT",
                "environment",
                f"port {port} of {bind} cannot be opened ({err.strerror})",
                "Set another port, or stop what listens there.",
            ) from err
        yield Web(port=runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def _healthz(_request: web.Request) -> web.Response:
    return web.json_response({"ok": True})


def _readyz(
    ready: CheckHealth, within_s: float
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(within_s):
                found = await ready()
        except TimeoutError:
            return web.json_response({"ready": False, "why": "no answer in time"}, status=503)
        body = {"ready": found.ready, **_shown(found.parts), "servers": _shown(found.servers)}
        return web.json_response(body, status=200 if found.ready else 503)

    return answer


def _shown(health: Health) -> dict[str, object]:
    return {
        name: {"ok": True} if why is None else {"ok": False, "why": why}
        for name, why in health.items()
    }
