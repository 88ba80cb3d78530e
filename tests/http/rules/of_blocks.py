"""The cases that concern header blocks: their frames, and HPACK (RFC 7541)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muxpy import http
from tests.frame.http2 import wire
from tests.frame.http2.wire import frame

from .of_messages import is_taken
from .peer import Seen, data, goaway, headers, literal, ping, priority, rst, settings, window
from .rows import case
from .scene import Scene, request, response

if TYPE_CHECKING:
    from collections.abc import Callable

# ---- RFC 7541 ----


async def coded(scene: Scene, block: bytes) -> int:
    """A head comes in this block, after fields that are in order."""
    stream_id = await scene.ask() if scene.client else scene.next_id()
    await scene.peer.send(headers(stream_id, (response() if scene.client else request()) + block, end=True))
    return stream_id


def undecodable(name: str, block: bytes) -> None:
    @case(name)
    async def _(scene: Scene) -> None:
        before = scene.highest
        await coded(scene, block)
        scene.highest = before


undecodable("block-bad", b"\x00\x7f")
undecodable("hpack-index-zero", b"\x80")
undecodable("hpack-index-large", b"\xff\x00")
undecodable("hpack-name-index-large", b"\x7f\x00\x01x")
undecodable("hpack-integer-cut", b"\xff\x80")
undecodable("hpack-integer-long", b"\xff" + b"\x80" * 20 + b"\x01")
undecodable("hpack-string-cut", b"\x00\x01x\x05four")
undecodable("hpack-huffman-long", b"\x00\x01x\x82\x1f\xff")  # "a", and 11 ones
undecodable("hpack-huffman-zeros", b"\x00\x01x\x81\x18")  # "a", and 3 zeros
undecodable("hpack-huffman-eos", b"\x00\x01x\x84\xff\xff\xff\xff")
undecodable("hpack-resize-late", b"\x3f\x01")


def undecodable_at_first(name: str, block: bytes) -> None:
    @case(name)
    async def _(scene: Scene) -> None:
        stream_id = await scene.ask() if scene.client else scene.idle
        await scene.peer.send(headers(stream_id, block + (response() if scene.client else request()), end=True))


undecodable_at_first("hpack-resize-large", b"\x3f\xe2\x1f")  # 4,097
undecodable_at_first("hpack-resize-thrice", b"\x20\x20\x20")


async def takes(scene: Scene, block: bytes, *fields: tuple[bytes, bytes]) -> None:
    """A head whose block goes on like this is taken, and has these fields."""
    await is_taken(scene, await coded(scene, block))
    if not scene.client:
        assert scene.requests[-1].headers.raw == fields


X = (b"x-test", b"some value, which is long enough for a code")


@case("hpack-forms")
async def _(scene: Scene) -> None:
    for prefix in (0x00, 0x10, 0x40):
        await takes(scene, literal(X, prefix=prefix), X)
    for huffman in (True, False):
        block = scene.peer.encoder.encode([(b"accept", b"*/*"), X, X], huffman=huffman)
        await takes(scene, block, (b"accept", b"*/*"), X, X)
    for prefix in (0x0F04, 0x1F04, 0x53):  # the names of entries 19 and 19 of the static table
        head = prefix.to_bytes(2, "big") if prefix > 0xFF else bytes((prefix,))
        await takes(scene, head + b"\x03*/*", (b"accept", b"*/*"))
    await takes(scene, b"\x90", (b"accept-encoding", b"gzip, deflate"))


@case("hpack-dynamic")
async def _(scene: Scene) -> None:
    encoded = scene.peer.encoded
    for number in range(30):
        large = b"x-large", b"%d" % number * 150
        await takes(scene, encoded(large, X), large, X)
        await takes(scene, encoded(large, X), large, X)


@case("hpack-entry-large")
async def _(scene: Scene) -> None:
    await takes(scene, literal(X, prefix=0x40), X)
    await takes(scene, b"\xbe", X)
    large = b"x-large", b"v" * 5000
    await takes(scene, literal(large, prefix=0x40), large)
    before = scene.highest
    await coded(scene, literal(X, prefix=0x40) + b"\xbe")
    await scene.peer.answered()
    if not scene.client:
        await scene.answer(before + 2)
        assert scene.requests[-1].headers.raw == (X, X)


@case("hpack-resize")
async def _(scene: Scene) -> None:
    stream_id = await scene.ask() if scene.client else scene.next_id()
    block = b"\x20\x3f\xe1\x1f" + (response() if scene.client else request()) + literal(X, prefix=0x40)
    await scene.peer.send(headers(stream_id, block, end=True))
    await is_taken(scene, stream_id)
    await takes(scene, b"\xbe", X)


# ---- 4.3 ----


@case("block-bad-closed")
async def _(scene: Scene) -> None:
    stream_id = await scene.reset_here()
    await scene.peer.send(headers(stream_id, b"\x80", end=True))


@case("block-bad-trailers")
async def _(scene: Scene) -> None:
    stream_id = await scene.opened()
    await scene.peer.send(headers(stream_id, b"\x80", end=True))


THEN: dict[str, Callable[[Scene, int], bytes]] = {
    "block-then-data": lambda scene, _: data(scene.honest, b"x"),
    "block-then-headers": lambda scene, n: headers(n + 2, request(), end=True),
    "block-then-headers-same": lambda scene, n: headers(n, b"", end=True),
    "block-then-other-continuation": lambda scene, n: frame(wire.CONTINUATION, n + 2, flags=wire.END_HEADERS),
    "block-then-priority": lambda scene, n: priority(n),
    "block-then-rst": lambda scene, n: rst(n),
    "block-then-settings": lambda scene, n: settings(),
    "block-then-ping": lambda scene, n: ping(bytes(8)),
    "block-then-goaway": lambda scene, n: goaway(0),
    "block-then-window": lambda scene, n: window(0, 1),
    "block-then-unknown": lambda scene, n: frame(0xF0, n),
}


def interleaved(name: str, make: Callable[[Scene, int], bytes]) -> None:
    @case(name)
    async def _(scene: Scene) -> None:
        stream_id, block = (await scene.ask(), response()) if scene.client else (scene.idle, request())
        await scene.peer.send(
            headers(stream_id, block[:3], end=True, whole=False),
            make(scene, stream_id),
            frame(wire.CONTINUATION, stream_id, block[3:], flags=wire.END_HEADERS),
        )


for _name, _make in THEN.items():
    interleaved(_name, _make)


async def refers(scene: Scene) -> None:
    """An entry that an earlier block has put into the table is there."""
    await takes(scene, b"\xbe", X)


@case("block-refused", config=http.Config(max_streams=2))
async def _(scene: Scene) -> None:
    peer = scene.peer
    held = await scene.opened()
    refused = scene.next_id()
    await peer.send(headers(refused, request() + literal(X, prefix=0x40), end=True))
    await peer.expect(Seen("RST", refused, "REFUSED_STREAM"))
    await peer.send(rst(scene.honest), rst(held))
    await peer.answered()
    scene.honest = scene.next_id()
    peer.hidden.add(scene.honest)
    stream_id = scene.next_id()
    await peer.send(
        headers(scene.honest, request(path=b"/echo", method=b"POST")),
        headers(stream_id, request() + b"\xbe", end=True),
    )
    await scene.answer(stream_id)
    assert scene.requests[-1].headers.raw == (X,)


@case("block-reset")
async def _(scene: Scene) -> None:
    stream_id = await scene.reset_here()
    await scene.peer.send(headers(stream_id, literal(X, prefix=0x40), end=True))
    await refers(scene)


@case("block-malformed")
async def _(scene: Scene) -> None:
    stream_id = await coded(scene, literal(X, prefix=0x40) + literal((b"UPPER", b"")))
    await scene.peer.expect(Seen("RST", stream_id, "PROTOCOL_ERROR"))
    await refers(scene)
