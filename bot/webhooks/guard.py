"""Where webhooks may not go: addresses that only mean something inside somebody's network.

The check sits where the socket is made, so it sees the address that is really dialled: a
resolver's answer, an IP literal, `localhost`, `0x7f.1`, a name that changed its mind. Checking
the host name, or a resolver, misses literals.
"""

import ipaddress
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

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
"""Loopback and private networks: allowed where the operator says so."""

NEVER = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
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
    )
)
"""IANA's special-purpose blocks (metadata services, multicast, Teredo, 6to4, documentation,
reserved), and the one public address that a cloud's metadata service uses."""

UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is routed. What lies outside is special: NAT64, mapped, link-local, ..."""


class TargetRefused(OSError):
    """The address may not be dialled. An OSError, because that is what aiohttp passes on."""


def refusal(address: str, *, allow_private: bool) -> str | None:
    """Why an IP address may not be dialled; None: it may be."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if any(ip in network for network in PRIVATE):
        return None if allow_private else f"{ip} is a private address"
    if any(ip in network for network in NEVER) or (
        isinstance(ip, ipaddress.IPv6Address) and ip not in UNICAST
    ):
        return f"{ip} is a special address"
    return None


def url_refusal(url: str, *, allow_private: bool) -> str | None:
    """Why a URL cannot be a webhook's; None: it can, as far as its text tells."""
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
    """A `socket_factory` for aiohttp's connector. TargetRefused instead of a socket."""

    def make(info: AddrInfo) -> socket.socket:
        family, kind, protocol, _, sockaddr = info
        why = refusal(str(sockaddr[0]), allow_private=allow_private)
        if why is not None:
            raise TargetRefused(why)
        return socket.socket(family, kind, protocol)

    return make
