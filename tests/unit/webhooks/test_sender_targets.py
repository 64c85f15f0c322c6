import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.webhooks.sender import TargetRefused, guarded_sockets, refusal, url_refusal

PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "::1",
    "fc00::1",
    "fd12:3456::1",
]
SPECIAL = [
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "168.63.129.16",
    "192.0.0.1",
    "192.88.99.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "100.100.100.200",
    "fd00:ec2::254",
    "fd20:ce::254",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "5f00::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused_unless_allowed(address: str) -> None:
    assert refusal(address, allow_private=False) == f"{address} is a private address"
    assert refusal(address, allow_private=True) is None


@pytest.mark.parametrize("address", SPECIAL)
@pytest.mark.parametrize("allow_private", [True, False])
def test_special_addresses_are_always_refused(address: str, allow_private: bool) -> None:
    assert "special address" in str(refusal(address, allow_private=allow_private))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_dialled(address: str) -> None:
    assert refusal(address, allow_private=False) is None


@given(st.ip_addresses())
def test_addresses_that_python_calls_private_are_refused(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    refused = refusal(str(address), allow_private=False) is not None
    if not address.is_global or address.is_multicast:
        assert refused


@given(st.ip_addresses(v=4))
def test_embedded_ipv4_addresses_are_refused(
    address: ipaddress.IPv4Address,
) -> None:
    number = int(address)
    for form in (
        ipaddress.IPv6Address(0xFFFF << 32 | number),
        ipaddress.IPv6Address(number),
        ipaddress.IPv6Address(0x2002 << 112 | number << 80),
        ipaddress.IPv6Address(0x20010000 << 96 | number ^ 0xFFFFFFFF),
    ):
        refused = refusal(str(form), allow_private=False)
        assert refused is not None, form


def test_socket_factory_refuses_bad_targets() -> None:
    make = guarded_sockets(allow_private=False)
    with pytest.raises(TargetRefused, match=r"127\.0\.0\.1 is a private address"):
        make((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80)))
    with make((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 80))) as made:
        assert made.family == socket.AF_INET


@pytest.mark.parametrize(
    ("url", "allow_private", "why"),
    [
        ("https://ops.example.com/hook", False, None),
        ("http://ops.example.com/hook", False, "it must begin with https://"),
        ("http://127.0.0.1:8000/hook", True, None),
        ("ftp://ops.example.com", True, "it must begin with http:// or https://"),
        ("https:///hook", False, "it names no host"),
        ("https://[bad", False, "it is not a URL"),
        ("", False, "it must begin with https://"),
    ],
)
def test_urls(url: str, allow_private: bool, why: str | None) -> None:
    assert url_refusal(url, allow_private=allow_private) == why


@given(st.ip_addresses(v=4), st.booleans())
def test_nat64_addresses_are_judged_by_the_ipv4_inside(
    address: ipaddress.IPv4Address, allow_private: bool
) -> None:
    inside = refusal(str(address), allow_private=allow_private)
    for prefix in (0x64FF9B << 96, 0x64FF9B0001 << 80):
        form = ipaddress.IPv6Address(prefix | int(address))
        refused = refusal(str(form), allow_private=allow_private)
        assert refused == (inside and f"{form} leads to an IPv4 address, and {inside}")
