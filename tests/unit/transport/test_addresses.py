"""Addresses of the network that restbroker runs in differ from public ones, in whatever way they are written."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.transport.connect import is_public
from tests.support.rows import rows

PRIVATE = [
    "0.0.0.0",  # noqa: S104  is refused, not bound to
    "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.1.2", "168.63.129.16", "169.254.169.254",
    "172.31.0.1", "192.0.0.8", "192.168.1.1", "198.18.0.1", "203.0.113.9", "224.0.0.1", "240.0.0.1",
    "255.255.255.255",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "9.255.255.255", "11.0.0.1", "100.63.255.255", "100.128.0.1", "168.63.129.15", "168.63.129.17",
    "172.32.0.1", "193.0.0.1", "223.1.1.1",
]  # fmt: skip
ODD = [
    "::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd12:3456::1", "ff02::1", "100::1", "64:ff9b:1::1",
    "2001:db8::1", "2001::1", "3fff::1", "4000::1", "localhost", "127.1", "0x7f000001", "1.1.1.1/32",
]  # fmt: skip


def carriers(address: IPv4Address) -> list[str]:
    """The address in each way in which an IPv6 one may carry it."""
    number = int(address)
    return [
        str(address),
        f"::ffff:{address}",
        f"::{address}",
        str(IPv6Address(int(IPv6Address("64:ff9b::")) | number)),
        str(IPv6Address(int(IPv6Address("2002::")) | number << 80)),
    ]


@pytest.mark.promise(
    "Security: who controls DNS, or the network between", "to lead an http target into the private network"
)
@rows("address", PRIVATE)
def test_a_private_address_is_not_public_whatever_carries_it(address: str) -> None:
    assert [text for text in carriers(IPv4Address(address)) if is_public(text)] == []


@rows("address", PUBLIC)
def test_a_public_address_is_public_whatever_carries_it(address: str) -> None:
    assert all(map(is_public, carriers(IPv4Address(address))))


@pytest.mark.promise(
    "Security: who controls DNS, or the network between", "to lead an http target into the private network"
)
@rows("address", [*ODD, ""])
def test_address_not_known_to_be_public_is_not_public(address: str) -> None:
    assert not is_public(address)


def test_public_addresses_of_ipv6_are_public() -> None:
    assert is_public("2606:4700:4700::1111")
    assert is_public("2a00:1450:4001:82f::200e")


@given(st.ip_addresses())
def test_address_python_knows_as_of_one_network_is_not_public(address: IPv4Address | IPv6Address) -> None:
    if is_public(str(address)):
        assert not address.is_loopback
        assert not address.is_link_local
        assert not address.is_multicast
        assert not address.is_unspecified
        assert not ip_address(address).is_private or getattr(address, "sixtofour", None) is not None
