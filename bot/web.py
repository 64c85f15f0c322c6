"""The bot's HTTP ports: `/healthz`, `/readyz`, `/metrics`, and routes of other modules.

The first port may be on the internet, where Slack calls it: everyone gets `/healthz` and whether
the bot is ready; why not, the servers and the metrics are only for those who operate the bot.
"""

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

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
Sees = Callable[[web.Request], bool]
"""(request): whether its caller may see metrics and reasons, which name servers and addresses."""

_FORWARDED = (
    "forwarded",
    "x-forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-",
    "via",
    "true-client-ip",
    "cf-",
    "fly-",
    "fastly-",
)
"""How the headers begin that reverse proxies add."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """Who sees metrics and the details of `/readyz` besides callers on this machine."""

    token: str | None = None
    """Whoever sends it as a bearer token."""
    port: int | None = None
    """Whoever reaches this second port, which a platform does not publish. 0: any free one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """The open ports."""

    port: int
    inside_port: int | None = None


async def _nothing() -> None:
    pass


@asynccontextmanager
async def open_web(
    bind: str,
    port: int,
    *,
    ready: CheckHealth,
    metrics: Metrics,
    inside: Inside = Inside(),
    extra_routes: Iterable[web.AbstractRouteDef] = (),
    measure: Callable[[], Awaitable[None]] = _nothing,
    within_s: float = ANSWER_WITHIN_S,
) -> AsyncIterator[Web]:
    """Open the port (0: any free one). Closing stops listening and waits briefly for answers.

    `/readyz` waits at most `within_s` for the checks. `measure` is called before metrics are shown.

    Raises: ConfigError when a port cannot be opened.
    """

    def trusted(request: web.Request) -> bool:
        return is_from_this_machine(request) or _has_token(request, inside.token)

    def everyone(_request: web.Request) -> bool:
        return True

    async with AsyncExitStack() as stack:
        routes = [*_routes(ready, metrics, measure, within_s, sees=trusted), *extra_routes]
        opened = await stack.enter_async_context(_listening(bind, port, routes, "PORT"))
        second = None
        if inside.port is not None:
            routes = _routes(ready, metrics, measure, within_s, sees=everyone)
            second = await stack.enter_async_context(
                _listening(bind, inside.port, routes, "DEPLOYBOT_METRICS_PORT")
            )
        yield Web(port=opened, inside_port=second)


@asynccontextmanager
async def _listening(
    bind: str, port: int, routes: Iterable[web.AbstractRouteDef], setting: str
) -> AsyncIterator[int]:
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, bind, port)
        try:
            await site.start()
        except OSError as err:
            raise ConfigError(
                setting,
                "environment",
                f"port {port} of {bind} cannot be opened ({err.strerror})",
                "Set another port, or stop what listens there.",
            ) from err
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _routes(
    ready: CheckHealth,
    metrics: Metrics,
    measure: Callable[[], Awaitable[None]],
    within_s: float,
    *,
    sees: Sees,
) -> list[web.AbstractRouteDef]:
    page = make_aiohttp_handler(metrics.registry)

    async def metrics_page(request: web.Request) -> web.StreamResponse:
        # As if there were no such page: a refusal would say that there is one.
        if not sees(request):
            raise web.HTTPNotFound
        await measure()
        return await page(request)

    return [
        web.get("/healthz", _healthz),
        web.get("/readyz", _readyz(ready, within_s, sees)),
        web.get("/metrics", metrics_page),
    ]


def is_from_this_machine(request: web.BaseRequest) -> bool:
    """Whether the caller itself is on this machine, and not only a reverse proxy before it.

    A proxy adds a header about its caller, or keeps the name that the caller asked for.
    """
    if any(name.lower().startswith(_FORWARDED) for name in request.headers):
        return False
    return _is_loopback(request.remote or "") and _is_loopback(_host_of(request))


def _host_of(request: web.BaseRequest) -> str:
    try:
        return urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _has_token(request: web.BaseRequest, token: str | None) -> bool:
    scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
    if token is None or scheme.lower() != "bearer":
        return False
    # In constant time, and as bytes: the comparison of texts accepts only ASCII.
    return hmac.compare_digest(sent.strip().encode("utf-8", "surrogateescape"), token.encode())


async def _healthz(_request: web.Request) -> web.Response:
    return web.json_response({"ok": True})


def _readyz(
    ready: CheckHealth, within_s: float, sees: Sees
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        details: Mapping[str, object]
        try:
            async with asyncio.timeout(within_s):
                found = await ready()
        except TimeoutError:
            is_ready, details = False, {"why": "no answer in time"}
        else:
            is_ready = found.ready
            details = {**_shown(found.parts), "servers": _shown(found.servers)}
        body = {"ready": is_ready, **(details if sees(request) else {})}
        return web.json_response(body, status=200 if is_ready else 503)

    return answer


def _shown(health: Health) -> dict[str, object]:
    return {
        name: {"ok": True} if why is None else {"ok": False, "why": why}
        for name, why in health.items()
    }
