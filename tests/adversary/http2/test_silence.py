"""Peers that begin something and do not end it (slow loris), and sessions that end twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
import trio
import trio.testing

from muxpy import http
from tests.helpers.load import until

from . import wire
from .scene import Peer, Scene, Seen, stage

if TYPE_CHECKING:
    from collections.abc import Callable

Clock = trio.testing.MockClock

pytestmark = pytest.mark.no_cover

CALM: Final = http.ErrorCode.ENHANCE_YOUR_CALM
PROTOCOL: Final = http.ErrorCode.PROTOCOL_ERROR
BOTH: Final = pytest.mark.parametrize("kind", ["tcp", "tls"])


async def connected(scene: Scene, said: bytes) -> Peer:
    """A connection on which no more than this is said."""
    stream = await scene.connect()
    await stream.send_all(said)
    return Peer(stream)


async def all_of(peer: Peer) -> list[Seen]:
    """Everything until the end of the connection, but for settings and window updates."""
    frames = []
    while (frame := await peer.receive()) is not None:
        frames.append(frame)
    await trio.aclose_forcefully(peer.stream)
    return [frame for frame in frames if frame.name not in ("SETTINGS", "WINDOW_UPDATE")]


SLOW: Final = {
    "nothing": b"",
    "half a preface": wire.PREFACE[:12],
    "no settings": wire.PREFACE,
    "half of the settings": wire.BEGIN[:-2],
}


@BOTH
@pytest.mark.parametrize("said", SLOW)
async def test_who_does_not_begin_is_closed(said: str, kind: str, mock_clock: Clock) -> None:
    async with stage(kind) as scene:
        peer = await connected(scene, SLOW[said])
        await scene.settle()
        seen: list[Seen] = []
        ended = trio.Event()

        async def read() -> None:
            seen.extend(await all_of(peer))
            ended.set()

        scene.nursery.start_soon(read)
        mock_clock.jump(9.9)
        await scene.settle()
        assert not ended.is_set()
        mock_clock.jump(0.2)
        await ended.wait()
        assert [frame.name for frame in seen] == ["GOAWAY"]
        assert "no frame was received within 10 s" in peer.text
        await scene.check_that_it_lives()


async def test_many_that_do_not_begin_cost_nobody_else_anything(mock_clock: Clock) -> None:
    async with stage() as scene:
        for _ in range(200):
            await connected(scene, wire.PREFACE[:5])
        await scene.check_that_it_lives()
        while trio.lowlevel.current_statistics().tasks_living >= 40:  # the limit, and then lingering
            mock_clock.jump(10.1)
            await scene.settle()
        await scene.check_that_it_lives()


BLOCKS: Final[dict[str, Callable[[], list[bytes]]]] = {
    "half a block": lambda: [wire.headers(3, wire.GET, whole=False)],
    "a block that goes on": lambda: [wire.headers(3, wire.GET, whole=False), *[wire.continuation(3, b"\x82")] * 5],
}


@BOTH
@pytest.mark.parametrize("block", BLOCKS)
async def test_a_block_must_be_whole_in_time(block: str, kind: str, mock_clock: Clock) -> None:
    """Nothing else may come in between, so everything on the connection would wait."""
    async with stage(kind) as scene:
        for part in BLOCKS[block]():
            await scene.send(part)
            await looked(mock_clock, 1.5)
        assert not scene.over
        await looked(mock_clock, 1.5)
        for _ in range(10):
            await looked(mock_clock, 1)
        assert scene.over
        await scene.check_that_it_ends(CALM, "a header block was not whole within 10 s")


async def looked(clock: Clock, seconds: float) -> None:
    clock.jump(seconds)
    for _ in range(30):
        await trio.lowlevel.checkpoint()


async def test_an_idle_connection_ends_if_that_is_wanted_whatever_it_pings(mock_clock: Clock) -> None:
    async with stage(config=http.Config(idle_timeout=5, linger_timeout=10)) as scene:
        await scene.send(wire.data(1, end=True))
        await until(lambda: not scene.session.statistics().streams_open)
        for _ in range(6):
            await scene.send(wire.ping())
            await looked(mock_clock, 1)
        await until(lambda: scene.goaway is not None)
        assert scene.goaway is not None
        assert scene.goaway.value == http.ErrorCode.NO_ERROR
        assert scene.peer.text == "idle"
        await scene.ended.wait()
        await scene.check_neighbour()


# ---- the end is decided once (CVE-2022-27664) ----

BREAKS: Final = {
    "DATA for stream 0": wire.data(0, b"x"),
    "a request with an even id": wire.request(2, "/read"),
    "SETTINGS of a wrong length": wire.settings()[:2] + b"\x05" + wire.settings()[3:] + bytes(5),
}


@BOTH
@pytest.mark.parametrize("breaks", BREAKS)
async def test_an_error_after_a_graceful_goaway_is_said_and_ends_it(breaks: str, kind: str, mock_clock: Clock) -> None:
    async with stage(kind) as scene:
        await scene.play([wire.request(3, "/hold", end=True)])
        scene.session.go_away()
        await scene.settle()
        assert scene.counts["GOAWAY"] == 1
        await scene.send(BREAKS[breaks])
        await scene.ended.wait()
        assert scene.counts["GOAWAY"] == 2
        assert scene.goaway is not None
        assert scene.goaway.value in (PROTOCOL, http.ErrorCode.FRAME_SIZE_ERROR)
        scene.let_go.set()
        await scene.session.wait()
        await scene.check_neighbour()


async def test_an_error_after_the_peer_has_gone_away_ends_it(mock_clock: Clock) -> None:
    async with stage() as scene:
        await scene.play([wire.request(3, "/hold", end=True)])
        await scene.send(wire.goaway(0), wire.data(0, b"x"), wire.data(0, b"x"))
        await scene.ended.wait()
        assert scene.counts["GOAWAY"] == 1
        scene.let_go.set()
        await scene.session.wait()
        await scene.check_neighbour()
