"""The cases that concern messages: heads, bodies, trailers, and what may be in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muxpy import http
from tests.frame.http2 import wire
from tests.frame.http2.wire import frame, padded

from .of_connections import ends, reading
from .peer import Seen, data, headers, literal, rst, window
from .rows import case, on_connection, on_stream
from .scene import REQUEST, Scene, request, response

if TYPE_CHECKING:
    from collections.abc import Callable

Field = tuple[bytes, bytes]


# ---- 6.2, 6.10: how a head comes ----


async def head(scene: Scene, make: Callable[[int, bytes], bytes]) -> int:
    """The head of a request or of a response without a body comes in the frames that `make` makes of its block."""
    stream_id = await scene.ask() if scene.client else scene.next_id()
    await scene.peer.send(make(stream_id, response() if scene.client else request()))
    return stream_id


def framed(name: str, make: Callable[[int, bytes], bytes]) -> None:
    """The case of a row in which a head comes in such frames, and is in order."""

    @case(name)
    async def _(scene: Scene) -> None:
        await is_taken(scene, await head(scene, make))


async def is_taken(scene: Scene, stream_id: int, body: bytes = b"") -> None:
    if scene.client:
        assert await scene.result(stream_id) == (200, body)
    else:
        await scene.answer(stream_id)


def misframed(name: str, make: Callable[[int, bytes], bytes]) -> None:
    """The case of a row in which a head comes in such frames, and that is an error of the connection."""

    @case(name)
    async def _(scene: Scene) -> None:
        before = scene.highest
        await head(scene, make)
        scene.highest = before


PRIORITY = b"\x80\0\0\0\xff"
ALONE = wire.END_STREAM | wire.END_HEADERS

framed("headers-padded", lambda n, block: padded(wire.HEADERS, n, block, 200, flags=ALONE))
framed(
    "headers-priority",
    lambda n, block: padded(wire.HEADERS, n, PRIORITY + block, 3, flags=ALONE | wire.HAS_PRIORITY),
)
on_connection("headers-zero", headers(0, request(), end=True))
misframed("headers-padding-long", lambda n, _: frame(wire.HEADERS, n, b"\x03abc"[:3], flags=ALONE | wire.PADDED))
misframed(
    "headers-padding-priority",
    lambda n, _: frame(wire.HEADERS, n, b"\x07" + PRIORITY + bytes(4), flags=ALONE | wire.PADDED | wire.HAS_PRIORITY),
)
misframed("headers-padding-missing", lambda n, _: frame(wire.HEADERS, n, flags=ALONE | wire.PADDED))
misframed("headers-priority-short", lambda n, _: frame(wire.HEADERS, n, bytes(4), flags=ALONE | wire.HAS_PRIORITY))


def continuation(stream_id: int, part: bytes, *, whole: bool = False) -> bytes:
    return frame(wire.CONTINUATION, stream_id, part, flags=wire.END_HEADERS if whole else 0)


def in_parts(stream_id: int, *parts: bytes, end: bool = True) -> bytes:
    """HEADERS and CONTINUATIONs."""
    first, *rest = parts
    frames = [headers(stream_id, first, end=end, whole=not rest)]
    frames += [continuation(stream_id, part, whole=part is rest[-1]) for part in rest]
    return b"".join(frames)


@case("continuation")
async def _(scene: Scene) -> None:
    if scene.client:
        stream_id, block = await scene.ask(), response()
    else:
        stream_id, block = scene.next_id(), request(path=b"/read", method=b"POST")
    parts = block[:1], block[1:5], block[5:6], block[6:]
    await scene.peer.send(in_parts(stream_id, *parts, end=False), data(stream_id, b"body", end=True))
    await ends(scene, stream_id, b"body")


framed("continuation-empty", lambda n, block: in_parts(n, b"", bytearray(), block))  # type: ignore[arg-type]
on_connection("continuation-zero", continuation(0, b"", whole=True))
misframed("continuation-many", lambda n, block: in_parts(n, *[block[at : at + 1] for at in range(9)], block[9:]))


def stray(name: str, *make: Callable[[int], bytes]) -> None:
    """The case of a CONTINUATION after frames that were in order, for a stream that stays open."""

    @case(name)
    async def _(scene: Scene) -> None:
        if scene.client:
            stream_id, block = await scene.ask(), response()
        else:
            stream_id, block = scene.next_id(), request(path=b"/hold", method=b"POST")
        await scene.peer.send(
            in_parts(stream_id, block, end=False) if name != "continuation-after" else
            in_parts(stream_id, block[:5], block[5:], end=False),
            *(each(stream_id) for each in make),
            continuation(stream_id, b"", whole=True),
        )  # fmt: skip


stray("continuation-alone")
stray("continuation-after")
stray("continuation-data", lambda n: data(n, b"x"))


# ---- too large ----

LARGE = tuple((b"x-%03d" % number, bytes(b"v" * 900)) for number in range(80))
MANY = tuple((b"x", b"") for _ in range(260))


def pieces(block: bytes) -> list[bytes]:
    return [block[at : at + 16_000] for at in range(0, len(block), 16_000)]


def too_large(name: str, fields: tuple[Field, ...]) -> None:
    """A head whose fields stay below the limit in bytes of the block, and come to more than the limit."""

    @case(name)
    async def _(scene: Scene) -> int:
        stream_id = await scene.ask() if scene.client else scene.next_id()
        block = literal(*fields)
        # What is large is put into the table once, and then referred to by one byte.
        await scene.peer.send(in_parts(stream_id, (response() if scene.client else request()) + block))
        if not scene.client:
            await scene.answer(stream_id, b"", b"431")
        return stream_id


def bomb() -> bytes:
    """A field of 2,000 bytes, put into the table and then referred to fifty times."""
    return literal((b"x", b"v" * 2000), prefix=0x40) + b"\xbe" * 50


def large_head(name: str, more: bytes) -> None:
    @case(name)
    async def _(scene: Scene) -> int:
        stream_id = await scene.ask() if scene.client else scene.next_id()
        await scene.peer.send(headers(stream_id, (response() if scene.client else request()) + more, end=True))
        if not scene.client:
            await scene.answer(stream_id, b"", b"431")
        return stream_id


large_head("head-too-large", bomb())
large_head("head-too-many", literal((b"x", b""), prefix=0x40) + b"\xbe" * 260)


@case("trailers-too-large")
async def _(scene: Scene) -> int:
    stream_id = await scene.opened()
    await scene.peer.send(headers(stream_id, bomb(), end=True))
    return stream_id


# ---- 8.1 ----


@case("request")
async def _(scene: Scene) -> None:
    peer = scene.peer
    stream_id = scene.next_id()
    await peer.send(headers(stream_id, request(), end=True))
    await scene.answer(stream_id)
    stream_id = await scene.opened(path="/read")
    await peer.send(data(stream_id, b"body", end=True))
    await ends(scene, stream_id, b"body")


@case("head-request")
async def _(scene: Scene) -> None:
    stream_id = scene.next_id()
    await scene.peer.send(headers(stream_id, request(method=b"HEAD"), end=True))
    await scene.peer.until(lambda: scene.peer.seen)
    (answer,) = scene.peer.seen
    assert answer.flag
    assert isinstance(answer.value, tuple)
    assert (b"content-length", b"5") in answer.value
    await scene.answer(stream_id, b"")


async def answered(scene: Scene, *fields: Field) -> int:
    """A request that the server has answered without its body, which has not come yet."""
    stream_id = await scene.opened(*fields, path="/")
    await scene.answer(stream_id)
    return stream_id


async def promised(scene: Scene) -> int:
    return await answered(scene, (b"content-length", b"5"))


on_stream("body-unread", answered, lambda n: data(n, b"x"), lambda n: data(n, b"y", end=True))
on_stream("body-late", promised, lambda n: padded(wire.DATA, n, b"fives", 20, flags=wire.END_STREAM))
on_stream("body-late-trailers", answered, lambda n: headers(n, literal((b"x", b"y")), end=True))
on_stream("body-late-open", answered, lambda n: headers(n, literal((b"x", b"y"))))
on_stream("body-late-short", promised, lambda n: data(n, b"four", end=True))
on_stream("body-late-long", promised, lambda n: data(n, b"sixsix"))
on_stream("body-late-window", answered, lambda n: window(n, 0))
on_stream("body-late-over", answered, lambda n: window(n, 1 << 30), lambda n: window(n, 1 << 30))
on_stream("body-late-rst", answered, rst, lambda n: data(n, b"x"))


@case("trailers")
async def _(scene: Scene) -> None:
    stream_id = await reading(scene)
    await scene.peer.send(data(stream_id, b"body"), headers(stream_id, literal((b"sum", b"7")), end=True))
    await ends(scene, stream_id, b"body")
    trailers = scene.trailers[stream_id]
    assert trailers is not None
    assert trailers.raw == ((b"sum", b"7"),)


def trailing(name: str, *fields: Field, end: bool = True) -> None:
    @case(name)
    async def _(scene: Scene) -> int:
        stream_id = await scene.opened()
        await scene.peer.send(data(stream_id, b"x"), headers(stream_id, literal(*fields), end=end))
        return stream_id


trailing("trailers-open", (b"x", b"y"), end=False)
trailing("trailers-pseudo", (b":method", b"GET"))
trailing("trailers-length", (b"content-length", b"1"))
trailing("trailers-upper", (b"X-Sum", b"1"))


@case("trailers-short")
async def _(scene: Scene) -> int:
    stream_id = await scene.opened((b"content-length", b"5"))
    await scene.peer.send(data(stream_id, b"four"), headers(stream_id, literal((b"x", b"y")), end=True))
    return stream_id


@case("interim")
async def _(scene: Scene) -> None:
    stream_id = await scene.ask()
    await scene.peer.send(
        headers(stream_id, response(status=b"100")),
        headers(stream_id, response((b"link", b"</x>"), status=b"103")),
        headers(stream_id, response(), end=True),
    )
    assert await scene.result(stream_id) == (200, b"")


def interim(name: str, *make: Callable[[int], bytes]) -> None:
    @case(name)
    async def _(scene: Scene) -> int:
        stream_id = await scene.ask()
        await scene.peer.send(*(each(stream_id) for each in make))
        return stream_id


def informed(stream_id: int) -> bytes:
    return headers(stream_id, response(status=b"103"))


interim("interim-end", lambda n: headers(n, response(status=b"103"), end=True))
interim("interim-data", informed, lambda n: data(n, b"x"))
interim("interim-late", lambda n: headers(n, response()), informed)


@case("interim-many")
async def _(scene: Scene) -> int:
    stream_id = await scene.ask("/still")
    await scene.peer.send(informed(stream_id) * 17)
    return stream_id


# ---- 8.1.1 ----


def measured(name: str, length: bytes, *parts: bytes) -> None:
    """The case of a body in these parts, and a content-length that does not fit it."""

    @case(name)
    async def _(scene: Scene) -> int:
        stream_id = await scene.opened((b"content-length", length))
        frames = [data(stream_id, part, end=number == len(parts) - 1) for number, part in enumerate(parts)]
        for each in frames:  # the first may already say it
            await scene.peer.send(each)
        return stream_id


measured("length-short", b"5", b"four")
measured("length-short-several", b"5", b"f", b"", b"our", b"")
measured("length-long", b"3", b"four")
measured("length-long-several", b"3", b"f", b"o", b"u", b"r")


@case("length-right")
async def _(scene: Scene) -> None:
    length = b"content-length", b"12"
    if scene.client:
        stream_id = await scene.ask()
        await scene.peer.send(headers(stream_id, response(length)))
    else:
        stream_id = await scene.opened(length, path="/read")
    parts = data(stream_id, b" two "), data(stream_id, b"four"), data(stream_id, end=True)
    await scene.peer.send(padded(wire.DATA, stream_id, b"one", 20), *parts)
    await ends(scene, stream_id, b"one two four")


async def refused(scene: Scene, *fields: Field) -> int:
    """A message without a body, with these fields."""
    stream_id = await scene.ask() if scene.client else scene.next_id()
    make = response if scene.client else request
    await scene.peer.send(headers(stream_id, make(*fields), end=True))
    return stream_id


def having(name: str, *fields: Field) -> None:
    """The case of a row in which a message has these fields, and it or its stream is answered by a reset."""

    @case(name)
    async def _(scene: Scene) -> int:
        return await refused(scene, *fields)


def may_have(name: str, *fields: Field) -> None:
    """The same where it is taken, and the application sees them."""

    @case(name)
    async def _(scene: Scene) -> None:
        await is_taken(scene, await refused(scene, *fields))
        if not scene.client:
            assert scene.requests[-1].headers.raw == fields


having("length-none", (b"content-length", b"5"))
having("length-word", (b"content-length", b"five"))
having("length-sign", (b"content-length", b"+0"))
having("length-two", (b"content-length", b"0"), (b"content-length", b"1"))
having("length-list", (b"content-length", b"0, 0"))
may_have("length-zero", (b"content-length", b"0"))


@case("length-head")
async def _(scene: Scene) -> None:
    stream_id = await scene.ask(method="HEAD")
    await scene.peer.send(headers(stream_id, response((b"content-length", b"100")), end=True))
    assert await scene.result(stream_id) == (200, b"")


@case("length-304")
async def _(scene: Scene) -> None:
    stream_id = await scene.ask()
    await scene.peer.send(headers(stream_id, response((b"content-length", b"100"), status=b"304"), end=True))
    assert await scene.result(stream_id) == (304, b"")


def bodiless(name: str, status: bytes, method: str = "GET") -> None:
    """The case of a body where none may be."""

    @case(name)
    async def _(scene: Scene) -> int:
        stream_id = await scene.ask(method=method)
        head = headers(stream_id, response((b"content-length", b"4"), status=status))
        await scene.peer.send(head, data(stream_id, b"body", end=True))
        return stream_id


bodiless("bodiless-head", b"200", "HEAD")
bodiless("bodiless-204", b"204")
bodiless("bodiless-304", b"304")


@case("bodiless-empty")
async def _(scene: Scene) -> None:
    stream_id = await scene.ask(method="HEAD")
    await scene.peer.send(headers(stream_id, response((b"content-length", b"4"))), data(stream_id, end=True))
    assert await scene.result(stream_id) == (200, b"")


# ---- 8.2 ----

FIELDS = {
    "name-upper": (b"X-Test", b"ok"),
    "name-empty": (b"", b"ok"),
    "name-blank": (b"x test", b"ok"),
    "name-colon": (b"x:test", b"ok"),
    "name-control": (b"x\x7ftest", b"ok"),
    "name-high": (b"x\xe4test", b"ok"),
    "value-nul": (b"x-test", b"a\0b"),
    "value-cr": (b"x-test", b"a\rb"),
    "value-lf": (b"x-test", b"a\nb"),
    "value-blank-first": (b"x-test", b" a"),
    "value-blank-last": (b"x-test", b"a "),
    "value-tab-first": (b"x-test", b"\ta"),
    "field-connection": (b"connection", b"close"),
    "field-keep-alive": (b"keep-alive", b"max=5"),
    "field-proxy-connection": (b"proxy-connection", b"close"),
    "field-transfer-encoding": (b"transfer-encoding", b"chunked"),
    "field-upgrade": (b"upgrade", b"foo"),
    "field-te": (b"te", b"trailers, deflate"),
    "pseudo-unknown": (b":test", b"ok"),
}
for _name, _field in FIELDS.items():
    if not _name.startswith("pseudo"):
        having(_name, _field)

may_have("value-any", (b"x-empty", b""), (b"x-blank", b"a b\tc"), (b"x-high", b"\x80\xff"))
may_have("field-te-trailers", (b"te", b"trailers"))


@case("field-cookies")
async def _(scene: Scene) -> None:
    await is_taken(scene, await refused(scene, (b"cookie", b"a=b"), (b"x", b"y"), (b"cookie", b"c=d")))
    assert scene.requests[-1].headers["cookie"] == "a=b; c=d"


# ---- 8.3 ----

ALL = tuple(REQUEST.items())


def without(name: bytes) -> tuple[Field, ...]:
    return tuple(field for field in ALL if field[0] != name)


def instead(name: bytes, value: bytes, method: bytes = b"GET") -> tuple[Field, ...]:
    return tuple((REQUEST | {b":method": method, name: value}).items())


def twice(name: bytes) -> tuple[Field, ...]:
    return (*ALL, (name, REQUEST[name]))


HEADS: dict[str, tuple[Field, ...]] = {
    "method-missing": without(b":method"),
    "method-twice": twice(b":method"),
    "method-empty": instead(b":method", b"", b""),
    "method-bad": instead(b":method", b"GET /", b"GET /"),
    "scheme-missing": without(b":scheme"),
    "scheme-twice": twice(b":scheme"),
    "scheme-empty": instead(b":scheme", b""),
    "path-missing": without(b":path"),
    "path-twice": twice(b":path"),
    "path-empty": instead(b":path", b""),
    "path-relative": instead(b":path", b"index.html"),
    "path-star": instead(b":path", b"*"),
    "path-blank": instead(b":path", b"/a b"),
    "authority-twice": twice(b":authority"),
    "authority-empty": instead(b":authority", b""),
    "authority-user": instead(b":authority", b"user@example.org"),
    "host-differs": (*ALL, (b"host", b"example.com")),
    "host-twice": (*ALL, (b"host", b"example.org"), (b"host", b"example.org")),
    "connect-no-authority": ((b":method", b"CONNECT"),),
    "connect-path": ((b":method", b"CONNECT"), (b":authority", b"example.org:443"), (b":path", b"/")),
    "connect-scheme": ((b":method", b"CONNECT"), (b":authority", b"example.org:443"), (b":scheme", b"https")),
    "extended-connect-off": (*instead(b":method", b"CONNECT", b"CONNECT"), (b":protocol", b"websocket")),
    "extended-connect-get": (*ALL, (b":protocol", b"websocket")),
}
RESPONSES: dict[str, tuple[Field, ...]] = {
    "status-twice": ((b":status", b"200"), (b":status", b"200")),
    "status-short": ((b":status", b"20"),),
    "status-word": ((b":status", b"2xx"),),
    "status-101": ((b":status", b"101"),),
}
BOTH: dict[str, tuple[tuple[Field, ...], tuple[Field, ...]]] = {
    "pseudo-unknown": ((*ALL, (b":test", b"ok")), ((b":status", b"200"), (b":test", b"ok"))),
    "pseudo-other": ((*ALL, (b":status", b"200")), ((b":status", b"200"), (b":path", b"/"))),
    "pseudo-after": (((b"x", b"y"), *ALL), ((b"x", b"y"), (b":status", b"200"))),
    "pseudo-none": (((b"x", b"y"),), ((b"x", b"y"),)),
}


def heads(name: str, asked: tuple[Field, ...], answered: tuple[Field, ...], config: http.Config | None = None) -> None:
    """The case of a row in which a request, or a response, has this head."""

    @case(name, config=config)
    async def _(scene: Scene) -> int:
        stream_id = await scene.ask() if scene.client else scene.next_id()
        await scene.peer.send(headers(stream_id, literal(*(answered if scene.client else asked)), end=True))
        return stream_id


for _name, _fields in HEADS.items():
    heads(_name, _fields, ())
for _name, _fields in RESPONSES.items():
    heads(_name, (), _fields)
for _name, _both in BOTH.items():
    heads(_name, *_both)


async def asks(scene: Scene, *fields: Field, end: bool = True) -> int:
    stream_id = scene.next_id()
    await scene.peer.send(headers(stream_id, literal(*fields), end=end))
    return stream_id


@case("path-star-options")
async def _(scene: Scene) -> None:
    await scene.answer(await asks(scene, *instead(b":path", b"*", b"OPTIONS")))
    assert scene.requests[-1].path == "*"


@case("authority-missing")
async def _(scene: Scene) -> None:
    await scene.answer(await asks(scene, *without(b":authority"), (b"host", b"example.com")))
    assert scene.requests[-1].authority == "example.com"


@case("authority-none")
async def _(scene: Scene) -> None:
    await scene.answer(await asks(scene, *without(b":authority")))
    assert scene.requests[-1].authority == ""


# ---- 8.5, RFC 8441 ----

CONNECT: tuple[Field, ...] = ((b":method", b"CONNECT"), (b":authority", b"example.org:443"))
EXTENDED: tuple[Field, ...] = (*instead(b":path", b"/tunnel", b"CONNECT"), (b":protocol", b"websocket"))
OFFERED = http.Config(extended_connect=True)


async def tunnel(scene: Scene, fields: tuple[Field, ...] = CONNECT) -> int:
    """A tunnel that is open."""
    peer = scene.peer
    if scene.client:
        stream_id = await scene.ask(method="CONNECT", end=False, connect=True)
        await peer.send(headers(stream_id, response()))
        await peer.answered()
        return stream_id
    stream_id = await asks(scene, *fields, end=False)
    await peer.until(lambda: peer.seen)
    answer = peer.seen.pop()
    assert answer[:2] == ("HEADERS", stream_id)
    assert not answer.flag
    return stream_id


@case("connect")
async def _(scene: Scene) -> None:
    stream_id = await tunnel(scene)
    await passes(scene, stream_id)


async def passes(scene: Scene, stream_id: int) -> None:
    """The tunnel is a stream of bytes, which the peer ends and then muxpy."""
    await scene.peer.send(data(stream_id, b"bytes"), data(stream_id, end=True))
    result = await scene.result(stream_id)
    assert result == ((200, b"bytes") if scene.client else b"bytes")
    await scene.peer.expect(Seen("DATA", stream_id, b"", True))


@case("connect-trailers")
async def _(scene: Scene) -> int:
    stream_id = await tunnel(scene)
    await scene.peer.send(headers(stream_id, literal((b"x", b"y")), end=True))
    return stream_id


@case("extended-connect", config=OFFERED)
async def _(scene: Scene) -> None:
    await passes(scene, await tunnel(scene, EXTENDED))
    assert scene.requests[-1].protocol == "websocket"


for _name, _missing in (("extended-connect-path", b":path"), ("extended-connect-scheme", b":scheme")):
    heads(_name, tuple(field for field in EXTENDED if field[0] != _missing), (), OFFERED)
