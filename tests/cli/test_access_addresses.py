"""What hosts are without asking anybody: addresses, localhost, this machine alone, and whose network."""

from __future__ import annotations

import pytest

from muxpy_cli.access import is_loopback, known_addresses, network_of


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "10.0.0.5", "::1", "::", "fe80::1%eth0", "::ffff:127.0.0.1"])
def test_an_address_is_itself(host: str) -> None:
    assert known_addresses(host) == (host,)


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "localhost.", "a.localhost", "a.B.LOCALHOST."])
def test_localhost_and_the_names_below_it_need_no_lookup(host: str) -> None:
    addresses = known_addresses(host)
    assert addresses == ("127.0.0.1", "::1")
    assert all(map(is_loopback, addresses))


@pytest.mark.parametrize(
    "host", ["example.org", "notlocalhost", "localhost.example.org", "*", "127.1", "0x7f000001", "::1%"]
)
def test_names_and_what_only_a_resolver_takes_for_a_number_need_one(host: str) -> None:
    assert known_addresses(host) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "127.255.0.1", "::1", "::1%lo", "::ffff:127.0.0.1"])
def test_loopback(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize(
    "address", ["0.0.0.0", "::", "128.0.0.1", "::2", "::ffff:10.0.0.1", "fe80::1", "localhost", ""]
)
def test_what_is_not_loopback(address: str) -> None:
    assert not is_loopback(address)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1:2:3", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("/run/muxpy.sock", "/run/muxpy.sock", True),
    ],
)
def test_whose_connections_count_together(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) is same
