"""Addresses and forwards as people write them, and what they are told about wrong ones."""

import ipaddress
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxpy_cli.specs import (
    Address,
    Direction,
    Endpoint,
    Forward,
    Kind,
    SpecError,
    UnixPath,
    check_host,
    format_address,
    parse_address,
    parse_bind,
    parse_dynamic,
    parse_http_proxy,
    parse_listen,
    parse_local,
    parse_name,
    parse_remote,
    parse_stdio,
    parse_target,
)


def complaint_of(parse: Callable[[str], object], text: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert "for example" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("4242", "127.0.0.1", 4242),
        ("0", "127.0.0.1", 0),
        ("0.0.0.0:4242", "0.0.0.0", 4242),
        ("*:1", "*", 1),
        ("[::1]:65535", "::1", 65535),
        ("[0:0::1%eth0]:1", "::1%eth0", 1),
        ("localhost:00080", "localhost", 80),
    ],
)
def test_listen(text: str, host: str, port: int) -> None:
    assert parse_listen(text) == Address(host, port)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "the port is missing"),
        ("http", "must be a number, not 'http'"),
        ("-1", "must be a number"),
        ("65536", "between 0 and 65535"),
        ("9" * 5000, "between 0 and 65535"),
        (":4242", "before the colon is missing"),
        ("::1:4242", "IPv6 address needs brackets"),
        ("[::1:4242", "brackets do not fit"),
        pytest.param("[::1]4242", "brackets do not fit", id="no_colon_after_brackets"),
        ("[nonsense]:4242", "[nonsense] is not an IPv6 address"),
        ("[::1%a b]:4242", "is not an IPv6 address"),
        ("a b:4242", "no host name"),
        ("/run/a:4242", "no host name"),
        ("a" * 300 + ":4242", "longer than 255"),
        ("1:2:3", "too many fields, it takes [HOST:]PORT"),
        ("٤٢", "must be a number"),
    ],
)
def test_wrong_listen(text: str, complaint: str) -> None:
    assert complaint in complaint_of(parse_listen, text)


def test_address() -> None:
    assert parse_address("example.org:4242") == Address("example.org", 4242)
    assert parse_address("[2001:db8::1]:4242") == Address("2001:db8::1", 4242)


@pytest.mark.parametrize("text", ["4242", "example.org", "example.org:0", "example.org:", ":4242", "*:4242", "a:b:c"])
def test_wrong_address(text: str) -> None:
    complaint_of(parse_address, text)


@pytest.mark.parametrize("text", ["http://example.org:80", "https://example.org", "ssh://root@example.org:22/"])
def test_a_url_is_no_address(text: str) -> None:
    scheme = text.partition(":")[0]
    assert f"it is a URL: leave {scheme}:// out, and all that follows the port" in complaint_of(parse_address, text)


LABEL = "a" * 63


@pytest.mark.parametrize(
    ("host", "complaint"),
    [
        ("a..b", "'a..b' has a dot too many"),
        (".example.org", "has a dot too many"),
        ("example.org..", "has a dot too many"),
        (".", "has a dot too many"),
        (f"a{LABEL}", "a part of more than 63 characters"),
        (f"www.a{LABEL}.org", "a part of more than 63 characters"),
        ("ä" * 60, "no host name, not even an international one"),  # more than 63 as xn--...
        (".".join([LABEL] * 3 + ["a" * 62]), "longer than 253 characters"),
        ("a b", "'a b' is no host name"),
        (" example.org", "is no host name"),
        ("a,b", "'a,b' is no host name, which has letters, digits, hyphens and dots"),
        ("10.0.0.256", "10.0.0.256 is not an IPv4 address"),
        ("1.2.3.4.5", "1.2.3.4.5 is not an IPv4 address"),
        ("[1.2.3.4]", "[1.2.3.4] is not an IPv6 address"),
        ("[fe80::g]", "[fe80::g] is not an IPv6 address"),
        ("root@example.org", "no user name or password: leave out what stands before the @"),
        ("root:secret@example.org", "leave out what stands before the @"),
    ],
)
def test_a_name_that_can_never_be(host: str, complaint: str) -> None:
    assert complaint in complaint_of(parse_address, f"{host}:4242")
    assert complaint in complaint_of(parse_stdio, f"{host}:4242")
    assert complaint in complaint_of(parse_target, f"{host}:4242")
    assert complaint in complaint_of(parse_local, f"8080:{host}:4242")
    assert complaint in complaint_of(parse_remote, f"8080:{host}:4242")
    assert complaint in complaint_of(parse_listen, f"{host}:4242")
    assert complaint in complaint_of(parse_dynamic, f"{host}:4242")


@pytest.mark.parametrize(
    "host",
    [
        "example.org.",
        f"{LABEL}.org",
        ".".join([LABEL] * 3 + ["a" * 61]),
        "bücher.example",
        "my_host-1",
        "1.2.3.4",
        "010.0.0.1",
        "127.1",
        "node.1",
    ],
)
def test_a_name_that_may_be(host: str) -> None:
    assert parse_address(f"{host}:4242") == Address(host, 4242)
    assert parse_name(host) == host


def test_a_name_by_itself() -> None:
    assert parse_name("::1") == parse_name("[::1]") == "::1"
    for wrong in ("", "a..b", "*", "example.org:443", "root@example.org"):
        complaint_of(parse_name, wrong)


def test_a_path_may_have_an_at_sign() -> None:
    assert parse_target("/run/user@host.sock") == UnixPath("/run/user@host.sock")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("example.org:22", "example.org", 22),
        ("[::1]:22", "::1", 22),
        pytest.param("::1:22", "::1", 22, id="without_brackets"),
        ("2001:db8::1:22", "2001:db8::1", 22),
        ("fe80::1%eth0:22", "fe80::1%eth0", 22),
    ],
)
def test_stdio(text: str, host: str, port: int) -> None:
    assert parse_stdio(text) == Address(host, port)


@pytest.mark.parametrize("text", ["::1", "::1:0", "::1:ssh", "example.org", "a:b:22", ""])
def test_wrong_stdio(text: str) -> None:
    complaint_of(parse_stdio, text)


LOOPBACK_8080 = Address("127.0.0.1", 8080)


@pytest.mark.parametrize(
    ("text", "bind", "target"),
    [
        ("8080:localhost:80", LOOPBACK_8080, Address("localhost", 80)),
        ("0:10.0.0.5:80", Address("127.0.0.1", 0), Address("10.0.0.5", 80)),
        ("*:8080:example.org:80", Address("*", 8080), Address("example.org", 80)),
        ("[::1]:8080:[2001:db8::1]:80", Address("::1", 8080), Address("2001:db8::1", 80)),
        ("8080:[::1]:80", LOOPBACK_8080, Address("::1", 80)),
        ("8080:localhost:80/tcp", LOOPBACK_8080, Address("localhost", 80)),
        ("8080:/run/app.sock", LOOPBACK_8080, UnixPath("/run/app.sock")),
        ("0.0.0.0:8080:/run/app.sock", Address("0.0.0.0", 8080), UnixPath("/run/app.sock")),
        ("[::1]:8080:/run/[a].sock", Address("::1", 8080), UnixPath("/run/[a].sock")),
        ("/run/a.sock:[::1]:80", UnixPath("/run/a.sock"), Address("::1", 80)),
        ("./a.sock:run/b c.sock", UnixPath("./a.sock"), UnixPath("run/b c.sock")),
        ("./80/udpp:80/a.sock", UnixPath("./80/udpp"), UnixPath("80/a.sock")),
    ],
)
@pytest.mark.parametrize(
    ("parse", "direction"), [(parse_local, Direction.LOCAL), (parse_remote, Direction.REMOTE)], ids=["L", "R"]
)
def test_a_forward_to_a_target(
    parse: Callable[[str], Forward], direction: Direction, text: str, bind: Endpoint, target: Endpoint
) -> None:
    assert parse(text) == Forward(direction=direction, kind=Kind.TCP, bind=bind, target=target)


@pytest.mark.parametrize("text", ["5353:1.1.1.1:53/udp", "127.0.0.1:5353:1.1.1.1:53/UDP"])
def test_udp(text: str) -> None:
    forward = parse_local(text)
    assert forward.kind is Kind.UDP
    assert (forward.bind, forward.target) == (Address("127.0.0.1", 5353), Address("1.1.1.1", 53))
    assert parse_remote(text).kind is Kind.UDP


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "it takes [bind:]port:host:hostport"),
        ("8080", "it takes [bind:]port:host:hostport"),
        ("8080:localhost", "it takes [bind:]port:host:hostport"),
        ("/run/app.sock", "it takes [bind:]port:host:hostport"),
        ("8080:localhost:0", "between 1 and 65535"),
        ("8080::80", "the host is missing"),
        ("8080:*:80", "not one to connect to"),
        (":8080:localhost:80", "* means all"),
        ("8080:::1:80", "IPv6 address needs brackets"),
        ("8080:2001:db8::1:80", "IPv6 address needs brackets"),
        ("1.2.3.4:80:localhost:80:1", "too many fields"),
        ("localhost:80:8080", "must be a number, not 'localhost'"),
        ("8080:http://localhost:80", "is a URL"),
        ("8080:/run/app.sock:80", "'/run/app.sock' is no host name"),
        ("8080:/run/", "/run/ names a directory"),
        ("8080:/run/app\n.sock", "characters that cannot be shown"),
        ("8080:/run/\udc80", "characters that cannot be shown"),
        ("8080:/" + "ä" * 54, "109 bytes, and a Unix socket's path at most 107 on Linux"),
        ("/run/a.sock:localhost:53/udp", "/udp goes with a host and a port at both ends, and /run/a.sock is"),
        ("53:/run/b.sock/udp", "/udp goes with a host and a port at both ends, and /run/b.sock is"),
        ("/run/a.sock:/run/b.sock/tcp", "/tcp goes with a host and a port"),
        ("8080:localhost:80/udpp", "/udpp behind the port 80 is wrong: there are /udp and /tcp, at the end of all"),
        ("8080:localhost:80/sctp", "/sctp behind the port 80 is wrong"),
        ("8080/udp:localhost:80", "/udp behind the port 8080 is wrong"),
        ("8080:80/http2", "/http2 behind the port 80 is wrong"),
        ("8080:app.sock", "it takes [bind:]port:host:hostport (is it a Unix socket? a path needs a slash: ./app.sock)"),
        ("app.sock:localhost:80", "not 'app.sock' (is it a Unix socket? a path needs a slash: ./app.sock)"),
    ],
)
def test_wrong_forward(text: str, complaint: str) -> None:
    assert complaint in complaint_of(parse_local, text)


def test_a_path_may_have_107_bytes() -> None:
    path = "/" + "a" * 106
    assert parse_local(f"8080:{path}").target == UnixPath(path)


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("1080", Address("127.0.0.1", 1080)),
        ("*:0", Address("*", 0)),
        ("[::1]:1080", Address("::1", 1080)),
        ("/run/proxy.sock", UnixPath("/run/proxy.sock")),
    ],
)
@pytest.mark.parametrize(
    ("parse", "direction", "kind"),
    [
        (parse_remote, Direction.REMOTE, Kind.SOCKS),
        (parse_dynamic, Direction.LOCAL, Kind.SOCKS),
        (parse_http_proxy, Direction.LOCAL, Kind.HTTP),
    ],
    ids=["R", "D", "http"],
)
def test_a_forward_without_a_target_is_a_proxy(
    parse: Callable[[str], Forward], direction: Direction, kind: Kind, text: str, bind: Endpoint
) -> None:
    assert parse(text) == Forward(direction=direction, kind=kind, bind=bind, target=None)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "the port is missing"),
        ("8080:localhost:80", "too many fields, it takes [bind:]port"),
        ("/a.sock:/b.sock", "it takes [bind:]port"),
        ("localhost:/b.sock", "it takes [bind:]port"),
        ("1080/udp", "/udp goes with a forward to a host and a port"),
        ("localhost:socks", "must be a number, not 'socks'"),
        ("1080/sctp", "/sctp behind the port 1080 is wrong"),
        ("app.sock", "a path needs a slash: ./app.sock"),
    ],
)
@pytest.mark.parametrize("parse", [parse_dynamic, parse_http_proxy, parse_bind])
def test_wrong_proxy(parse: Callable[[str], object], text: str, complaint: str) -> None:
    assert complaint in complaint_of(parse, text)


def test_a_remote_forward_that_lacks_a_part() -> None:
    assert "must be a number, not 'localhost'" in complaint_of(parse_remote, "8080:localhost")
    assert "/udp goes with" in complaint_of(parse_remote, "1080/udp")


def test_the_ends_of_a_forward_alone() -> None:
    assert parse_bind("8080") == LOOPBACK_8080
    assert parse_bind("./a.sock") == UnixPath("./a.sock")
    assert parse_target("localhost:80") == Address("localhost", 80)
    assert parse_target("/run/app.sock") == UnixPath("/run/app.sock")


@pytest.mark.parametrize("text", ["80", "*:80", "::1:80", "/a.sock:80", "localhost:80/udp", ""])
def test_wrong_target(text: str) -> None:
    complaint_of(parse_target, text)


def test_addresses_are_shown_with_brackets_where_they_need_them() -> None:
    assert str(Address("::1", 80)) == "[::1]:80"
    assert str(Address("localhost", 80)) == "localhost:80"
    assert format_address(("::1", 80, 0, 0)) == "[::1]:80"
    assert format_address("/run/app.sock") == "/run/app.sock"


def test_forwards_are_shown_by_name_or_by_their_ends() -> None:
    assert str(parse_local("8080:/run/app.sock")) == "127.0.0.1:8080 -> /run/app.sock"
    assert str(parse_dynamic("1080")) == "127.0.0.1:1080 -> socks"


HOSTS = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z0-9][a-z0-9-]{0,20}){0,3}", fullmatch=True),
)
PATHS = st.text(st.characters(exclude_characters=":", categories=["L", "N", "P", "S"]), min_size=1, max_size=20).map(
    lambda name: UnixPath("./" + name.strip("/") + ".sock")
)
BINDS = st.one_of(st.builds(Address, HOSTS | st.just("*"), st.integers(0, 65535)), PATHS)
TARGETS = st.one_of(st.builds(Address, HOSTS, st.integers(1, 65535)), PATHS)


@given(BINDS, TARGETS)
def test_what_is_shown_can_be_read(bind: Endpoint, target: Endpoint) -> None:
    forward = parse_local(f"{bind}:{target}")
    assert (forward.bind, forward.target, forward.kind) == (bind, target, Kind.TCP)
    assert parse_bind(str(bind)) == parse_remote(str(bind)).bind == bind
    assert parse_target(str(target)) == target


@given(
    st.builds(Address, HOSTS, st.integers(0, 65535)),
    st.builds(Address, HOSTS, st.integers(1, 65535)),
)
def test_what_is_shown_of_udp_can_be_read(bind: Address, target: Address) -> None:
    forward = parse_remote(f"{bind}:{target}/udp")
    assert (forward.bind, forward.target, forward.kind) == (bind, target, Kind.UDP)


@given(st.ip_addresses(v=6), st.integers(1, 65535))
def test_stdio_takes_what_openssh_fills_in(host: ipaddress.IPv6Address, port: int) -> None:
    assert parse_stdio(f"{host}:{port}") == parse_stdio(f"[{host}]:{port}") == Address(str(host), port)


@pytest.mark.parametrize(
    "parse",
    [parse_listen, parse_address, parse_stdio, parse_local, parse_remote, parse_dynamic, parse_bind, parse_target],
)
@given(text=st.text(st.sampled_from("01a:[]/.*%-_ udptc") | st.characters(), max_size=40))
def test_whatever_is_written_is_read_or_refused(parse: Callable[[str], object], text: str) -> None:
    try:
        parsed = parse(text)
    except SpecError:
        return
    for end in (parsed.bind, parsed.target) if isinstance(parsed, Forward) else (parsed,):
        assert not isinstance(end, Address) or (check_host(end.host) is None and 0 <= end.port <= 65535)
