"""Asking the rules: what is left of a name's addresses, and what a refusal says."""

from __future__ import annotations

import pytest

from muxpy_cli.access import (
    Forbidden,
    check_bind,
    check_bind_path,
    check_target,
    check_target_path,
    parse_bind_rule,
    parse_target_rule,
)


def test_only_the_allowed_addresses_of_a_name_are_left() -> None:
    rules = [parse_target_rule("db.internal:5432"), parse_target_rule("127.0.0.2:5432")]
    addresses = ["169.254.1.1", "10.0.0.9", "127.0.0.1", "127.0.0.2", "10.0.0.5"]
    assert check_target(rules, "db.internal", addresses, 5432) == ["10.0.0.9", "127.0.0.2", "10.0.0.5"]


def refusal(*rules: str, host: str = "10.0.0.5", addresses: tuple[str, ...] = ("10.0.0.5",), port: int = 22) -> str:
    with pytest.raises(Forbidden) as caught:
        check_target([parse_target_rule(rule) for rule in rules], host, addresses, port)
    assert str(caught.value) == caught.value.reason
    return caught.value.reason


def test_a_refusal_names_the_target_and_the_rules() -> None:
    assert refusal("127.0.0.0/8:*", "[::1]:*") == "10.0.0.5:22 is not in allow = 127.0.0.0/8:*, [::1]:*"
    assert refusal(host="::2", addresses=("::2",)) == "[::2]:22 is not in allow, which is empty"
    assert refusal("a:1", host="db", addresses=("10.0.0.5", "::2")) == "db:22 is not in allow = a:1"
    assert refusal(*(f"a:{port}" for port in range(100, 120))).endswith("a:106, a:107 and 12 more")


def test_a_refusal_says_if_it_was_only_the_address() -> None:
    reason = refusal("*.example.org:22", host="a.example.org", addresses=("127.0.0.1",))
    assert "a.example.org:22 leads to a loopback" in reason
    assert "127.0.0.1" not in reason  # what a name means inside of a network is not for everybody
    assert reason.endswith("allow = *.example.org:22")
    assert "leads to" not in refusal("*.example.org:23", host="a.example.org", addresses=("127.0.0.1",))


def test_a_refusal_writes_nothing_strange_and_nothing_long() -> None:
    assert "\x1b" not in refusal(host="\x1b[2J", addresses=())
    assert len(refusal(host="a" * 10_000, addresses=())) < 500
    with pytest.raises(Forbidden) as caught:
        check_bind_path([parse_bind_rule("unix:/a")], "/\n" + "a" * 1000)
    assert caught.value.reason.isprintable()
    assert "allow-bind = unix:/a" in caught.value.reason
    with pytest.raises(Forbidden, match=r"^0\.0\.0\.0:0 is not in allow-bind = \*:80$"):
        check_bind([parse_bind_rule("*:80")], "0.0.0.0", 0)
    with pytest.raises(Forbidden, match=r"^unix:/x is not in allow = \*:\*$"):
        check_target_path([parse_target_rule("*:*")], "/x")


def test_paths_that_are_allowed() -> None:
    check_target_path([parse_target_rule("*:*"), parse_target_rule("unix:/run/*.sock")], "/run/x.sock")
    check_bind_path([parse_bind_rule("unix:/run/*.sock")], "/run/x.sock")
