"""Deliver webhooks from the outbox: check the target, sign, send, and read the answer's status.

The target is checked where the socket is made, so the check sees the address that is really
dialled: a resolver's answer, an IP literal, `localhost`, `0x7f.1`, a name that changed its address.
A check of the host name, or in the resolver, misses literals.
"""

import base64
import binascii
import ipaddress
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from standardwebhooks import Webhook

from bot.clock import Clock
from bot.errors import ConfigError
from bot.outbox import (
    Attempt,
    Delivered,
    Endpoint,
    Failed,
    Gone,
    LaneTiming,
    Outbox,
    OutboxLane,
    Outgoing,
    open_lanes,
)
from bot.release import release

SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix of secrets, not one

CONNECT_S = 5.0
ATTEMPT_S = 15.0
HOLD = timedelta(seconds=20)
"""What a killed replica was sending is sent by another one after it, and `LaneTiming.idle`."""

REASONS: Mapping[type[Exception], str] = {
    TimeoutError: "no answer in time",
    aiohttp.ClientConnectorCertificateError: "its certificate cannot be trusted",
    aiohttp.ClientConnectorDNSError: "its name cannot be looked up",
    aiohttp.ClientConnectorSSLError: "TLS could not be set up",
    aiohttp.ServerDisconnectedError: "it hung up without an answer",
    aiohttp.ClientResponseError: "its answer was not HTTP",
}
"""Why an attempt failed. The first match counts."""

# --- allowed targets

AddrInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]

PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::1/128",
        "fc00::/7",
    )
)
"""Loopback and private networks: allowed by DEPLOYBOT_WEBHOOK_ALLOW_PRIVATE."""

NEVER = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
        "fd00:ec2::254/128",
        "fd20:ce::254/128",
    )
)
"""IANA's special-purpose blocks (metadata services, multicast, Teredo, 6to4, documentation,
reserved), and the public and private addresses of clouds' metadata services."""

NAT64 = tuple(ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/96"))
"""RFC 6052's well-known prefix and the start of RFC 8215's local one: the last 32 bits are the IPv4
address that is dialled."""

UNICAST = ipaddress.IPv6Network("2000::/3")
"""All routed IPv6 addresses. Others are special: NAT64, mapped, link-local, ..."""


class TargetRefused(OSError):
    """The address may not be dialled. An OSError, because aiohttp passes only those on."""


def refusal(address: str, *, allow_private: bool) -> str | None:
    """Why an IP address may not be dialled; None: it may."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and any(ip in network for network in NAT64):
        inside = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        why = refusal(str(inside), allow_private=allow_private)
        return why and f"{ip} leads to an IPv4 address, and {why}"
    never = any(ip in network for network in NEVER)
    if not never and any(ip in network for network in PRIVATE):
        return None if allow_private else f"{ip} is a private address"
    if never or (isinstance(ip, ipaddress.IPv6Address) and ip not in UNICAST):
        return f"{ip} is a special address"
    return None


def url_refusal(url: str, *, allow_private: bool) -> str | None:
    """Why a URL cannot be a webhook's; None: its text shows no reason."""
    try:
        parsed = urlsplit(url)
        host = parsed.hostname
    except ValueError:
        return "it is not a URL"
    schemes = {"https", "http"} if allow_private else {"https"}
    if parsed.scheme not in schemes:
        return f"it must begin with {' or '.join(f'{scheme}://' for scheme in sorted(schemes))}"
    return None if host else "it names no host"


def guarded_sockets(*, allow_private: bool) -> Callable[[AddrInfo], socket.socket]:
    """Make a `socket_factory` for aiohttp's connector. It raises TargetRefused for a bad target."""

    def make(info: AddrInfo) -> socket.socket:
        family, kind, protocol, _, sockaddr = info
        why = refusal(str(sockaddr[0]), allow_private=allow_private)
        if why is not None:
            raise TargetRefused(why)
        return socket.socket(family, kind, protocol)

    return make


# --- signatures (Standard Webhooks)


def signing_key(secret: str) -> bytes:
    """Read a configured secret: `whsec_` and base64, or the bytes of any other text.

    ValueError, without the secret in it: it cannot be a key.
    """
    if not secret:
        raise ValueError("the secret is empty")
    if not secret.startswith(SECRET_PREFIX):
        return secret.encode()
    coded = secret.removeprefix(SECRET_PREFIX).rstrip("=")
    try:
        key = base64.b64decode(coded + "=" * (-len(coded) % 4), validate=True)
    except binascii.Error:
        raise ValueError("what follows whsec_ is not base64") from None
    if not key:
        raise ValueError("nothing follows whsec_")
    return key


def signed_headers(key: bytes, *, webhook_id: str, at: datetime, body: str) -> Mapping[str, str]:
    """Make the three headers. Each attempt has the same id and a new time stamp."""
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(key).sign(webhook_id, at, body),
    }


# --- sending


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """Sends to one endpoint. `key` is None where the URL is the secret (Slack's)."""

    endpoint: Endpoint
    key: bytes | None = field(repr=False)
    session: aiohttp.ClientSession
    clock: Clock

    async def __call__(self, row: Outgoing) -> Attempt:
        """Make one attempt. Its error holds no text of the receiver and no URL."""
        body = json.dumps(row.body, separators=(",", ":"), ensure_ascii=False)
        headers = {"content-type": "application/json"}
        if self.key is not None:
            headers |= signed_headers(self.key, webhook_id=row.id, at=self.clock.now(), body=body)
        try:
            async with self.session.post(
                self.endpoint.url, data=body.encode(), headers=headers, allow_redirects=False
            ) as response:
                return _attempt(response.status)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return Failed(_reason(error))


def _attempt(status: int) -> Attempt:
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Delivered()
    if status == HTTPStatus.GONE:
        return Gone("it answered 410: it wants no more webhooks")
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return Failed(f"it answered {status}: redirects are not followed")
    return Failed(f"it answered {status}")


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError) and type(error) not in REASONS:
        return f"could not connect: {error.os_error.strerror or error.os_error}"
    found = (reason for kind, reason in REASONS.items() if isinstance(error, kind))
    return next(found, f"could not be sent: {type(error).__name__}")


@dataclass(frozen=True, slots=True)
class Sender:
    """The lanes of all endpoints."""

    lanes: Sequence[OutboxLane]

    def on_change(self, kind: str, deployment_id: str) -> None:
        """Something was written to the database: deliver what is due. Returns at once."""
        for lane in self.lanes:
            lane.on_change(kind, deployment_id)


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
            fix = "Give each webhook a different https URL."
            raise ConfigError("webhooks.url", "settings", problem, fix)
        seen.add(endpoint.url)


def _session(*, allow_private: bool, attempt_s: float) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        socket_factory=guarded_sockets(allow_private=allow_private), use_dns_cache=False
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=attempt_s, sock_connect=CONNECT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"user-agent": f"deploybot/{release()}"},
        auto_decompress=False,
        trust_env=False,
    )


async def send_once(
    endpoint: Endpoint, row: Outgoing, *, clock: Clock, allow_private: bool
) -> Attempt:
    """Make one attempt that no outbox knows of. ConfigError as for `open_sender`."""
    _check([endpoint], allow_private=allow_private)
    async with _session(allow_private=allow_private, attempt_s=ATTEMPT_S) as session:
        post = Post(endpoint=endpoint, key=_key(endpoint), session=session, clock=clock)
        return await post(row)


@asynccontextmanager
async def open_sender(
    *,
    endpoints: Sequence[Endpoint],
    outbox: Outbox,
    clock: Clock,
    allow_private: bool = False,
    count: Callable[[str], None] = lambda _outcome: None,
    drain: timedelta = timedelta(seconds=1),
    attempt_s: float = ATTEMPT_S,
    timing: LaneTiming | None = None,
) -> AsyncIterator[Sender]:
    """Deliver while open. Leaving tries once more what is due, for at most `drain`.

    `attempt_s` limits one attempt, from the name lookup to the head of the answer. `count` is
    called with the outcome of each: `delivered`, `retried`, `given_up`, `turned_off`.
    ConfigError: a URL or secret that can never work.
    """
    _check(endpoints, allow_private=allow_private)
    keys = [_key(endpoint) for endpoint in endpoints]
    async with _session(allow_private=allow_private, attempt_s=attempt_s) as session:
        lanes = [
            OutboxLane(
                lane=endpoint.lane,
                outbox=outbox,
                deliver=Post(endpoint=endpoint, key=key, session=session, clock=clock),
                clock=clock,
                timing=timing or LaneTiming(hold=HOLD),
                count=count,
            )
            for endpoint, key in zip(endpoints, keys, strict=True)
        ]
        async with open_lanes(lanes, drain=drain):
            yield Sender(lanes)
