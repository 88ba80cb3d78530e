"""Addresses and forwards as people write them, and what they are told about wrong ones."""

import pytest

from muxpy_cli._specs import Address, Forward, SpecError, parse_address, parse_forward, parse_listen, parse_size


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("4242", "127.0.0.1", 4242),
        ("0", "127.0.0.1", 0),
        ("0.0.0.0:4242", "0.0.0.0", 4242),
        ("*:1", "*", 1),
        ("[::1]:65535", "::1", 65535),
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
        ("[::1]4242", "brackets do not fit"),
        ("[nonsense]:4242", "[nonsense] is not an IPv6 address"),
        ("a b:4242", "no host name"),
        ("a" * 300 + ":4242", "longer than 255"),
        ("٤٢", "must be a number"),
    ],
)
def test_wrong_listen(text: str, complaint: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_listen(text)
    assert complaint in str(caught.value)
    assert "for example" in str(caught.value)


def test_address() -> None:
    assert parse_address("example.org:4242") == Address("example.org", 4242)
    assert parse_address("[2001:db8::1]:4242") == Address("2001:db8::1", 4242)


@pytest.mark.parametrize("text", ["4242", "example.org", "example.org:0", "example.org:", ":4242", "*:4242", "a:b:c"])
def test_wrong_address(text: str) -> None:
    with pytest.raises(SpecError, match="for example"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "bind", "target"),
    [
        ("8080:localhost:80", ("127.0.0.1", 8080), ("localhost", 80)),
        ("0:10.0.0.5:80", ("127.0.0.1", 0), ("10.0.0.5", 80)),
        ("*:8080:example.org:80", ("*", 8080), ("example.org", 80)),
        ("[::1]:8080:[2001:db8::1]:80", ("::1", 8080), ("2001:db8::1", 80)),
        ("8080:[::1]:80", ("127.0.0.1", 8080), ("::1", 80)),
    ],
)
def test_forward(text: str, bind: tuple[str, int], target: tuple[str, int]) -> None:
    assert parse_forward(text) == Forward(Address(*bind), Address(*target))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("8080", "it takes [bind:]port:host:hostport"),
        ("8080:localhost", "it takes [bind:]port:host:hostport"),
        ("8080:localhost:0", "between 1 and 65535"),
        ("8080::80", "the host is missing"),
        ("8080:*:80", "not one to connect to"),
        (":8080:localhost:80", "* means all"),
        ("8080:::1:80", "IPv6 address needs brackets"),
        ("1.2.3.4:80:localhost:80:1", "too many fields"),
        ("localhost:80:8080", "must be a number, not 'localhost'"),
    ],
)
def test_wrong_forward(text: str, complaint: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_forward(text)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size"), [("1000", 1000), ("64k", 65536), ("256MiB", 2**28), ("1.5 GB", 3 * 2**29), ("7b", 7)]
)
def test_size(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1TiB", "1e9"])
def test_wrong_size(text: str) -> None:
    with pytest.raises(SpecError, match="not a size"):
        parse_size(text)


@pytest.mark.parametrize("text", ["1PiB", "9" * 400, "9" * 400 + "GiB", "1048577GiB"])
def test_a_size_beyond_all_bounds(text: str) -> None:
    with pytest.raises(SpecError):
        parse_size(text)


def test_addresses_are_shown_with_brackets_where_they_need_them() -> None:
    assert str(Address("::1", 80)) == "[::1]:80"
    assert str(Address("localhost", 80)) == "localhost:80"
