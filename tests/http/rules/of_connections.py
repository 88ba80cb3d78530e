"""The cases that concern the connection: its beginning, frames as such, SETTINGS, PING, GOAWAY."""

from __future__ import annotations

import trio

from tests.frame.http2 import wire
from tests.frame.http2.wire import frame

from .peer import PREFACE, Seen, data, goaway, headers, ping, push_promise, setting, settings, window
from .rows import case, on_connection, on_stream
from .scene import NO_SETTINGS, Scene, request, response

ACKNOWLEDGED = Seen("SETTINGS", 0, (), True)
TOO_LARGE = bytes(16_385)

# ---- 3.4 ----


@case("preface-in-pieces", bare=True)
async def _(scene: Scene) -> None:
    peer = scene.peer
    for byte in PREFACE + NO_SETTINGS:
        await peer.send(bytes((byte,)))
        await trio.lowlevel.checkpoint()
    await begun(scene)


async def begun(scene: Scene) -> None:
    peer = scene.peer
    await peer.until(lambda: len(peer.seen) == 2)
    assert peer.seen[0].name == "SETTINGS"
    assert peer.seen[1] == ACKNOWLEDGED
    peer.seen.clear()
    scene.honest = scene.next_id()
    peer.hidden.add(scene.honest)
    await peer.send(headers(scene.honest, request(path=b"/echo", method=b"POST")))


@case("preface-and-request", bare=True)
async def _(scene: Scene) -> None:
    peer = scene.peer
    stream_id = scene.next_id()
    await peer.send(PREFACE, NO_SETTINGS, headers(stream_id, request(), end=True))
    await peer.until(lambda: len(peer.seen) >= 2)
    assert [seen.name for seen in peer.seen[:2]] == ["SETTINGS", "SETTINGS"]
    del peer.seen[:2]
    await scene.answer(stream_id)
    scene.honest = scene.next_id()
    peer.hidden.add(scene.honest)
    await peer.send(headers(scene.honest, request(path=b"/echo", method=b"POST")))


on_connection("preface-wrong", PREFACE.replace(b"SM", b"XX"), NO_SETTINGS, bare=True)


@case("preface-http1", bare=True)
async def _(scene: Scene) -> None:
    if not scene.client:
        await scene.peer.send(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
        return
    await ours(scene)
    await scene.peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


async def ours(scene: Scene) -> None:
    """What muxpy says of itself immediately: everything as a client, and nothing as a server without TLS."""
    if scene.client:
        await scene.peer.until(lambda: scene.peer.seen)
        assert scene.peer.seen.pop().name == "SETTINGS"


on_connection("preface-twice", PREFACE)

FIRST = {
    "first-ping": ping(b"12345678"),
    "first-headers": headers(1, request(), end=True),
    "first-unknown": frame(0xF0, 0, b"x"),
    "first-ack": settings(ack=True),
}


def add_first(name: str, first: bytes) -> None:
    @case(name, bare=True)
    async def _(scene: Scene) -> None:
        await ours(scene)
        await scene.peer.send(b"" if scene.client else PREFACE, first)


for _name, _first in FIRST.items():
    add_first(_name, _first)


# ---- 4.1, 4.2 ----

on_connection("unknown-type", frame(0xF0, 0, b"whatever", flags=0xFF), frame(0x0B, 0))


@case("unknown-type-stream")
async def _(scene: Scene) -> None:
    stream_id = await scene.opened()
    await scene.peer.send(frame(0xF0, stream_id, b"x", flags=0xFF), frame(0xF0, scene.idle, bytes(100)))


async def ends(scene: Scene, stream_id: int, body: bytes = b"") -> None:
    """The peer has ended the stream, with this body: what the application got."""
    await scene.peer.answered()
    if scene.client:
        assert await scene.result(stream_id) == (200, body)
    else:
        await scene.answer(stream_id)
        assert scene.results[stream_id] == body


async def reading(scene: Scene) -> int:
    """A stream that the application reads."""
    if not scene.client:
        return await scene.opened(path="/read")
    return await scene.ended_here()


@case("unknown-flags")
async def _(scene: Scene) -> None:
    peer = scene.peer
    stream_id = await reading(scene)
    await peer.send(
        frame(wire.DATA, stream_id, b"body", flags=0xF6),
        frame(wire.DATA, stream_id, flags=0xF6 | wire.END_STREAM),
        frame(wire.WINDOW_UPDATE, scene.honest, b"\0\0\0\1", flags=0xFF),
        frame(wire.PING, 0, b"12345678", flags=0xFE),
        frame(wire.SETTINGS, 0, flags=0xFE),
    )
    await peer.until(lambda: Seen("PING", 0, b"12345678", True) in peer.seen and ACKNOWLEDGED in peer.seen)
    peer.seen.remove(Seen("PING", 0, b"12345678", True))
    peer.seen.remove(ACKNOWLEDGED)
    await ends(scene, stream_id, b"body")


@case("reserved-bit")
async def _(scene: Scene) -> None:
    stream_id = await reading(scene)
    await scene.peer.send(data(1 << 31 | stream_id, b"body", end=True))
    await ends(scene, stream_id, b"body")


@case("largest-frame")
async def _(scene: Scene) -> None:
    stream_id = await reading(scene)
    await scene.peer.send(data(stream_id, bytes(16_384), end=True))
    await ends(scene, stream_id, bytes(16_384))


on_stream("large-data", Scene.opened, lambda stream_id: data(stream_id, TOO_LARGE))
on_connection("large-settings", frame(wire.SETTINGS, 0, setting(0xF0, 0) * 2731))
on_connection("large-unknown", frame(0xF0, 0, TOO_LARGE))


@case("large-headers")
async def _(scene: Scene) -> None:
    stream_id = scene.idle if not scene.client else await scene.ask()
    await scene.peer.send(headers(stream_id, TOO_LARGE))


@case("large-continuation")
async def _(scene: Scene) -> None:
    stream_id = scene.idle if not scene.client else await scene.ask()
    await scene.peer.send(headers(stream_id, b"", whole=False), frame(wire.CONTINUATION, stream_id, TOO_LARGE))


# ---- 5.4 ----

LENGTHS = frame(wire.PING, 0, bytes(7))
on_connection("error-once", LENGTHS, data(0), LENGTHS)
on_connection("error-then-request", LENGTHS, headers(3, request(), end=True))


@case("error-before")
async def _(scene: Scene) -> None:
    stream_id = await scene.opened(path="/first")
    await scene.peer.until(lambda: scene.peer.seen)
    scene.peer.seen.clear()
    await scene.peer.send(data(stream_id, b"last words", end=True), data(0))
    await scene.peer.ended()
    assert scene.results[stream_id] == b"last words"


# ---- 6.5 ----

SETTING = {
    "settings-push-two": (2, 2),
    "settings-window-large": (4, 1 << 31),
    "settings-frame-small": (5, 16_383),
    "settings-frame-large": (5, 1 << 24),
    "extended-connect-two": (8, 2),
    "no-priorities-two": (9, 2),
}
for _name, _entry in SETTING.items():
    on_connection(_name, settings(_entry))

on_connection("settings-stream", frame(wire.SETTINGS, 1))
on_connection("settings-length", frame(wire.SETTINGS, 0, bytes(5)))
on_connection("settings-ack-payload", frame(wire.SETTINGS, 0, setting(4, 1), flags=wire.ACK))
on_connection("settings-ack-unasked", settings(ack=True))
on_connection("settings-many", settings(*[(0xF0, 0)] * 101))


@case("extended-connect-withdrawn")
async def _(scene: Scene) -> None:
    await scene.peer.send(settings((8, 1)))
    await scene.peer.expect(ACKNOWLEDGED)
    await scene.peer.send(settings((8, 0)))


def acknowledged(name: str, *frames: bytes) -> None:
    """The case of SETTINGS that are acknowledged, and do nothing else that can be seen."""

    @case(name)
    async def _(scene: Scene) -> None:
        await scene.peer.send(*frames)
        await scene.peer.answered()
        await scene.peer.expect(*[ACKNOWLEDGED] * len(frames))


acknowledged("settings-empty", settings())
acknowledged("settings-acknowledged", settings((3, 7)), settings(), settings((4, 100_000)))
acknowledged("settings-unknown", settings((0xF0, 5), (0, 1), (7, 2), (0xFFFF, 0xFFFFFFFF)))
acknowledged("settings-frame", settings((5, (1 << 24) - 1)))


@case("settings-push-one")
async def _(scene: Scene) -> None:
    await scene.peer.send(settings((2, 1)))
    if not scene.client:
        await scene.peer.expect(ACKNOWLEDGED)


@case("settings-push-zero")
async def _(scene: Scene) -> None:
    await scene.peer.send(settings((2, 0)))
    await scene.peer.expect(ACKNOWLEDGED)
    if not scene.client:
        stream_id = scene.next_id()
        await scene.peer.send(headers(stream_id, request(path=b"/push"), end=True))
        await scene.answer(stream_id, b"")


@case("settings-repeated")
async def _(scene: Scene) -> None:
    peer = scene.peer
    await peer.send(window(scene.honest, 1 << 20), settings((4, 100_000), (4, 3)))
    await peer.expect(ACKNOWLEDGED)
    if scene.client:
        stream_id = await scene.post(b"hello")
    else:
        stream_id = scene.next_id()
        await peer.send(headers(stream_id, request(), end=True))
        await peer.until(lambda: peer.seen)
        del peer.seen[0]
    await peer.expect(Seen("DATA", stream_id, b"hel"))


@case("settings-table")
async def _(scene: Scene) -> None:
    peer = scene.peer
    await peer.send(settings((1, 0), (1, 100)))
    await peer.expect(ACKNOWLEDGED)
    peer.blocks.clear()
    if scene.client:
        await scene.ask()
        await scene.ask()
    else:
        for _ in range(2):
            stream_id = scene.next_id()
            await peer.send(headers(stream_id, request(), end=True))
            await scene.answer(stream_id)
    first, second = peer.blocks
    assert first.startswith(b"\x20\x3f\x45")  # 0, and 100
    assert second[0] & 0xE0 != 0x20


# ---- 6.6, 8.4 ----


@case("push-promise")
async def _(scene: Scene) -> None:
    await scene.peer.send(push_promise(scene.honest, 2, request()))


@case("push-taken")
async def _(scene: Scene) -> None:
    peer = scene.peer
    stream_id = scene.next_id()
    await peer.send(headers(stream_id, request(path=b"/push"), end=True))
    await peer.until(lambda: [seen for seen in peer.seen if seen.stream_id == 2 and seen.flag])
    await peer.until(lambda: [seen for seen in peer.seen if seen.stream_id == stream_id and seen.flag])
    first = peer.seen[0]
    assert first[:2] == ("PUSH_PROMISE", stream_id)
    assert isinstance(first.value, tuple)
    assert first.value[0] == 2
    for each in (2, stream_id):
        assert [seen.name for seen in peer.seen if seen.stream_id == each] in (
            ["HEADERS", "DATA"],
            ["PUSH_PROMISE", "HEADERS", "DATA"],
        )
    peer.seen.clear()


# ---- 6.7 ----


@case("ping")
async def _(scene: Scene) -> None:
    await scene.peer.send(ping(b"\0\1\2\3\xff\xfe\xfd\xfc"))
    await scene.peer.expect(Seen("PING", 0, b"\0\1\2\3\xff\xfe\xfd\xfc", True))


on_connection("ping-ack", ping(b"12345678", ack=True))
on_connection("ping-stream", frame(wire.PING, 1, bytes(8)))
on_connection("ping-length-short", frame(wire.PING, 0, bytes(7)))
on_connection("ping-length-long", frame(wire.PING, 0, bytes(9)))


# ---- 6.8, 7 ----

LAST = (1 << 31) - 1


async def goes_on(scene: Scene) -> None:
    """The session may end now, if nothing is open; but what is open goes on."""
    await scene.settle()


def told(name: str, *frames: bytes) -> None:
    @case(name)
    async def _(scene: Scene) -> None:
        await scene.peer.send(*frames)
        await goes_on(scene)
        assert scene.session is None or scene.session.end is None


told("goaway", goaway(LAST))
told("goaway-debug", frame(wire.GOAWAY, 0, goaway(LAST)[9:] + b"why"))
told("goaway-lower", goaway(LAST), goaway(1))
told("code-goaway", goaway(LAST, 0xF0F0))
on_connection("goaway-higher", goaway(1), goaway(3))
on_connection("goaway-stream", frame(wire.GOAWAY, 1, bytes(8)))
on_connection("goaway-length", frame(wire.GOAWAY, 0, bytes(7)))


@case("goaway-request")
async def _(scene: Scene) -> None:
    stream_id = scene.next_id()
    await scene.peer.send(goaway(0), headers(stream_id, request(), end=True))
    await scene.answer(stream_id)


@case("goaway-unhandled")
async def _(scene: Scene) -> None:
    stream_id = await scene.ask()
    await scene.peer.send(goaway(scene.honest))
    error = await scene.result(stream_id)
    assert getattr(error, "retryable", False)


async def leave(scene: Scene) -> None:
    """The server says GOAWAY, while a request goes on."""
    peer = scene.peer
    stream_id = scene.next_id()
    await peer.send(headers(stream_id, request(path=b"/leave"), end=True))
    await peer.until(lambda: peer.seen and peer.seen[-1].flag)
    assert peer.seen.pop(0) == Seen("GOAWAY", stream_id, "NO_ERROR")
    await scene.answer(stream_id)


@case("goaway-ours")
async def _(scene: Scene) -> int:
    await leave(scene)
    stream_id = scene.next_id()
    await scene.peer.send(headers(stream_id, request(), end=True))
    return stream_id


@case("goaway-ours-error")
async def _(scene: Scene) -> None:
    await leave(scene)
    await scene.peer.send(LENGTHS)


# ---- RFC 9218, 7.1 ----


def priority_update(about: int, value: bytes, *, on: int = 0) -> bytes:
    return frame(wire.PRIORITY_UPDATE, on, about.to_bytes(4, "big") + value)


@case("priority-update")
async def _(scene: Scene) -> None:
    opened, ended = await scene.opened(), await scene.ended()
    for about in (opened, ended, scene.idle, 1 << 31 | opened):
        await scene.peer.send(priority_update(about, b"u=0"), priority_update(about, b"\xff,,;"))


on_connection("priority-update-client", priority_update(1, b"u=0"))
on_connection("priority-update-stream", priority_update(1, b"u=0", on=1))
on_connection("priority-update-zero", priority_update(0, b"u=0"))
on_connection("priority-update-pushed", priority_update(2, b"u=0"))
on_connection("priority-update-length", frame(wire.PRIORITY_UPDATE, 0, bytes(3)))


@case("urgency")
async def _(scene: Scene) -> None:
    if scene.client:
        stream_id = await scene.ask()
        await scene.peer.send(headers(stream_id, response((b"priority", b"u=9, i=?2;;")), end=True))
        await ends(scene, stream_id)
        return
    for value in (b"u=0, i", b"u=7", b"i", b"", b"u=8", b"u", b"\xff", b"u=0;x, u=1"):
        stream_id = scene.next_id()
        await scene.peer.send(headers(stream_id, request((b"priority", value)), end=True))
        await scene.answer(stream_id)
