"""What this protocol sends beside data: heads, trailers, and frames of the peer's size."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import muxpy
from tests.helpers.links import Channel, pipe_pair
from tests.helpers.pairs import session_pair, stream_pair
from tests.helpers.tasks import bounded, read_all

from .framing import HEADER, Kind, frame
from .scene import answer_with, core_of, finish_with, open_with, settle, state_of

if TYPE_CHECKING:
    from muxpy.proto import Fields

HEADS: list[Fields] = [
    (),
    ((b"", b""),),
    ((b":method", b"GET"), (b":path", b"/"), (b"cookie", b"a"), (b"cookie", b"b")),
    ((b"binary", bytes(range(256))), (b"large", bytes(10_000))),
]


@pytest.mark.parametrize("fields", HEADS)
@bounded()
async def test_heads_and_trailers_arrive_as_they_are(fields: Fields, autojump_clock: MockClock) -> None:
    async with session_pair() as (client, server):
        near = await open_with(client, fields)
        far = await server.accept_stream()
        assert state_of(far).head == fields
        answer_with(server, far, fields[::-1])
        for one, other in ((near, far), (far, near)):
            await one.send_all(b"body")
            finish_with(one, fields)
            assert await read_all(other) == b"body"
            assert state_of(other).trailers == fields
        assert state_of(near).answer == fields[::-1]
        assert await near.wait_ended() is None


@bounded()
async def test_trailers_come_after_all_data(autojump_clock: MockClock) -> None:
    """However it was sent: from the sender's buffer, in line, or copied."""
    payload = random.Random(3).randbytes(200_000)
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        near, far = await stream_pair(client, server)

        async def send() -> None:
            for start, stop in ((0, 100), (100, 150_000), (150_000, 150_010), (150_010, 200_000)):
                await near.send_all(payload[start:stop])
            finish_with(near, ((b"sum", b"1"),))

        nursery.start_soon(send)
        assert await read_all(far) == payload
        assert state_of(far).trailers == ((b"sum", b"1"),)
        await far.aclose()


@bounded()
async def test_an_ordinary_end_has_no_trailers(autojump_clock: MockClock) -> None:
    async with session_pair() as (client, server):
        near, far = await stream_pair(client, server)
        await near.send_eof()
        assert state_of(far).trailers is None
        assert await far.receive_some() == b""
        assert state_of(far).trailers == ()
        await far.aclose()


@bounded()
async def test_a_reset_overtakes_no_head_and_nothing_follows_it(autojump_clock: MockClock) -> None:
    async with session_pair() as (client, server):
        near = await open_with(client, HEADS[2])
        near.reset()
        finish_with(near, HEADS[2])
        await wait_all_tasks_blocked()
        assert server.statistics().streams_accepted == 1
        assert server.statistics().frames_received == client.statistics().frames_sent
        assert server.end is None


# ---- frames ----


def sizes_of_data(recorded: bytearray) -> list[int]:
    sizes = []
    while recorded:
        size, kind, _ = HEADER.unpack_from(recorded)
        if kind == Kind.DATA:
            sizes.append(size)
        del recorded[: HEADER.size + size]
    return sizes


class Recorded(Channel):
    """A channel that keeps a copy of what passes."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = bytearray()

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        self.bytes += data
        await super().send(data)


async def read_and_close(stream: muxpy.Stream) -> None:
    async with stream:
        await read_all(stream)


@bounded()
async def test_frames_are_as_large_as_the_peer_takes(autojump_clock: MockClock) -> None:
    """Whichever way data goes; and of another size when the peer says so."""
    there = Recorded()
    one, two = pipe_pair(there)
    async with (
        muxpy.open_session(one, client=True) as client,
        muxpy.open_session(two, client=False) as server,
        trio.open_nursery() as nursery,
    ):
        near, far = await stream_pair(client, server)
        nursery.start_soon(read_and_close, far)
        for most in (1_000, 3_000, 500):
            settle(server, frame=most)
            await wait_all_tasks_blocked()
            there.bytes.clear()
            for size in (most, most + 1, 4_000, 50_000):
                await near.send_all(bytes(size))
                await wait_all_tasks_blocked()
            sizes = sizes_of_data(there.bytes)
            assert sum(sizes) == 2 * most + 1 + 54_000
            assert max(sizes) == most
        await near.aclose()


@bounded()
async def test_a_frame_that_is_too_large_ends_the_session(autojump_clock: MockClock) -> None:
    async with session_pair() as (client, server):
        near, _ = await stream_pair(client, server)
        core_of(client).framing.max_payload = 2_000  # it may not
        await near.send_all(bytes(1_001))
        end = await client.wait()
        assert end.remote_code == muxpy.ErrorCode.FRAME_SIZE_ERROR
        assert isinstance((await server.wait()).error, muxpy.ProtocolError)


@bounded()
async def test_a_transport_that_ends_within_a_frame_is_an_error(autojump_clock: MockClock) -> None:
    near, far = pipe_pair()
    async with muxpy.open_session(near, client=False) as session:
        await far.send_all(frame(Kind.OPEN, 1, 0, 0, 0)[:-1])
        await far.aclose()
        assert "in the middle of a frame" in str(await session.wait())
