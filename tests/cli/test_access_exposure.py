"""Off loopback TLS is required, and a way to know who connects: one rule, for options, configurations and both ends."""

from __future__ import annotations

import pytest

from muxpy_cli._errors import Failure
from muxpy_cli.access import (
    Protection,
    missing_protection,
    require_connect_protection,
    require_listen_protection,
)

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
    ("tls", "complaint"),
    [(False, "other machines can reach PLACE: give --tls-cert"), (True, "anybody who can reach PLACE could use what")],
)
def test_what_the_listening_end_says(tls: bool, complaint: str) -> None:
    with pytest.raises(Failure, match=complaint) as caught:
        require_listen_protection("PLACE", ["0.0.0.0"], tls=tls, users=False, insecure=False)
    assert caught.value.exit_code == 2
    require_listen_protection("PLACE", ["127.0.0.1"], tls=tls, users=False, insecure=False)
    require_listen_protection("PLACE", ["0.0.0.0"], tls=tls, users=False, insecure=True)
    require_listen_protection("PLACE", ["0.0.0.0", "::"], tls=True, users=True, insecure=False)


def test_what_the_connecting_end_says_which_needs_tls_alone() -> None:
    elsewhere = ["127.0.0.1", "192.0.2.1"]
    with pytest.raises(Failure, match=r"PLACE is another machine: give --tls or --fingerprint") as caught:
        require_connect_protection("PLACE", elsewhere, tls=False, insecure=False)
    assert caught.value.exit_code == 2
    require_connect_protection("PLACE", ["127.0.0.1", "::1"], tls=False, insecure=False)
    require_connect_protection("PLACE", elsewhere, tls=False, insecure=True)
    require_connect_protection("PLACE", elsewhere, tls=True, insecure=False)
