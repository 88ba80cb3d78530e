"""Rules: what they allow, what they refuse, and what is no rule."""

from __future__ import annotations

import fnmatch
import ipaddress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from muxpy_cli.access import (
    Forbidden,
    RuleError,
    check_bind,
    check_bind_path,
    check_target,
    check_target_path,
    default_bind_rules,
    default_target_rules,
    is_own,
    parse_bind_rule,
    parse_target_rule,
)

PUBLIC = "93.184.216.34"
SPECIAL = [
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "169.254.169.254",
    "fe80::1",
    "fe80::1%eth0",
    "224.0.0.1",
    "ff02::1",
    "0.0.0.0",
    "::",
    "255.255.255.255",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd00:42::42",
    "fd00:c1::a9fe:a9fe",
    "168.63.129.16",
    "64:ff9b:1::a9fe:a9fe",
    "64:ff9b:1:7f00:0:100::",
    "2001:0:7f00:1::",
    "::ffff:10.0.0.5",
    "::ffff:0:10.0.0.5",
]


def allows(rule: str, host: str, address: str = PUBLIC, port: int = 443) -> bool:
    return parse_target_rule(rule).allows(host, address, port)


def binds(rule: str, address: str, port: int = 8000) -> bool:
    return parse_bind_rule(rule).allows(address, port)


# ---- Names ----


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("example.org", "example.org", True),
        ("example.org", "EXAMPLE.org.", True),
        ("Example.ORG.", "example.org", True),
        ("example.org", "www.example.org", False),
        ("example.org", "example.org.evil.net", False),
        ("example.org", "exampleXorg", False),
        ("*.example.org", "www.example.org", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", "a.b.example.org", False),
        ("*.example.org", "evilexample.org", False),
        ("*.*.example.org", "a.b.example.org", True),
        ("web*.example.org", "web7.example.org", True),
        ("web*.example.org", "web.example.org", True),
        ("web*.example.org", "db.example.org", False),
        ("w*-*b.example.org", "w1-x-b.example.org", True),
        ("w*-*b.example.org", "w1b.example.org", False),
        ("db", "db", True),
        ("_srv.example.org", "_srv.example.org", True),
        ("example.org", "example.org..", False),
    ],
)
def test_names(pattern: str, host: str, matches: bool) -> None:
    assert allows(f"{pattern}:443", host) is matches


_LABELS = st.lists(st.text("ab-*", min_size=1, max_size=6), min_size=1, max_size=4)


@given(_LABELS, _LABELS)
def test_a_star_stays_within_its_label(pattern: list[str], labels: list[str]) -> None:
    try:
        rule = parse_target_rule(f"{'.'.join(pattern)}:443")
    except RuleError:
        assume(False)
    assume(pattern != ["*"])
    host = ".".join(labels).replace("*", "b")
    expected = len(pattern) == len(labels) and all(map(fnmatch.fnmatchcase, host.split("."), pattern))
    assert rule.allows(host, PUBLIC, 443) is expected


@pytest.mark.parametrize("address", SPECIAL)
def test_dns_must_not_lead_a_name_to_special_addresses(address: str) -> None:
    assert not allows("*.example.org:443", "www.example.org", address)
    assert not allows("www.example.org:443", "www.example.org", address)


@given(st.ip_addresses())
def test_what_a_name_may_lead_to(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assume(not is_own(str(ip)))  # hypothesis prefers the networks for documentation, and a machine may be in one
    allowed = allows("db:443", "db", str(ip))
    if ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        assert not allowed
    elif ip.version == 4 and ip.is_private and not ip.is_reserved:
        assert allowed is (str(ip) != "192.0.0.192")


@pytest.mark.parametrize("address", ["10.0.0.5", "192.168.1.1", "fd12::1", PUBLIC, "2001:db8::1", "64:ff9b::808:808"])
def test_names_may_lead_to_private_and_public_addresses(address: str) -> None:
    assert allows("db.internal:443", "db.internal", address)


@pytest.mark.parametrize("host", ["93.184.216.34", "1.2.3.0x22", "127.1", "1.2", "1.2."])
def test_a_number_is_no_name(host: str) -> None:
    assert not allows("*.*:443", host)
    assert not allows("*.*.*.*:443", host)


def test_a_name_that_is_not_ascii_matches_no_name_rule() -> None:
    # NFKC makes the letters of the first one ASCII, and a resolver may do that.
    assert not allows("example.org:443", "\N{FULLWIDTH LATIN SMALL LETTER E}xample.org")
    assert not allows("*.org:443", "bücher.org")
    assert allows("xn--bcher-kva.org:443", "xn--bcher-kva.org")


def test_an_address_rule_beside_it_lets_a_name_lead_there() -> None:
    rules = [parse_target_rule("www.example.org:*"), parse_target_rule("127.0.0.1:80")]
    assert check_target(rules, "www.example.org", ["127.0.0.1"], 80) == ["127.0.0.1"]
    with pytest.raises(Forbidden):
        check_target(rules, "www.example.org", ["127.0.0.1"], 443)


def test_localhost_means_loopback_and_nothing_else() -> None:
    for rule in ("localhost:443", "LOCALHOST.:443"):
        assert allows(rule, "localhost", "127.0.0.1")
        assert allows(rule, "localhost", "::1")
        assert allows(rule, "127.0.0.1", "127.0.0.1")
        assert not allows(rule, "localhost", "10.0.0.5")
        assert not allows(rule, "localhost", "0.0.0.0")


# ---- Addresses ----


@pytest.mark.parametrize(
    ("rule", "address", "matches"),
    [
        ("10.0.0.0/8:443", "10.255.0.1", True),
        ("10.0.0.0/8:443", "11.0.0.1", False),
        ("10.0.0.0/8:443", "::ffff:10.0.0.1", True),
        ("10.0.0.5:443", "10.0.0.5", True),
        ("10.0.0.5:443", "10.0.0.6", False),
        ("[fd00::/8]:443", "fd12::1", True),
        ("[fd00::/8]:443", "fe80::1", False),
        ("[fe80::/10]:443", "fe80::1%eth0", True),
        ("[::1]:443", "::1", True),
        ("[::1]:443", "127.0.0.1", False),
        ("[::ffff:10.0.0.5]:443", "10.0.0.5", True),
        ("[::ffff:10.0.0.0/104]:443", "10.9.9.9", True),
        ("[::/0]:443", "2001:db8::1", True),
        ("[::/0]:443", "::ffff:10.0.0.1", False),
        ("0.0.0.0/0:443", "169.254.169.254", True),
        ("0.0.0.0/0:443", "0.0.0.0", False),
        ("0.0.0.0/8:443", "::ffff:0.0.0.0", False),
        ("[::/0]:443", "::", False),
        ("[::/64]:443", "::", False),
        ("0.0.0.0:443", "0.0.0.0", True),
        ("0.0.0.0:443", "127.0.0.1", False),
        ("0.0.0.0:443", "::", False),
        ("[::]:443", "::", True),
        ("127.0.0.0/8:443", "0.0.0.0", False),
        ("*:443", "0.0.0.0", True),
        ("*:443", "::1", True),
        ("*:443", "169.254.169.254", True),
        ("*:443", "no address", False),
    ],
)
def test_addresses(rule: str, address: str, matches: bool) -> None:
    assert allows(rule, "whatever.example.org", address) is matches
    assert allows(rule, address, address) is matches


@given(st.ip_addresses(v=4), st.ip_addresses(v=4), st.integers(1, 32))
def test_blocks(inside: ipaddress.IPv4Address, other: ipaddress.IPv4Address, length: int) -> None:
    network = ipaddress.ip_network((int(inside), length), strict=False)
    for ip in (inside, other):
        if int(ip):
            assert allows(f"{network}:443", str(ip), str(ip)) is (ip in network)
            assert allows(f"{network}:443", "x", f"::ffff:{ip}") is (ip in network)


@pytest.mark.parametrize(
    ("ports", "port", "matches"),
    [
        ("443", 443, True),
        ("443", 444, False),
        ("8000-8099", 8000, True),
        ("8000-8099", 8099, True),
        ("8000-8099", 7999, False),
        ("8000-8099", 8100, False),
        ("*", 1, True),
        ("*", 65535, True),
        ("*", 0, False),
    ],
)
def test_ports(ports: str, port: int, matches: bool) -> None:
    for host in ("example.org", "93.184.216.34", "*"):
        assert allows(f"{host}:{ports}", "example.org", PUBLIC, port) is matches


# ---- Paths ----


@pytest.mark.parametrize(
    ("rule", "path", "matches"),
    [
        ("unix:/run/app.sock", "/run/app.sock", True),
        ("unix:/run/app.sock", "//run/./app.sock", True),
        pytest.param("unix://run/app.sock", "/run/app.sock", True, id="two_slashes"),
        ("unix:/run/app.sock", "/run/app.sock2", False),
        ("unix:/run/app.sock", "/run/appXsock", False),
        ("unix:/run/*.sock", "/run/a.sock", True),
        ("unix:/run/*.sock", "/run/a/b.sock", False),
        ("unix:/run/*/app.sock", "/run/7/app.sock", True),
        ("unix:/run/*/app.sock", "/run/../app.sock", False),
        ("unix:/run/*", "/run/../etc", False),
        ("unix:/run/*", "/run/x/..", False),
        ("unix:/run/*", "/run/x\0y", False),
        ("unix:/run/*", "run/x", False),
        ("unix:/run/*", "/run", False),
        ("unix:/*", "/run/x", False),
        ("unix:/*", "/", False),
        ("*:*", "/run/x", False),
    ],
)
def test_paths(rule: str, path: str, matches: bool) -> None:
    assert parse_target_rule(rule).allows_path(path) is matches
    assert parse_bind_rule(rule).allows_path(path) is matches


@given(st.text("ab/.*", max_size=12), st.text("ab/.\n", max_size=12))
def test_a_star_stays_within_its_part_of_the_path(pattern: str, path: str) -> None:
    try:
        rule = parse_target_rule(f"unix:/{pattern}")
    except RuleError:
        assume(False)
    wanted, parts = ([part for part in f"/{x}".split("/") if part not in ("", ".")] for x in (pattern, path))
    expected = ".." not in parts and len(wanted) == len(parts) and all(map(fnmatch.fnmatchcase, parts, wanted))
    assert rule.allows_path(f"/{path}") is expected


def test_a_path_rule_allows_no_address() -> None:
    assert not allows("unix:/*", "/x", PUBLIC)
    assert not binds("unix:/*", "*")


# ---- What may be bound ----


@pytest.mark.parametrize(
    ("rule", "address", "port", "matches"),
    [
        ("127.0.0.1:8000-8099", "127.0.0.1", 8050, True),
        ("127.0.0.1:8000-8099", "127.0.0.1", 0, False),
        ("127.0.0.1:0", "127.0.0.1", 0, True),
        ("127.0.0.1:0", "127.0.0.1", 8050, False),
        ("127.0.0.1:*", "127.0.0.1", 0, True),
        ("127.0.0.1:*", "0.0.0.0", 8050, False),
        ("10.0.0.0/8:*", "10.1.1.1", 80, True),
        ("0.0.0.0/0:*", "0.0.0.0", 80, False),
        ("0.0.0.0/0:*", "*", 80, False),
        ("0.0.0.0:80", "0.0.0.0", 80, True),
        ("0.0.0.0:80", "*", 80, False),
        ("*:80", "*", 80, True),
        ("*:80", "*", 81, False),
        ("*:80", "::", 80, True),
        ("localhost:80", "::1", 80, True),
        ("localhost:80", "*", 80, False),
    ],
)
def test_binding(rule: str, address: str, port: int, matches: bool) -> None:
    assert binds(rule, address, port) is matches


def test_to_bind_localhost_both_loopback_addresses_must_be_allowed() -> None:
    check_bind([parse_bind_rule("localhost:80")], "localhost", 80)
    check_bind([parse_bind_rule("127.0.0.1:80"), parse_bind_rule("[::1]:80")], "Localhost.", 80)
    with pytest.raises(Forbidden):
        check_bind([parse_bind_rule("127.0.0.1:80")], "localhost", 80)


def test_the_defaults_are_loopback_only() -> None:
    assert check_target(default_target_rules(), "localhost", ["127.0.0.1", "::1"], 22) == ["127.0.0.1", "::1"]
    check_bind(default_bind_rules(), "localhost", 0)
    for address in ("0.0.0.0", "::", "10.0.0.1", "169.254.169.254", "fe80::1"):
        with pytest.raises(Forbidden):
            check_target(default_target_rules(), address, [address], 22)
        with pytest.raises(Forbidden):
            check_bind(default_bind_rules(), address, 22)
    with pytest.raises(Forbidden):
        check_bind(default_bind_rules(), "*", 22)
    with pytest.raises(Forbidden):
        check_target_path(default_target_rules(), "/run/x")
    with pytest.raises(Forbidden):
        check_bind_path(default_bind_rules(), "/run/x")


def test_stars_take_no_time() -> None:
    rule = parse_target_rule("a" + "*a" * 100 + ":443")
    assert rule.allows("a" * 250, PUBLIC, 443)
    assert not rule.allows("a" * 250 + "b", PUBLIC, 443)  # with backtracking, this would not end
