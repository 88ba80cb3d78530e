"""The server's end of SOCKS, against bytes written by hand after RFC 1928, RFC 1929 and the SOCKS 4 and 4a memos."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxpy_cli.protocols import Handshake, SocksServer
from muxpy_cli.specs import Address
from muxpy_cli.wire import REASONS

HELLO = b"\x05\x01\x00"
NO_AUTH = b"\x05\x00"
CONNECT_NAME = b"\x05\x01\x00\x03\x0bexample.org\x01\xbb"
CONNECT_IPV4 = b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50"
CONNECT_IPV6 = b"\x05\x01\x00\x04" + bytes.fromhex("20010db8000000000000000000000001") + b"\x00\x50"

HELLO_PASSWORD = b"\x05\x02\x00\x02"
PASSWORD = b"\x01\x05alice\x06secret"

CONNECT_4 = b"\x04\x01\x00\x50\xc0\x00\x02\x01alice\x00"
CONNECT_4A = b"\x04\x01\x01\xbb\x00\x00\x00\x01\x00example.org\x00"

REPLY_5 = b"\x05%c\x00\x01\x00\x00\x00\x00\x00\x00"
REPLY_4 = b"\x00%c\x00\x00\x00\x00\x00\x00"


def reply5(code: int) -> bytes:
    return REPLY_5 % code


def reply4(code: int) -> bytes:
    return REPLY_4 % code


def server() -> tuple[SocksServer, Handshake]:
    """The same object twice: mypy checks that it is a Handshake."""
    socks = SocksServer()
    return socks, socks


def failure(data: bytes) -> tuple[str, bytes]:
    """Why the handshake ends, and what the client gets last."""
    socks, _ = server()
    replies = socks.receive(data)
    assert socks.request is None
    assert socks.failed is not None
    return socks.failed, replies


@pytest.mark.parametrize(
    ("request_bytes", "host", "port"),
    [
        (CONNECT_NAME, "example.org", 443),
        (CONNECT_IPV4, "192.0.2.1", 80),
        (CONNECT_IPV6, "2001:db8::1", 80),
        (b"\x05\x01\x00\x03\x0fb\xc3\xbccher.example\x00\x50", "bücher.example", 80),
        (b"\x05\x01\x00\x03\x0d[2001:DB8::1]\x00\x50", "2001:db8::1", 80),  # an address as a name
        (b"\x05\x01\x00\x03\x03::1\x00\x50", "::1", 80),
        (b"\x05\x01\x00\x03\x03[x]\x00\x50", "[x]", 80),  # which no resolver knows
    ],
)
def test_socks_5(request_bytes: bytes, host: str, port: int) -> None:
    socks, _ = server()

    assert socks.receive(HELLO) == NO_AUTH
    assert socks.request is None
    assert socks.receive(request_bytes) == b""

    assert socks.request == Address(host, port)
    assert socks.failed is None
    assert socks.answer(None) == b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"


@pytest.mark.parametrize(
    ("request_bytes", "host", "port"),
    [
        (CONNECT_4, "192.0.2.1", 80),
        (CONNECT_4A, "example.org", 443),
        (b"\x04\x01\x00\x50\x00\x00\x00\x00\x00", "0.0.0.0", 80),
    ],
)
def test_socks_4(request_bytes: bytes, host: str, port: int) -> None:
    socks, _ = server()

    assert socks.receive(request_bytes) == b""

    assert socks.request == Address(host, port)
    assert socks.answer(None) == b"\x00\x5a\x00\x00\x00\x00\x00\x00"


@pytest.mark.parametrize("data", [HELLO + CONNECT_NAME, CONNECT_4, CONNECT_4A])
def test_early_bytes_are_the_rest(data: bytes) -> None:
    socks, handshake = server()
    socks.receive(data + b"GET / ")
    socks.receive(b"HTTP/1.1")
    assert handshake.request is not None
    assert handshake.rest == b"GET / HTTP/1.1"


class TestAuthentication:
    def test_any_password_will_do(self) -> None:
        socks, _ = server()
        assert socks.receive(b"\x05\x01\x02") == b"\x05\x02"
        assert socks.receive(PASSWORD) == b"\x01\x00"
        socks.receive(CONNECT_IPV4)
        assert socks.request == Address("192.0.2.1", 80)

    def test_none_is_preferred(self) -> None:
        socks, _ = server()
        assert socks.receive(HELLO_PASSWORD) == NO_AUTH

    def test_another_version_of_it(self) -> None:
        why, replies = failure(b"\x05\x01\x02" + b"\x02\x05alice")
        assert replies == b"\x05\x02" + b"\x01\x01"
        assert "version 2" in why

    @pytest.mark.parametrize("hello", [b"\x05\x00", b"\x05\x02\x01\x80"])
    def test_no_way_that_is_known(self, hello: bytes) -> None:
        why, replies = failure(hello)
        assert replies == b"\x05\xff"
        assert "no way to authenticate" in why


@pytest.mark.parametrize(
    ("request_bytes", "code", "complaint"),
    [
        (b"\x05\x02" + CONNECT_IPV4[2:], 7, "command 2"),
        (b"\x05\x03" + CONNECT_NAME[2:], 7, "command 3"),
        (b"\x05\x01\x00\x02\x00", 8, "address of type 2"),
        (b"\x05\x01\x00\x03\x00\x00\x50", 1, "the host is missing"),
        (b"\x05\x01\x00\x03\x03a b\x00\x50", 1, "'a b' is no host name"),
        (b"\x05\x01\x00\x03\x03a\xffb\x00\x50", 1, "is no host name"),
        (b"\x05\x01\x00\x03\x03a/b\x00\x50", 1, "'a/b' is no host name"),
        (b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x00", 1, "port 0 of 192.0.2.1"),
        (b"\x04\x01\x00\x50", 1, "version 4"),
    ],
)
def test_a_request_of_socks_5_that_cannot_be_met(request_bytes: bytes, code: int, complaint: str) -> None:
    why, replies = failure(HELLO + request_bytes)
    assert replies == NO_AUTH + reply5(code)
    assert complaint in why


@pytest.mark.parametrize(
    ("request_bytes", "complaint"),
    [
        (b"\x04\x02\x00\x50\xc0\x00\x02\x01\x00", "command 2"),
        (b"\x04\x01\x00\x00\xc0\x00\x02\x01\x00", "port 0"),
        (b"\x04\x01\x00\x50\x00\x00\x00\x01\x00\x00", "the host is missing"),
        (b"\x04\x01\x00\x50\xc0\x00\x02\x01" + b"a" * 256, "user is longer than 255 bytes"),
        (b"\x04\x01\x00\x50\x00\x00\x00\x01\x00" + b"a" * 256, "host is longer than 255 bytes"),
    ],
)
def test_a_request_of_socks_4_that_cannot_be_met(request_bytes: bytes, complaint: str) -> None:
    why, replies = failure(request_bytes)
    assert replies == reply4(91)
    assert complaint in why


def test_the_longest_strings() -> None:
    socks, _ = server()
    socks.receive(b"\x04\x01\x00\x50\x00\x00\x00\x01" + b"u" * 255 + b"\0" + b"h" * 255 + b"\0")
    assert socks.request == Address("h" * 255, 80)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\x16\x03\x01\x02\x00", "speaks TLS, not SOCKS"),
        (b"GET / HTTP/1.1\r\n", "speaks HTTP, not SOCKS"),
        (b"CONNECT example.org:443 HTTP/1.1\r\n", "speaks HTTP, not SOCKS"),
        (b"\x06", "first byte is 0x06"),
    ],
)
def test_a_client_that_speaks_something_else_is_recognised(data: bytes, complaint: str) -> None:
    why, replies = failure(data)
    assert complaint in why
    assert replies.startswith(b"HTTP/1.1 400 ") == ("HTTP" in complaint)


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (None, 0),
        ("forbidden", 2),
        ("unreachable", 4),
        ("unresolved", 4),
        ("refused", 5),
        ("timeout", 6),
        ("in use", 1),
        ("unknown", 1),
        ("failed", 1),
        ("something of a later version", 1),
    ],
)
def test_answers(reason: str | None, code: int) -> None:
    five, _ = server()
    five.receive(HELLO + CONNECT_NAME)
    four, _ = server()
    four.receive(CONNECT_4)
    assert five.answer(reason) == reply5(code)
    assert four.answer(reason) == reply4(90 if reason is None else 91)


def test_every_reason_has_an_answer() -> None:
    socks, _ = server()
    socks.receive(HELLO + CONNECT_NAME)
    assert all(1 <= socks.answer(reason)[1] <= 8 for reason in REASONS)


def test_there_is_no_answer_without_a_request() -> None:
    socks, _ = server()
    with pytest.raises(RuntimeError):
        socks.answer(None)


def test_nothing_is_said_after_a_failure() -> None:
    socks, _ = server()
    socks.receive(b"\x16")
    assert socks.receive(HELLO + CONNECT_NAME) == b""
    assert (socks.request, socks.rest) == (None, b"")


CONVERSATIONS = st.sampled_from(
    [
        HELLO + CONNECT_NAME,
        HELLO + CONNECT_IPV6,
        HELLO_PASSWORD + CONNECT_IPV4,
        b"\x05\x01\x02" + PASSWORD + CONNECT_IPV4,
        HELLO + b"\x05\x02" + CONNECT_NAME[2:],
        CONNECT_4,
        CONNECT_4A,
        CONNECT_4[:-1] + b"a" * 400 + b"\0",
        b"GET / HTTP/1.1\r\n\r\n",
    ]
)

Outcome = tuple[Address | None, str | None, bytes, bytes]


def outcome(chunks: list[bytes]) -> Outcome:
    socks, _ = server()
    replies = b"".join(map(socks.receive, chunks))
    return socks.request, socks.failed, socks.rest, replies


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(at), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(st.builds(bytes.__add__, CONVERSATIONS, st.binary(max_size=20)) | st.binary(max_size=600), st.data())
def test_it_does_not_matter_how_the_bytes_are_cut(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.lists(st.integers(0, len(data)), max_size=8))
    whole = outcome([data])
    assert outcome(cut(data, at)) == whole
    assert outcome([data[i : i + 1] for i in range(len(data))]) == whole


@given(st.sampled_from([b"", b"\x05", b"\x04\x01\x00\x50", HELLO, HELLO + b"\x05\x01\x00"]), st.binary(min_size=1024))
def test_a_kilobyte_is_enough_for_a_request_or_a_failure(start: bytes, data: bytes) -> None:
    socks, _ = server()
    socks.receive(start + data)
    assert (socks.request is None) != (socks.failed is None)
