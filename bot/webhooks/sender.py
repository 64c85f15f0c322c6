"""Delivers webhooks from the outbox: signs, sends, and reads the answer's status only."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from importlib.metadata import version

import aiohttp
import structlog

from bot.clock import Clock
from bot.errors import ConfigError, StoreError
from bot.outbox.lane import Answer, NotTold, OutboxLane, Told, TurnedAway, open_lanes
from bot.outbox.model import Endpoint, Outbox, Outgoing
from bot.webhooks.guard import guarded_sockets, url_refusal
from bot.webhooks.signing import signed_headers, signing_key

log = structlog.get_logger(__name__)

TRY_S = 15.0
"""One try, from the look-up of the name to the answer's head."""
CONNECT_S = 5.0


WORDS: Mapping[type[Exception], str] = {
    TimeoutError: "no answer in time",
    aiohttp.ClientConnectorCertificateError: "its certificate cannot be trusted",
    aiohttp.ClientConnectorDNSError: "its name cannot be looked up",
    aiohttp.ClientConnectorSSLError: "TLS could not be set up",
    aiohttp.ServerDisconnectedError: "it hung up without an answer",
    aiohttp.ClientResponseError: "its answer was not HTTP",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """Sends to one endpoint. `key` is None where the URL itself is the secret (Slack's)."""

    endpoint: Endpoint
    key: bytes | None = field(repr=False)
    session: aiohttp.ClientSession
    clock: Clock

    async def __call__(self, row: Outgoing) -> Answer:
        """One try. The error says what happened in our own words: no foreign text, no URL."""
        body = json.dumps(row.body, separators=(",", ":"), ensure_ascii=False)
        headers = {"content-type": "application/json"}
        if self.key is not None:
            headers |= signed_headers(self.key, webhook_id=row.id, at=self.clock.now(), body=body)
        try:
            async with self.session.post(
                self.endpoint.url, data=body.encode(), headers=headers, allow_redirects=False
            ) as response:
                return _read(response.status)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return NotTold(_words(error))


def _read(status: int) -> Answer:
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Told()
    if status == HTTPStatus.GONE:
        return TurnedAway("it answered 410: it wants no more webhooks")
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return NotTold(f"it answered {status}: redirects are not followed")
    return NotTold(f"it answered {status}")


def _words(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError) and type(error) not in WORDS:
        return f"could not connect: {error.os_error.strerror or error.os_error}"
    kinds = (words for kind, words in WORDS.items() if isinstance(error, kind))
    return next(kinds, f"could not be sent: {type(error).__name__}")


@dataclass(frozen=True, slots=True)
class Sender:
    """All endpoints' lanes."""

    lanes: Sequence[OutboxLane]

    def kick(self) -> None:
        """Rows may have been written: look now. Returns at once."""
        for lane in self.lanes:
            lane.kick()


def _key(endpoint: Endpoint) -> bytes | None:
    if not endpoint.secret and endpoint.format == "slack":
        return None
    try:
        return signing_key(endpoint.secret)
    except ValueError as err:
        raise ConfigError(
            "webhooks.secret",
            "settings",
            str(err),
            "Use whsec_ and base64 of 24 to 64 random bytes.",
        ) from err


def _check(endpoints: Sequence[Endpoint], *, allow_private: bool) -> None:
    seen: set[str] = set()
    for endpoint in endpoints:
        problem = url_refusal(endpoint.url, allow_private=allow_private)
        if endpoint.url in seen:
            problem = "two webhooks have the same URL"
        if problem:
            mend = "Give each webhook an https URL of its own."
            raise ConfigError("webhooks.url", "settings", problem, mend)
        seen.add(endpoint.url)


async def hide_addresses(outbox: Outbox) -> None:
    """Rename the lanes of former releases; a database that is away is asked again later."""
    try:
        await outbox.hide_addresses()
    except StoreError as error:
        log.warning("addresses_not_hidden", why=str(error))


@asynccontextmanager
async def open_sender(
    *,
    endpoints: Sequence[Endpoint],
    outbox: Outbox,
    clock: Clock,
    allow_private: bool = False,
    count: Callable[[str], None] = lambda _outcome: None,
    drain: timedelta = timedelta(seconds=1),
) -> AsyncIterator[Sender]:
    """Deliver while open. Leaving tries once more what is due, for at most `drain`.

    `count` is called with the outcome of each try: `delivered`, `retried`, `given_up`,
    `turned_off`. ConfigError: a URL or secret that can never work.
    """
    _check(endpoints, allow_private=allow_private)
    await hide_addresses(outbox)
    keys = [_key(endpoint) for endpoint in endpoints]
    connector = aiohttp.TCPConnector(
        socket_factory=guarded_sockets(allow_private=allow_private), use_dns_cache=False
    )
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=TRY_S, sock_connect=CONNECT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"user-agent": f"deploybot/{version('dokku-deploybot')}"},
        auto_decompress=False,
        trust_env=False,
    ) as session:
        lanes = [
            OutboxLane(
                lane=endpoint.lane,
                outbox=outbox,
                deliver=Post(endpoint=endpoint, key=key, session=session, clock=clock),
                clock=clock,
                count=count,
            )
            for endpoint, key in zip(endpoints, keys, strict=True)
        ]
        async with open_lanes(lanes, drain=drain):
            yield Sender(lanes)
