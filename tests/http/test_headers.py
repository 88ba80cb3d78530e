"""Fields as users see them, what cannot be sent, and values that nobody on the way may put into a table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from muxpy import http
from muxpy.frame.http2 import HpackDecoder, HpackEncoder
from tests.helpers.links import pipe_pair
from tests.helpers.tasks import bounded

from .ends import GET, joined, raw_client, raw_server, served

if TYPE_CHECKING:
    from collections.abc import Mapping


# ---- as a mapping ----


def test_names_ignore_case_and_keep_their_order() -> None:
    headers = http.Headers({"X-B": "1", "x-a": "2"})
    assert headers["x-b"] == headers["X-B"] == "1"
    assert list(headers) == ["x-b", "x-a"]
    assert len(headers) == 2
    assert "X-A" in headers
    assert "x-c" not in headers
    assert headers.get("x-c") is None
    assert headers.get("x-c", "?") == "?"
    assert dict(headers) == {"x-b": "1", "x-a": "2"}
    with pytest.raises(KeyError, match="x-c"):
        headers["x-c"]


def test_repeats() -> None:
    pairs = [
        ("accept", "a"),
        ("set-cookie", "a=b, c"),
        ("Accept", "b"),
        ("set-cookie", "d"),
        ("cookie", "e"),
        ("cookie", "f"),
    ]
    headers = http.Headers(pairs)
    assert headers["accept"] == "a, b"
    assert headers["cookie"] == "e; f"
    assert headers.get_all("Set-Cookie") == ["a=b, c", "d"]
    assert headers.get_all("x") == []
    assert len(headers) == 3
    assert [name for name, _ in headers.raw] == [name.lower().encode() for name, _ in pairs]


@pytest.mark.parametrize(
    "fields",
    [{"A": "é"}, {b"A": b"\xe9"}, [("a", "é")], [("a", b"\xe9")], [["a", "é"]], iter([("a", "é")])],
    ids=["mapping", "bytes", "pairs", "mixed", "lists", "iterator"],
)
def test_text_and_bytes(fields: Mapping[str, str]) -> None:
    headers = http.Headers(fields)
    assert headers.raw == ((b"a", b"\xe9"),)
    assert headers["a"] == "é"


def test_equality() -> None:
    headers = http.Headers({"a": "1", "b": "2"})
    assert headers == http.Headers([("A", "1"), ("b", b"2")])
    assert hash(headers) == hash(http.Headers(headers))
    assert headers != http.Headers({"b": "2", "a": "1"}), "their order differs"
    assert headers == {"a": "1", "b": "2"}
    assert headers != {"a": "1"}
    assert headers != "a"
    assert repr(headers) == "Headers([('a', '1'), ('b', '2')])"


@bounded()
async def test_fields_arrive_as_they_were_sent() -> None:
    fields = [("x-text", "é ü"), ("x-empty", ""), ("accept", "a"), ("accept", "b"), ("cookie", "c=1; d=2")]

    async def handler(exchange: http.Exchange) -> None:
        await exchange.start(200, exchange.request.headers)
        await exchange.finish(exchange.request.headers)

    async with served(handler, config=http.Config(send_date=False)) as client:
        response = await client.request("GET", "/", fields)
        assert response.headers == http.Headers(fields)
        await response.read()
        assert response.trailers == http.Headers(fields)


@bounded()
async def test_crumbs_of_a_cookie_are_joined() -> None:
    async def handler(exchange: http.Exchange) -> None:
        await exchange.respond(200, {}, exchange.request.headers["cookie"].encode())

    async with served(handler) as client:
        assert await (await client.request("GET", headers=[("cookie", "a=1"), ("cookie", "b=2")])).read() == b"a=1; b=2"


# ---- what cannot be sent ----


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"a": "b\r\nc: d"}, "the value of 'a' has a line break or a NUL, or a blank at one of its ends"),
        ({"ok": "ok", "a": "\0"}, "the value of 'a' has a line break or a NUL, or a blank at one of its ends"),
        ({"a": " b"}, "the value of 'a' has a line break or a NUL, or a blank at one of its ends"),
        ({"a": "b\t"}, "the value of 'a' has a line break or a NUL, or a blank at one of its ends"),
        ({"a b": "c"}, "'a b' is no name of a field in lower case"),
        ({"": "c"}, "'' is no name of a field in lower case"),
        ({"a:": "c"}, "'a:' is no name of a field in lower case"),
        ({":path": "/"}, "the pseudo field ':path' is unknown, repeated, or stands after other fields"),
        ({"Connection": "close"}, "'connection' has no meaning in HTTP/2"),
        ({"transfer-encoding": "chunked"}, "'transfer-encoding' has no meaning in HTTP/2"),
        ({"upgrade": "h2c"}, "'upgrade' has no meaning in HTTP/2"),
        ({"te": "gzip"}, "'te' may only be 'trailers'"),
        ({"content-length": "5, 5"}, "the content-length is '5, 5', which is no number of bytes"),
        ({"content-length": "-1"}, "the content-length is '-1', which is no number of bytes"),
        ([("content-length", "1"), ("content-length", "2")], "content-length has two values"),
        ({"a": "☃"}, "'☃' is not Latin-1; encode it first, as you mean it"),
        ([("a", "b", "c")], "a field is a pair of a name and a value, not ('a', 'b', 'c')"),
    ],
)
@bounded()
async def test_value_errors(fields: http.Headers, why: str) -> None:
    errors: list[str] = []

    async def handler(exchange: http.Exchange) -> None:
        with pytest.raises(ValueError, match=re.escape(why)):
            await exchange.start(200, fields)
        with pytest.raises(ValueError, match=re.escape(why)):
            await exchange.inform(103, fields)
        errors.append(why)
        await exchange.respond(200)

    async with served(handler) as client:
        with pytest.raises(ValueError, match=re.escape(why)):
            await client.open("GET", "/", fields)
        assert (await client.request("GET")).status == 200
    assert errors


@pytest.mark.parametrize("fields", [{"content-length": 5}, {5: "a"}, {"a": None}, {"a": ["b"]}])
@bounded()
async def test_type_errors(fields: http.Headers) -> None:
    async with served(lambda exchange: exchange.respond(200)) as client:
        with pytest.raises(TypeError, match=r"a field has a name and a value that are str or bytes, not|unhashable"):
            await client.request("GET", "/", fields)


@pytest.mark.parametrize(
    ("method", "path", "why"),
    [
        ("GE T", "/", ":method is missing or is no word such as GET"),
        ("", "/", ":method is missing or is no word such as GET"),
        ("GET", "", "a path begins with /"),
        ("GET", "a", "a path begins with /"),
        ("GET", "/a b", "a path is ASCII, without blanks"),
        ("GET", "*", "a path begins with /"),
        ("GET", "/☃", "a path is ASCII, without blanks"),
        ("☃", "/", "not Latin-1"),
    ],
    ids=["blank_method", "no_method", "no_path", "no_slash", "blank_path", "star", "snow_path", "snow_method"],
)
@bounded()
async def test_requests_that_cannot_be_sent(method: str, path: str, why: str) -> None:
    async with served(lambda exchange: exchange.respond(200)) as client:
        with pytest.raises(ValueError, match=why):
            await client.request(method, path)
        assert (await client.request("OPTIONS", "*")).status == 200


@bounded()
async def test_another_authority() -> None:
    async def handler(exchange: http.Exchange) -> None:
        await exchange.respond(200, {}, exchange.request.authority.encode())

    async with served(handler) as client:
        assert await (await client.request("GET")).read() == b"example.org"
        assert await (await client.request("GET", authority="a:81")).read() == b"a:81"
        with pytest.raises(ValueError, match=":authority is no host and port"):
            await client.request("GET", authority="user@a")


# ---- never indexed ----


def test_a_marked_value_is_bytes_and_no_plain_bytes() -> None:
    secret = http.NeverIndexed("token")
    assert isinstance(secret, bytes)
    assert bytes(secret) == b"token"
    assert secret.decode() == "token"
    assert secret == http.NeverIndexed(b"token")
    assert hash(secret) == hash(http.NeverIndexed(b"token"))
    assert secret != b"token"
    assert secret != b"token"
    assert b"token" not in {secret}
    assert repr(secret) == "NeverIndexed(b'token')"


def test_the_encoder_takes_the_mark_whatever_it_has_encoded_before() -> None:
    plain, marked = ((b"x-key", b"token"),), ((b"x-key", http.NeverIndexed(b"token")),)
    encoder, decoder = HpackEncoder(), HpackDecoder()
    for fields in (plain, plain, plain, marked, marked, plain, marked):
        block = decoder.decode(encoder.encode(fields))
        assert block.fields == plain
        assert block.sensitive == (frozenset([0]) if fields is marked else None)


@bounded()
async def test_a_server_sees_the_mark_and_marks_what_it_sends() -> None:
    async def handler(exchange: http.Exchange) -> None:
        headers = exchange.request.headers
        assert headers["x-key"] == "token"
        assert headers.fields == ((b"x-plain", b"1"), (b"x-key", http.NeverIndexed(b"token")))
        assert headers.raw == ((b"x-plain", b"1"), (b"x-key", b"token")), "plain bytes for everybody else"
        assert headers == http.Headers(headers.raw)
        await exchange.inform(103, headers)
        await exchange.start(200, [*headers.fields, ("x-own", http.NeverIndexed("own"))])
        await exchange.finish(headers)

    async with raw_client(handler, config=http.Config(send_date=False)) as peer:
        request = (*GET, (b"x-plain", b"1"), (b"x-key", http.NeverIndexed(b"token")))
        for stream_id in (1, 3, 5):  # blocks that come again are kept
            await peer.send(peer.head(stream_id, request, end=True))
            interim, head, trailers = [await peer.expect("HEADERS", stream_id) for _ in range(3)]
            assert interim.sensitive == frozenset([2])
            assert head.sensitive == frozenset([2, 3])
            assert trailers.sensitive == frozenset([1])


@bounded()
async def test_a_client_too() -> None:
    async with raw_server({}) as (client, peer):
        stream = await client.open("GET", "/", {"x-key": http.NeverIndexed("token")}, end=True)
        head = await peer.expect("HEADERS")
        assert head.sensitive == frozenset([4])
        await peer.send(peer.head(1, ((b":status", b"200"), (b"x-key", http.NeverIndexed(b"answer"))), end=True))
        response = await stream.started()
        assert response.headers.fields == ((b"x-key", http.NeverIndexed(b"answer")),)
        assert response.headers["x-key"] == "answer"


@bounded()
async def test_pseudo_fields_are_understood_whatever_is_marked() -> None:
    async def handler(exchange: http.Exchange) -> None:
        assert (exchange.request.method, exchange.request.path) == ("GET", "/secret")
        await exchange.respond(204)

    async with raw_client(handler) as peer:
        marked = tuple((name, http.NeverIndexed(value)) for name, value in (*GET[:3], (b":path", b"/secret")))
        await peer.send(peer.head(1, marked, end=True))
        assert (await peer.expect("HEADERS")).status == b"204"


@bounded()
async def test_a_proxy_passes_the_mark_on() -> None:
    async def origin(exchange: http.Exchange) -> None:
        assert exchange.request.headers.fields == ((b"x-key", http.NeverIndexed(b"token")),)
        await exchange.respond(200, {"x-answer": http.NeverIndexed("secret")})

    async with joined(origin, *pipe_pair(), config=http.Config(send_date=False)) as upstream:

        async def proxy(exchange: http.Exchange) -> None:
            response = await upstream.request(exchange.request.method, exchange.request.path, exchange.request.headers)
            await exchange.respond(response.status, response.headers, await response.read())

        async with served(proxy, config=http.Config(send_date=False)) as client:
            response = await client.request("GET", "/", {"x-key": http.NeverIndexed(b"token")})
            assert dict(response.headers.fields)[b"x-answer"] == http.NeverIndexed(b"secret")
