"""A graceful close loses no byte that was accepted."""

from __future__ import annotations

import hashlib
import random

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy.frame.muxado import RST, encode_goaway, encode_rst, encode_syn
from tests.helpers.content import named
from tests.helpers.links import Channel, pipe_pair
from tests.helpers.pairs import KINDS, session_pair, stream_pair
from tests.helpers.raw_peer import data, raw_session
from tests.helpers.tasks import LIMIT, bounded, read_all

Clock = trio.testing.MockClock

STREAMS = 20
PATIENT = muxpy.SessionConfig(drain_timeout=LIMIT)
"""However slow the machine: what is accepted has the time that it takes."""


def contents(kind: str) -> list[bytes]:
    """Random data for each stream; some more than a window, but not over the smallest of pipes."""
    largest = 3_000 if kind == "pipe" else 200_000
    sizes = random.Random(4711)
    return [named(number, sizes.randrange(largest)) for number in range(STREAMS)]


@pytest.mark.parametrize("sender", ["client", "server"])
@pytest.mark.parametrize("kind", KINDS)
@bounded()
async def test_sending_closing_and_leaving_at_once_loses_nothing(kind: str, sender: str) -> None:
    payloads = contents(kind)
    received: dict[int, str] = {}

    async with session_pair(kind, client_config=PATIENT, server_config=PATIENT) as pair:
        near, far = pair if sender == "client" else pair[::-1]

        async def send(number: int, payload: bytes) -> None:
            async with await near.open_stream(stream_type=number) as stream:
                await stream.send_all(payload)

        async def send_and_leave() -> None:
            async with near, trio.open_nursery() as senders:
                for number, payload in enumerate(payloads):
                    senders.start_soon(send, number, payload)

        async def receive(stream: muxpy.Stream) -> None:
            async with stream:
                received[stream.stream_type] = hashlib.sha256(await read_all(stream)).hexdigest()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_and_leave)
            async for stream in far:
                nursery.start_soon(receive, stream)

        assert (await near.wait()).error is None
        assert (await far.wait()).error is None

    assert received == {number: hashlib.sha256(payload).hexdigest() for number, payload in enumerate(payloads)}


@pytest.mark.parametrize("kind", KINDS)
@bounded()
async def test_what_arrived_can_be_read_after_the_session_has_ended(kind: str) -> None:
    payloads = [named(number, 5_000 if kind == "pipe" else 60_000) for number in range(5)]
    async with session_pair(kind) as (client, server):
        for payload in payloads[:-1]:
            async with await client.open_stream() as stream:
                await stream.send_all(payload)
        accepted = [await server.accept_stream() for _ in payloads[:-1]]
        async with await client.open_stream() as stream:
            await stream.send_all(payloads[-1])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.aclose)
            assert (await server.wait()).error is None

        # The last one was not even accepted while the session lived.
        accepted.append(await server.accept_stream())
        for stream, payload in zip(accepted, payloads, strict=True):
            assert await read_all(stream) == payload
            assert await stream.receive_some() == b""
        with pytest.raises(muxpy.SessionClosed):
            await server.accept_stream()


@bounded()
async def test_without_a_fin_the_end_of_the_session_is_no_end_of_data(autojump_clock: Clock) -> None:
    async with raw_session(client=False) as (session, peer):
        await peer.send(encode_syn(3), data(3, b"only a part"), encode_goaway(0, 0))
        await peer.stream.send_eof()
        stream = await session.accept_stream()
        await session.wait()
        assert await stream.receive_some(4) == b"only"
        assert await stream.receive_some() == b" a part"
        for _ in range(2):
            with pytest.raises(muxpy.SessionClosed):
                await stream.receive_some()


@bounded()
async def test_streams_that_nobody_took_are_refused_when_the_session_closes_after_go_away(
    autojump_clock: Clock,
) -> None:
    async with session_pair(client_config=PATIENT, server_config=PATIENT) as (client, server):
        near, far = await stream_pair(client, server)
        waiting = await client.open_stream()
        await wait_all_tasks_blocked()
        server.go_away()
        await wait_all_tasks_blocked()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.aclose)
            with pytest.raises(muxpy.StreamReset, match="safe to retry"):
                await waiting.receive_some()
            assert trio.current_time() == began
            await near.aclose()
            await far.aclose()


@bounded()
async def test_reads_drain_what_came_before_a_fin(autojump_clock: Clock) -> None:
    async with raw_session(client=False) as (session, peer):
        await peer.send(encode_syn(3), data(3, b"all", fin=True))
        stream = await session.accept_stream()
        await peer.aclose()
        await session.wait()
        assert await stream.receive_some(1) == b"a"
        assert await stream.receive_some() == b"ll"
        assert await stream.receive_some() == b""


@bounded()
async def test_reads_fail_after_a_reset(autojump_clock: Clock) -> None:
    async with raw_session(client=False) as (session, peer):
        await peer.send(encode_syn(3), data(3, b"unread"))
        stream = await session.accept_stream()
        assert await stream.receive_some(2) == b"un"
        await peer.send(encode_rst(3, muxpy.ErrorCode.CANCEL))
        await wait_all_tasks_blocked()
        with pytest.raises(muxpy.StreamReset):
            await stream.receive_some()
        await peer.aclose()
        await session.wait()
        with pytest.raises(muxpy.StreamReset):
            await stream.receive_some()


@pytest.mark.parametrize("rate", [100_000, 50_000, 20_000])
@bounded(600)
async def test_a_slow_link_gets_the_time_that_draining_has(rate: int, autojump_clock: Clock) -> None:
    """What was accepted from the sender still has to pass the link when the session is closed."""
    payload = named("payload", 60_000)
    one, two = pipe_pair(Channel(1024, rate=rate), Channel(1024, rate=rate))
    received = []
    async with (
        muxpy.open_session(two, client=False) as server,
        trio.open_nursery() as nursery,
    ):

        async def receive() -> None:
            stream = await server.accept_stream()
            async with stream:
                received.append(await read_all(stream))

        nursery.start_soon(receive)
        async with muxpy.open_session(one, client=True) as client:
            stream = await client.open_stream()
            await stream.send_all(payload)
            await stream.aclose()
        assert (await client.wait()).error is None
    assert received == [payload]


@bounded(600)
async def test_both_sides_send_and_leave_at_once(autojump_clock: Clock) -> None:
    payload = named("payload", 50_000)
    async with session_pair() as (client, server):
        near, far = await stream_pair(client, server)
        received = []

        async def talk(session: muxpy.Session, stream: muxpy.Stream) -> None:
            async with session, stream:
                await stream.send_all(payload)
                await stream.send_eof()
                received.append(await read_all(stream))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk, client, near)
            nursery.start_soon(talk, server, far)
        assert received == [payload, payload]
        for session in (client, server):
            assert (await session.wait()).error is None


@bounded(600)
async def test_a_stream_that_is_read_late_is_drained_too(autojump_clock: Clock) -> None:
    """The peer reads slowly; the window is what holds our last bytes back when we leave."""
    payload = named("payload", 300_000)
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        near, far = await stream_pair(client, server)
        received = bytearray()

        async def send() -> None:
            await near.send_all(payload)
            await near.send_eof()

        async def receive() -> None:
            while part := await far.receive_some(10_000):
                received.extend(part)
                await trio.sleep(0.1)
            await far.aclose()

        nursery.start_soon(receive)
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        await client.aclose()
        assert received == payload


@bounded()
async def test_data_for_a_stream_that_this_side_dropped_is_refused_not_lost_in_silence(autojump_clock: Clock) -> None:
    async with raw_session(client=False) as (session, peer):
        await peer.send(encode_syn(3))
        await (await session.accept_stream()).aclose()
        await peer.receive()
        await peer.send(data(3, b"unwanted", fin=True))
        assert (await peer.expect(RST, 3)).code == muxpy.ErrorCode.CANCEL
