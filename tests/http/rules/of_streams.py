"""The cases that concern streams: their states, ids, DATA, RST_STREAM, PRIORITY, windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from muxpy import http
from tests.frame.http2 import wire
from tests.frame.http2.wire import frame, padded

from .of_connections import ends, reading
from .peer import Seen, data, headers, priority, rst, settings, window
from .rows import case, on_connection, on_stream
from .scene import Scene, request, response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ACKNOWLEDGED = Seen("SETTINGS", 0, (), True)


def fields(stream_id: int) -> bytes:
    """HEADERS that would be in order as trailers."""
    return headers(stream_id, b"", end=True)


def continuation(stream_id: int) -> bytes:
    return frame(wire.CONTINUATION, stream_id, flags=wire.END_HEADERS)


# ---- 5.1: what comes for streams in each state ----

FRAMES: dict[str, Callable[[int], bytes]] = {
    "data": lambda stream_id: data(stream_id, b"x"),
    "end": lambda stream_id: data(stream_id, end=True),
    "headers": fields,
    "continuation": continuation,
    "window": lambda stream_id: window(stream_id, 1),
    "rst": rst,
    "priority": priority,
}


async def idle(scene: Scene) -> int:
    return scene.idle


async def pushed(scene: Scene) -> int:
    return 2


async def reset_twice(scene: Scene) -> int:
    stream_id = await scene.reset_here()
    await scene.peer.send(rst(stream_id))
    return stream_id


STATES: dict[str, tuple[Callable[[Scene], Awaitable[int]], str]] = {
    "idle": (idle, "data headers continuation window rst priority"),
    "pushed": (pushed, "data headers window rst"),
    "half-local": (Scene.ended_here, "window priority"),
    "half-remote": (Scene.ended_by_peer, "data end headers continuation window priority"),
    "ended": (Scene.ended, "data headers continuation window rst priority"),
    "peer-reset": (Scene.reset_by_peer, "data headers continuation window rst priority"),
    "reset": (Scene.reset_here, "data headers continuation rst priority"),
    "reset-twice": (reset_twice, "data headers"),
}
for _state, (_make, _names) in STATES.items():
    for _name in _names.split():
        on_stream(f"{_state}-{_name}", _make, FRAMES[_name])

on_stream("reset-window", Scene.reset_here, lambda n: window(n, 1), lambda n: window(n, 0))


@case("half-local-data")
async def _(scene: Scene) -> None:
    stream_id = await scene.ended_here()
    await scene.peer.send(data(stream_id, b"one"), data(stream_id, b" two", end=True))
    await got(scene, stream_id, b"one two")


@case("half-local-end")
async def _(scene: Scene) -> None:
    stream_id = await scene.ended_here()
    await scene.peer.send(data(stream_id, end=True))
    await got(scene, stream_id, b"")


async def got(scene: Scene, stream_id: int, body: bytes) -> None:
    """The application got this from the peer, on a stream on which it sends nothing more."""
    result = await scene.result(stream_id)
    assert result == ((200, body) if scene.client else body)


async def lost(scene: Scene, stream_id: int, code: int) -> None:
    """The application hears of the peer's reset."""
    assert getattr(await scene.result(stream_id), "code", None) == code


async def half_remote_reading(scene: Scene) -> int:
    """The peer has ended its direction, and the application notices a reset."""
    if scene.client:
        return await scene.ended_by_peer()
    stream_id = scene.next_id()
    await scene.peer.send(settings((4, 0)), headers(stream_id, request(), end=True))
    await scene.peer.until(lambda: len(scene.peer.seen) >= 2)
    await scene.peer.answered()
    assert scene.peer.seen.pop(0) == ACKNOWLEDGED
    (head,) = scene.peer.seen
    assert head[:2] == ("HEADERS", stream_id)
    scene.peer.seen.clear()
    # The honest stream must go on.
    await scene.peer.send(rst(stream_id), settings((4, 65_535)))
    await after_settings(scene)
    return stream_id


@case("half-local-rst")
async def _(scene: Scene) -> None:
    stream_id = await scene.ended_here()
    await scene.peer.send(rst(stream_id, 8))
    await lost(scene, stream_id, 8)


@case("half-remote-rst")
async def _(scene: Scene) -> None:
    if scene.client:
        stream_id = await scene.ended_by_peer()
        assert await scene.result(stream_id) == (200, b"")
        await scene.peer.send(rst(stream_id))
    else:
        await half_remote_reading(scene)


# ---- 5.1.1, 5.1.2 ----


@case("id-even")
async def _(scene: Scene) -> None:
    await scene.peer.send(headers(4, request(), end=True))


@case("id-lower")
async def _(scene: Scene) -> None:
    skipped, used = scene.next_id(), scene.next_id()
    await scene.peer.send(headers(used, request(path=b"/hold"), end=True), headers(skipped, request(), end=True))


async def skipped(scene: Scene) -> int:
    stream_id = scene.next_id()
    await scene.peer.send(headers(scene.next_id(), request(path=b"/hold"), end=True))
    return stream_id


on_stream("id-skipped-data", skipped, FRAMES["data"])
on_stream("id-skipped-rst", skipped, rst)


@case("id-highest")
async def _(scene: Scene) -> None:
    await scene.peer.send(headers((1 << 31) - 1, request(), end=True))
    await scene.peer.until(lambda: scene.peer.seen)
    await scene.answer((1 << 31) - 1)


async def fill(scene: Scene) -> list[int]:
    return [await scene.opened() for _ in range(3)]


FEW = http.Config(max_streams=4)


@case("streams-too-many", config=FEW)
async def _(scene: Scene) -> int:
    await fill(scene)
    stream_id = scene.next_id()
    await scene.peer.send(headers(stream_id, request(), end=True))
    return stream_id


@case("streams-too-many-unsent")
async def _(scene: Scene) -> int:
    peer = scene.peer
    await peer.send(window(scene.honest, 1 << 20), settings((4, 0)))
    await peer.expect(ACKNOWLEDGED)
    for _ in range(249):
        await peer.send(headers(scene.next_id(), request(), end=True))
    await peer.until(lambda: len(peer.seen) == 249)
    assert {seen.name for seen in peer.seen} == {"HEADERS"}
    peer.seen.clear()
    stream_id = scene.next_id()
    await peer.send(headers(stream_id, request(), end=True))
    return stream_id


@case("streams-again", config=FEW)
async def _(scene: Scene) -> None:
    peer = scene.peer
    await fill(scene)
    stream_id = scene.next_id()
    await peer.send(headers(stream_id, request(), end=True))
    await peer.expect(Seen("RST", stream_id, "REFUSED_STREAM"))
    peer.hidden.discard(scene.honest)
    await peer.send(data(scene.honest, end=True))
    await peer.until(lambda: peer.seen)
    assert peer.seen.pop() == Seen("DATA", scene.honest, b"", True)
    for _ in range(3):
        await scene.ended()
    scene.honest = scene.next_id()
    peer.hidden.add(scene.honest)
    await peer.send(headers(scene.honest, request(path=b"/echo", method=b"POST")))


@case("streams-limit")
async def _(scene: Scene) -> None:
    peer = scene.peer
    assert scene.app is not None
    await peer.send(settings((3, 2)))
    await peer.expect(ACKNOWLEDGED)
    stream_id = await scene.ask()
    waiting: list[http.Response] = []

    async def one_more() -> None:
        assert scene.app is not None
        waiting.append(await scene.app.open("GET", "/", end=True))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one_more)
        await scene.settle()
        assert not waiting
        assert peer.seen == []
        await peer.send(headers(stream_id, response(), end=True))
        await peer.until(lambda: peer.seen)
    assert peer.seen.pop()[:2] == ("HEADERS", waiting[0].id)


# ---- 6.1 ----

on_connection("data-zero", data(0, b"x"))


@case("data-several")
async def _(scene: Scene) -> None:
    stream_id = await reading(scene)
    parts = data(stream_id, b"a"), data(stream_id), data(stream_id, b"bc"), data(stream_id, b"d", end=True)
    await scene.peer.send(*parts)
    await ends(scene, stream_id, b"abcd")


@case("data-padded")
async def _(scene: Scene) -> None:
    stream_id = await reading(scene)
    await scene.peer.send(
        padded(wire.DATA, stream_id, b"one", 255),
        padded(wire.DATA, stream_id, b" two", 0),
        padded(wire.DATA, stream_id, b"", 100),
        padded(wire.DATA, stream_id, b" three", 1, flags=wire.END_STREAM),
    )
    await ends(scene, stream_id, b"one two three")


@case("data-all-padding")
async def _(scene: Scene) -> None:
    stream_id = await reading(scene)
    await scene.peer.send(padded(wire.DATA, stream_id, b"", 255, flags=wire.END_STREAM))
    await ends(scene, stream_id)


def wrong_padding(padding: int) -> Callable[[int], bytes]:
    return lambda stream_id: frame(wire.DATA, stream_id, bytes((padding, 0, 0, 0)), flags=wire.PADDED)


on_stream("data-padding-long", Scene.opened, wrong_padding(4))
on_stream("data-padding-longer", Scene.opened, wrong_padding(200))
on_stream("data-padding-missing", Scene.opened, lambda stream_id: frame(wire.DATA, stream_id, flags=wire.PADDED))


@case("data-before-head")
async def _(scene: Scene) -> int:
    stream_id = await scene.ask()
    await scene.peer.send(data(stream_id, b"x"))
    return stream_id


# ---- 6.3, RFC 7540 ----


@case("priority-form")
async def _(scene: Scene) -> None:
    stream_id = await scene.opened()
    frames = [priority(stream_id, on, weight) for on in (0, scene.honest, 9999, 1 << 31) for weight in (0, 255)]
    await scene.peer.send(*frames)


on_connection("priority-zero", priority(0, 1))


def short_priority(stream_id: int) -> bytes:
    return frame(wire.PRIORITY, stream_id, bytes(4))


def on_itself(stream_id: int) -> bytes:
    return priority(stream_id, stream_id)


on_stream("priority-length", Scene.opened, short_priority)
on_stream("priority-length-idle", idle, short_priority)
on_stream("priority-length-ended", Scene.ended, short_priority)
on_stream("priority-itself", Scene.opened, on_itself)
on_stream("priority-itself-idle", idle, on_itself)
on_stream("priority-itself-reset", Scene.reset_here, on_itself)


@case("headers-itself")
async def _(scene: Scene) -> int:
    stream_id = await scene.ask() if scene.client else scene.next_id()
    block = response() if scene.client else request()
    body = stream_id.to_bytes(4, "big") + b"\x0f" + block
    await scene.peer.send(headers(stream_id, body, end=True, flags=wire.HAS_PRIORITY))
    return stream_id


# ---- 6.4, 7 ----


def reset_is_heard(name: str, *codes: int) -> None:
    @case(name)
    async def _(scene: Scene) -> None:
        for code in codes:
            stream_id = await scene.opened(path="/read")
            await scene.peer.send(rst(stream_id, code))
            await lost(scene, stream_id, code)


reset_is_heard("rst", *range(1, 14))
reset_is_heard("code-rst", 14, 0xF0F0F0F0)
on_connection("rst-zero", rst(0))
on_stream("rst-length-short", Scene.opened, lambda stream_id: frame(wire.RST_STREAM, stream_id, bytes(3)))
on_stream("rst-length-long", Scene.opened, lambda stream_id: frame(wire.RST_STREAM, stream_id, bytes(5)))


@case("rst-no-error")
async def _(scene: Scene) -> None:
    stream_id = await scene.ask(method="POST", end=False)
    await scene.peer.send(headers(stream_id, response()), data(stream_id, b"whole", end=True), rst(stream_id, 0))
    assert await scene.result(stream_id) == (200, b"whole")


# ---- 6.9 ----

MOST = (1 << 31) - 1

on_stream("window-zero", Scene.opened, lambda stream_id: window(stream_id, 0))
on_connection("window-zero-connection", window(0, 0))
on_connection("window-length-short", frame(wire.WINDOW_UPDATE, 0, bytes(3)))
on_stream("window-length-long", Scene.opened, lambda stream_id: frame(wire.WINDOW_UPDATE, stream_id, bytes(5)))
on_stream("window-over", Scene.opened, lambda n: window(n, 1 << 30), lambda n: window(n, 1 << 30))
on_connection("window-over-connection", window(0, 1 << 30), window(0, 1 << 30))


@case("window-reserved")
async def _(scene: Scene) -> None:
    await scene.peer.send(window(scene.honest, 1 << 31 | 5), window(0, 1 << 31 | 5))


@case("window-over-settings")
async def _(scene: Scene) -> None:
    peer = scene.peer
    stream_id = await scene.opened()
    await peer.send(window(stream_id, MOST - 65_535))
    await peer.answered()
    await peer.send(settings((4, 65_536)))


async def large(scene: Scene, initial: int) -> int:
    """A stream on which the server has more to send than the window allows."""
    peer = scene.peer
    stream_id = scene.next_id()
    await peer.send(settings((4, initial)), headers(stream_id, request(path=b"/large"), end=True))
    await peer.until(lambda: len(peer.seen) >= 2)
    assert peer.seen.pop(0) == ACKNOWLEDGED
    assert peer.seen.pop(0)[:2] == ("HEADERS", stream_id)
    return stream_id


async def sent(scene: Scene, stream_id: int, size: int) -> None:
    """The server has sent so many bytes on the stream since the last time, and waits."""
    peer = scene.peer

    def total() -> int:
        return sum(len(seen.value) for seen in peer.seen if isinstance(seen.value, bytes))

    await peer.until(lambda: total() >= size)
    await peer.answered()
    assert {seen[:2] for seen in peer.seen} <= {("DATA", stream_id)}
    assert total() == size
    peer.seen.clear()


@case("window-one")
async def _(scene: Scene) -> None:
    stream_id = await large(scene, 1)
    await sent(scene, stream_id, 1)
    await scene.peer.send(window(stream_id, 5000))
    await sent(scene, stream_id, 5000)
    await scene.peer.send(rst(stream_id), settings((4, 65_535)))
    await after_settings(scene)


async def after_settings(scene: Scene) -> None:
    """SETTINGS were acknowledged; what was sent besides does not matter."""
    peer = scene.peer
    await peer.until(lambda: ACKNOWLEDGED in peer.seen)
    await peer.answered()
    peer.seen.clear()


@case("window-settings")
async def _(scene: Scene) -> None:
    stream_id = await large(scene, 0)
    await sent(scene, stream_id, 0)
    await scene.peer.send(settings((4, 30_000)))
    await scene.peer.until(lambda: ACKNOWLEDGED in scene.peer.seen)
    scene.peer.seen.remove(ACKNOWLEDGED)
    await sent(scene, stream_id, 30_000)


@case("window-negative")
async def _(scene: Scene) -> None:
    stream_id = await large(scene, 20_000)
    await sent(scene, stream_id, 20_000)
    await scene.peer.send(settings((4, 10_000)), window(stream_id, 10_000))  # 0
    await scene.peer.expect(ACKNOWLEDGED)
    await sent(scene, stream_id, 0)
    await scene.peer.send(window(stream_id, 8_000))
    await sent(scene, stream_id, 8_000)


@case("window-crumbs")
async def _(scene: Scene) -> None:
    peer = scene.peer
    await peer.send(window(scene.honest, 1 << 20))
    stream_id = await large(scene, 3)
    await sent(scene, stream_id, 3)
    await peer.send(settings((4, 2)))  # -1
    await peer.expect(ACKNOWLEDGED)
    await peer.send(window(stream_id, 2))
    await sent(scene, stream_id, 1)
    await peer.send(settings((4, 0)), window(stream_id, 2), settings((4, 1)))
    await peer.until(lambda: len(peer.seen) >= 3)
    del peer.seen[:2]
    await sent(scene, stream_id, 1)


@case("window-connection")
async def _(scene: Scene) -> None:
    peer = scene.peer
    stream_id = await large(scene, 1 << 20)
    peer.hidden.discard(scene.honest)
    await sent(scene, stream_id, 65_535 - 3 * 10)  # what the honest stream has sent counts too
    await peer.send(settings((4, 1 << 21)))
    await peer.expect(ACKNOWLEDGED)
    await sent(scene, stream_id, 0)
    await peer.send(window(0, 1 << 20))
    await sent(scene, stream_id, 100_000 - 65_535 + 3 * 10)
    peer.hidden.add(scene.honest)


def beyond(*parts: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """DATA up to the window of 65,536 bytes, and then this."""
    return lambda stream_id: data(stream_id, bytes(16_384)) * 4 + b"".join(part(stream_id) for part in parts)


async def unread(scene: Scene) -> int:
    return await scene.opened(path="/still")


on_stream("window-exceeded", unread, beyond(lambda stream_id: data(stream_id, b"x")))
on_stream("window-exceeded-padding", unread, beyond(lambda stream_id: padded(wire.DATA, stream_id, b"", 0)))


@case("window-returned")
async def _(scene: Scene) -> None:
    peer = scene.peer
    stream_id = await scene.reset_here()
    peer.window = 0
    for _ in range(4):
        await peer.send(data(stream_id, bytes(16_384)) * 32)
    await peer.until(lambda: peer.window >= 1 << 20)
