"""No turn of the event loop acts on more than so much of what a peer sends, over TCP and TLS. What costs time (frames,
tasks, records) is counted and not timed: it costs about the same everywhere."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest
import trio

import muxpy
from muxpy._open import _run_session
from muxpy.session import _reader
from muxpy.transport import _tls
from muxpy.transport._tls import TlsTransport
from tests.frame import wire
from tests.helpers.content import COUNTED
from tests.helpers.load import until
from tests.helpers.pairs import server_context, tcp_pair
from tests.helpers.passes import counting_passes
from tests.helpers.tasks import bounded
from tests.helpers.tls13 import RecordPeer

from .scene import ECHOES, EITHER, Scene, stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

MOST_TASKS: Final = 256 + 8
"""Tasks that may run in one pass of the scheduler: those that a turn wakes, those of the one before, and a few others:
the reader and the writer, and the tasks of the peer and of this test."""

QUIET: Final = muxpy.SessionConfig(heartbeat_interval=None, linger_timeout=0.0)

FLOODS: dict[str, Callable[[Sequence[int]], tuple[list[bytes], list[bytes]]]] = {
    "streams are opened": lambda ids: ([], [wire.syn(one, stream_type=ECHOES) for one in ids[:1000]]),
    "streams are refused": lambda ids: (_opened(ids[:1023]), [wire.syn(one) for one in ids[1023:10_000]]),
    "streams are opened and reset": lambda ids: (
        [],
        [frame for one in ids[:4000] for frame in (wire.syn(one, stream_type=ECHOES), wire.rst(one, 7))],
    ),
    "streams get a byte each": lambda ids: (_opened(ids[:1000]), [wire.data(one, b"x") for one in ids[:1000]] * 4),
    "streams end": lambda ids: (_opened(ids[:1000]), [wire.data(one, fin=True) for one in ids[:1000]]),
    "a stream gets single bytes": lambda ids: (_opened(ids[:1]), [wire.data(ids[0], b"x")] * 20_000),
    "a stream gets crumbs of window": lambda ids: (_opened(ids[:1]), [wire.wnd_inc(ids[0], 1)] * 20_000),
}


def _opened(ids: Sequence[int]) -> list[bytes]:
    return [wire.syn(one, stream_type=ECHOES) for one in ids]


@asynccontextmanager
async def flooded(flood: str, kind: str, client: bool) -> AsyncIterator[tuple[Scene, Callable[[], Awaitable[None]]]]:
    """A scene in which a flood is about to come, and what has it come, and waits until it was acted on."""
    async with stage(kind, client=client) as scene:
        scene.keeps = False
        first = scene.honest + 2
        before, after = FLOODS[flood](range(first, first + 20_000, 2))
        frames = _frames(scene.session) + len(before)
        await scene.send(*before)
        await until(lambda: _frames(scene.session) >= frames)

        async def play() -> None:
            await scene.send(*after)
            await until(lambda: _frames(scene.session) >= frames + len(after))
            await scene.exchange()

        yield scene, play


@bounded()
@pytest.mark.no_cover  # bulk
@EITHER
@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_is_acted_on_in_turns(flood: str, kind: str, client: bool) -> None:
    async with flooded(flood, kind, client) as (scene, play):
        with counting_passes(lambda: _frames(scene.session)) as passes:
            await play()
        assert 1 < passes.most_a_step <= _reader.WORK_A_TURN
        assert passes.most_a_pass <= _reader.WORK_A_TURN
        assert passes.most_tasks <= MOST_TASKS


@bounded()
@pytest.mark.no_cover
@pytest.mark.parametrize("end", ["goaway", "nonsense"])
@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_streams_that_end_together_wake_in_turns(kind: str, end: str) -> None:
    async with stage(kind, client=True) as scene:
        scene.keeps = False
        streams = [await scene.session.open_stream() for _ in range(1000)]
        ended = 0

        async def wait(stream: muxpy.Stream) -> None:
            nonlocal ended
            with pytest.raises((muxpy.StreamReset, muxpy.SessionClosed)):
                await stream.receive_some()
            ended += 1

        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(wait, stream)
            await scene.exchange()
            with counting_passes(lambda: ended) as passes:
                await scene.send(wire.goaway(0) if end == "goaway" else wire.data(99_999, b"x"))
                await until(lambda: ended == len(streams))
        assert passes.most_a_pass <= MOST_TASKS


def _frames(session: muxpy.Session) -> int:
    return session.statistics().frames_received


# ---- TLS ----


async def record_peer(keylog: Path) -> tuple[TlsTransport, RecordPeer]:
    """A server's transport after the handshake, and a client that makes its records itself."""
    near, far = await tcp_pair()
    transport, peer = TlsTransport(near, server_context(), server_side=True), RecordPeer(far, keylog)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.handshake)
        nursery.start_soon(peer.handshake)
    return transport, peer


USELESS: dict[str, Callable[[RecordPeer], bytes]] = {
    "key updates": RecordPeer.key_update,
    "empty records": lambda peer: peer.record(b""),
}


@bounded()
@pytest.mark.parametrize("useless", USELESS)
async def test_records_without_data_end_the_session(useless: str, tmp_path: Path) -> None:
    transport, peer = await record_peer(tmp_path / "keys")
    async with _run_session(transport, False, QUIET, []) as session:
        make = partial(USELESS[useless], peer)
        with counting_passes(lambda: transport.records.started) as passes:
            with suppress(trio.BrokenResourceError):  # it need not wait for all of it
                await peer.stream.send_all(b"".join(make() for _ in range(5000)))
            end = await session.wait()
        assert "TLS records without data" in str(end.error)
        assert passes.most_a_step <= _tls.RECORDS_A_TURN
        assert transport.records.started < 100  # the others were not even looked at
    await trio.aclose_forcefully(peer.stream)


@bounded()
async def test_a_key_update_now_and_then_does_no_harm(tmp_path: Path) -> None:
    transport, peer = await record_peer(tmp_path / "keys")
    async with _run_session(transport, False, QUIET, []) as session:
        await peer.stream.send_all(peer.record(wire.syn(3)))
        stream = await session.accept_stream()
        for number in range(200):
            keys = [peer.key_update() for _ in range(_tls.MAX_USELESS - 1)] if number % 20 == 0 else []
            await peer.stream.send_all(b"".join([*keys, peer.record(wire.data(3, b"%3d" % number))]))
            assert await stream.receive_some() == b"%3d" % number
        session.kill()
    await trio.aclose_forcefully(peer.stream)


@bounded()
async def test_records_of_one_byte_are_decrypted_in_turns(tmp_path: Path) -> None:
    transport, peer = await record_peer(tmp_path / "keys")
    async with _run_session(transport, False, QUIET, []) as session:
        content = wire.syn(3) + wire.data(3, COUNTED[:10_240])
        with counting_passes(lambda: transport.records.started) as passes:
            await peer.stream.send_all(b"".join(peer.record(content[n : n + 1]) for n in range(len(content))))
            stream = await session.accept_stream()
            received = b""
            while len(received) < 256 * 40:
                received += await stream.receive_some()
        assert received == COUNTED[:10_240]
        assert 1 < passes.most_a_step <= _tls.RECORDS_A_TURN
        session.kill()
    await trio.aclose_forcefully(peer.stream)
