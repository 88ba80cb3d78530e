"""Off loopback TLS is required, and a way to know who connects: one rule, for options, configurations and both ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from muxpy_cli._errors import Failure
from muxpy_cli._options import ClientTls, ConnectOptions, ListenOptions, ServerTls
from muxpy_cli.access import (
    Protection,
    User,
    missing_protection,
    require_connect_protection,
    require_listen_protection,
)
from muxpy_cli.specs import Address

PLAIN = ListenOptions(address=Address("127.0.0.1", 0))
TLS = replace(PLAIN, tls=ServerTls(cert=Path("cert.pem")))
HERE = ["127.0.0.1", "127.1.2.3", "::1", "::1%lo", "::ffff:127.0.0.1"]
ELSEWHERE = ["0.0.0.0", "::", "10.0.0.5", "fe80::1%eth0", "::ffff:10.0.0.5", "128.0.0.1", "no address"]


@pytest.mark.parametrize("address", HERE)
def test_loopback_needs_nothing(address: str) -> None:
    assert missing_protection([address], tls=False, users=False, insecure=False) == []


@pytest.mark.parametrize("addresses", [None, *([address] for address in ELSEWHERE), ["127.0.0.1", "10.0.0.5"]])
def test_everything_else_needs_both(addresses: list[str] | None) -> None:
    def missing(*, tls: bool, users: bool, insecure: bool = False) -> list[Protection]:
        return missing_protection(addresses, tls=tls, users=users, insecure=insecure)

    assert missing(tls=False, users=False) == [Protection.TLS, Protection.USERS]
    assert missing(tls=True, users=False) == [Protection.USERS]
    assert missing(tls=False, users=True) == [Protection.TLS]
    assert missing(tls=True, users=True) == []
    assert missing(tls=False, users=False, insecure=True) == []


@pytest.mark.parametrize(
    ("options", "complaint"),
    [(PLAIN, "other machines can reach PLACE: give --tls-cert"), (TLS, "anybody who can reach PLACE could use what")],
)
def test_what_the_listening_end_says(options: ListenOptions, complaint: str) -> None:
    with pytest.raises(Failure, match=complaint) as caught:
        require_listen_protection(options, ["0.0.0.0"], "PLACE")
    assert caught.value.exit_code == 2
    require_listen_protection(options, ["127.0.0.1"], "PLACE")


@pytest.mark.parametrize(
    "options",
    [
        replace(PLAIN, insecure=True),
        replace(TLS, insecure=True),
        replace(TLS, tokens=Path("tokens.toml")),
        replace(TLS, users=(User(name="alice"),)),
        replace(TLS, tls=ServerTls(cert=Path("cert.pem"), client_ca=Path("ca.pem"))),
    ],
)
def test_a_listening_end_that_may_be_reached(options: ListenOptions) -> None:
    require_listen_protection(options, ["0.0.0.0", "::"], "PLACE")


def test_the_connecting_end_needs_tls_alone() -> None:
    plain = ConnectOptions(address=Address("example.org", 4242))
    with pytest.raises(Failure, match=r"example\.org:4242 is another machine: give --tls or --fingerprint") as caught:
        require_connect_protection(plain, ["127.0.0.1", "192.0.2.1"])
    assert caught.value.exit_code == 2
    require_connect_protection(plain, ["127.0.0.1", "::1"])
    require_connect_protection(replace(plain, insecure=True), ["192.0.2.1"])
    require_connect_protection(replace(plain, tls=ClientTls()), ["192.0.2.1"])
