"""Requests that a proxy behind might read differently: each is refused here (RFC 9113, 8.2 and 10.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
import trio.testing

from muxpy import http
from tests.helpers.ids import word

from . import wire
from .scene import Seen, stage

if TYPE_CHECKING:
    from collections.abc import Sequence

Clock = trio.testing.MockClock

pytestmark = pytest.mark.no_cover

PROTOCOL: Final = http.ErrorCode.PROTOCOL_ERROR

Fields = list[tuple[bytes, bytes]]


def pseudo(**changed: bytes | None) -> Fields:
    """The pseudo fields of a request, some of them changed or left out."""
    values = {"method": b"GET", "scheme": b"http", "authority": b"here", "path": b"/read"}
    return [(b":" + name.encode(), value) for name, value in {**values, **changed}.items() if value is not None]


def plus(*fields: tuple[bytes, bytes]) -> Fields:
    return [*pseudo(), *fields]


def shown(text: bytes) -> str:
    """For the name of a test."""
    return text.decode() if text.replace(b"-", b"").isalpha() else text.hex() or "empty"


NAMES: Final = [
    b"",
    b"Upper",
    b"a b",
    b"a:",
    b":a",
    b"a\r\nb",
    b"a\0",
    b"a\x7f",
    b"a\xe9",
    b" a",
    b"a ",
    b"a\t",
    b"(a)",
    b'"a"',
    b"a,b",
    b"a/b",
    b"a=b",
    b"transfer-encoding",
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"upgrade",
]
VALUES: Final = [
    b"a\r\nb: c",
    b"a\nb",
    b"a\rb",
    b"a\0b",
    b"\r\n",
    b" a",
    b"a ",
    b"\ta",
    b"a\t",
    b" ",
    b"a\r",
    b"\na",
]
HEADS: Final[dict[str, Fields]] = {
    **{f"the name {shown(name)}": plus((name, b"x")) for name in NAMES},
    **{f"the value {shown(value)}": plus((b"a", value)) for value in VALUES},
    **{f"the last value {shown(value)}": plus((b"b", b"x"), (b"a", value)) for value in VALUES},
    **{f"the first value {shown(value)}": plus((b"a", value), (b"b", b"x")) for value in VALUES},
    "no method": pseudo(method=None),
    "no scheme": pseudo(scheme=None),
    "no path": pseudo(path=None),
    "two methods": [*pseudo(), (b":method", b"GET")],
    "two paths": [(b":path", b"/other"), *pseudo()],
    "two authorities": [(b":authority", b"there"), *pseudo()],
    "a pseudo field after others": [*pseudo(path=None), (b"a", b"b"), (b":path", b"/read")],
    "a status": [*pseudo(), (b":status", b"200")],
    "a protocol without CONNECT": [*pseudo(), (b":protocol", b"websocket")],
    "an unknown pseudo field": [*pseudo(), (b":x", b"y")],
    "a method with a blank": pseudo(method=b"GET /admin HTTP/1.1\r\nx:"),
    "an empty method": pseudo(method=b""),
    "an empty path": pseudo(path=b""),
    "a path with a blank": pseudo(path=b"/ HTTP/1.1"),
    "a path with a line break": pseudo(path=b"/\r\nhost: there"),
    "a path with a NUL": pseudo(path=b"/\0"),
    "a path that is a URL": pseudo(path=b"http://there/"),
    "a path without a slash": pseudo(path=b"read"),
    "an asterisk for GET": pseudo(path=b"*"),
    "an empty authority": pseudo(authority=b""),
    "an authority with a user": pseudo(authority=b"user@here"),
    "an authority with a path": pseudo(authority=b"here/there"),
    "an authority with a query": pseudo(authority=b"here?x"),
    "an authority with a fragment": pseudo(authority=b"here#x"),
    "an authority with a blank": pseudo(authority=b"here there"),
    "an authority with a line break": pseudo(authority=b"here\r\nx: y"),
    "a scheme with a blank": pseudo(scheme=b"http ://x"),
    "an empty scheme": pseudo(scheme=b""),
    "a host that is another": plus((b"host", b"there")),
    "two hosts": plus((b"host", b"here"), (b"host", b"here")),
    "a host with a user": [*pseudo(authority=None), (b"host", b"user@here")],
    "a host with a path": [*pseudo(authority=None), (b"host", b"here/x")],
    "CONNECT with a path": pseudo(method=b"CONNECT", scheme=None),
    "CONNECT with a scheme": pseudo(method=b"CONNECT", path=None),
    "CONNECT without an authority": [(b":method", b"CONNECT")],
    "CONNECT with a host alone": [(b":method", b"CONNECT"), (b"host", b"here:1")],
    "te": plus((b"te", b"gzip")),
    "te with more": plus((b"te", b"trailers, gzip")),
    "two lengths": plus((b"content-length", b"1"), (b"content-length", b"2")),
    "a list of lengths": plus((b"content-length", b"1, 1")),
    "a length with a sign": plus((b"content-length", b"+1")),
    "a length below 0": plus((b"content-length", b"-1")),
    "a length in hex": plus((b"content-length", b"0x1")),
    "an empty length": plus((b"content-length", b"")),
    "a length in other digits": plus((b"content-length", "\N{ARABIC-INDIC DIGIT ONE}".encode())),
    "a length with an underscore": plus((b"content-length", b"1_0")),
    "an endless length": plus((b"content-length", b"9" * 400)),
}


@pytest.mark.parametrize("name", HEADS)
async def test_a_request_is_refused(name: str, mock_clock: Clock) -> None:
    async with stage() as scene:
        await scene.play([wire.headers(3, wire.block(HEADS[name])) + wire.data(3, b"x", end=True)])
        assert scene.seen == [Seen("RST", 3, PROTOCOL)]
        assert scene.handled == 0
        await scene.check_that_it_lives()


BODIES: Final[list[tuple[str, bytes, Sequence[bytes]]]] = [
    ("longer than announced", b"3", [b"four"]),
    ("longer by a frame", b"3", [b"thr", b"e"]),
    ("shorter than announced", b"30", [b"four"]),
    ("missing", b"30", []),
]


@pytest.mark.parametrize("row", BODIES, ids=lambda row: word(row[0]))
async def test_a_body_that_is_not_as_long_as_announced_is_refused(
    row: tuple[str, bytes, Sequence[bytes]], mock_clock: Clock
) -> None:
    """And nobody takes what there is for the whole."""
    _, length, parts = row
    async with stage() as scene:
        opened = wire.request(3, "/read", (b"content-length", length), method="POST")
        await scene.play([opened, b"".join(wire.data(3, part) for part in parts), wire.data(3, end=True)])
        assert scene.seen[:1] == [Seen("RST", 3, PROTOCOL)]
        assert scene.handled == 1
        assert len(scene.errors) == 1
        await scene.check_that_it_lives()


TRAILERS: Final[dict[str, Fields]] = {
    **{f"the name {shown(name)}": [(name, b"x")] for name in NAMES},
    "a pseudo field": [(b":path", b"/other")],
    "a length": [(b"content-length", b"0")],
    "a host": [(b"host", b"there")],
    "te": [(b"te", b"trailers")],
    "a value with a line break": [(b"a", b"b\r\nc: d")],
}


@pytest.mark.parametrize("name", TRAILERS)
async def test_trailers_are_refused(name: str, mock_clock: Clock) -> None:
    async with stage() as scene:
        opened = wire.request(3, "/read", method="POST")
        await scene.play([opened, wire.headers(3, wire.block(TRAILERS[name]), end=True)])
        assert scene.seen[:1] == [Seen("RST", 3, PROTOCOL)]
        await scene.check_that_it_lives()


FINE: Final[dict[str, Fields]] = {
    "a host that is the same": plus((b"host", b"here")),
    "a host alone": [*pseudo(authority=None), (b"host", b"here")],
    "te: trailers": plus((b"te", b"trailers")),
    "lengths that agree": plus((b"content-length", b"1"), (b"content-length", b"1")),
    "an empty value": plus((b"a", b"")),
    "blanks within a value": plus((b"a", b"b \t c")),
    "bytes beyond ASCII in a value": plus((b"a", b"\xe9\xff")),
}


@pytest.mark.parametrize("name", FINE)
async def test_what_is_in_order_is_answered(name: str, mock_clock: Clock) -> None:
    async with stage() as scene:
        await scene.play([wire.headers(3, wire.block(FINE[name])) + wire.data(3, b"x", end=True)])
        assert scene.seen[0] == Seen("HEADERS", 3, 200)
        await scene.check_that_it_lives()
