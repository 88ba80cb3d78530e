"""Much traffic with the live Go peer: many streams, many bytes, more streams than a backlog takes."""

from __future__ import annotations

import hashlib
import os
import random
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

import muxpy
from tests.helpers.content import named
from tests.interop.gopeer import GoPeer, GoPeerError
from tests.interop.link import check_stream, check_usable, linked, open_by, read_to_end, sha256

if TYPE_CHECKING:
    from tests.interop.link import Role

pytestmark = [pytest.mark.live_peer, pytest.mark.usefixtures("go_program")]

MIB = 1 << 20


async def exchange(stream: muxpy.Stream, peer: GoPeer, size: int) -> None:
    """Both ends send `size` random bytes and FIN while they read the other's; each hashes both directions. Half of the
    streams send FIN with the last bytes."""
    sent_by_us, read_by_us = named(stream.id, size), b""
    go_sums: dict[str, str] = {}

    async def go(command: str, **fields: object) -> None:
        go_sums[command] = (await peer.call(command, stream=stream.id, **fields))["sha256"]

    async def send() -> None:
        await stream.send_all(sent_by_us, end=bool(stream.id & 2))
        await stream.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        nursery.start_soon(go, "read_all")
        nursery.start_soon(partial(go, "write_random", size=size, seed=stream.id, fin=True))
        read_by_us = await read_to_end(stream)

    assert len(read_by_us) == size
    assert go_sums == {"read_all": sha256(sent_by_us), "write_random": sha256(read_by_us)}


async def test_a_hundred_streams_opened_by_each_side_at_once(role: Role) -> None:
    sizes = random.Random(1)
    opened_by_go: list[int] = []
    accepted_by_go: list[int] = []

    async with linked(role) as (session, peer):

        async def call_for_id(command: str, ids: list[int]) -> None:
            ids.append((await peer.call(command))["stream"])

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(call_for_id, "open", opened_by_go)
                nursery.start_soon(call_for_id, "accept", accepted_by_go)
            ours = [await session.open_stream() for _ in range(100)]
            theirs = [await session.accept_stream() for _ in range(100)]
        assert sorted(accepted_by_go) == [stream.id for stream in ours]
        assert sorted(opened_by_go) == [stream.id for stream in theirs]

        async with trio.open_nursery() as nursery:
            for stream in ours + theirs:
                nursery.start_soon(exchange, stream, peer, sizes.randrange(200_000))

        assert session.statistics().streams_refused == 0
        await check_usable(session, peer)


async def test_each_side_serves_the_other(role: Role) -> None:
    """Streams that come and go, at most 20 at once, rather than all at the start."""

    async def echo(stream: muxpy.Stream) -> None:
        async for chunk in stream:
            await stream.send_all(chunk)
        await stream.send_eof()

    async with linked(role) as (session, peer):
        await peer.call("sink_all")
        at_once = trio.CapacityLimiter(20)

        async def to_sink(seed: int) -> None:
            data = named(seed, 20_000)
            async with at_once, await session.open_stream() as stream:
                await stream.send_all(data, end=bool(seed & 1))
                await stream.send_eof()
                assert await read_to_end(stream) == f"{len(data)} {sha256(data)}\n".encode()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.serve_streams, echo)
            async with trio.open_nursery() as senders:
                for seed in range(200):
                    senders.start_soon(to_sink, seed)
                source = await peer.call("source", count=200, concurrency=20, size=100_000, seed=1)
            nursery.cancel_scope.cancel()

        assert source == {"ok": True, "succeeded": 200, "mismatches": 0, "errors": []}
        served = await peer.call("served")
        assert (served["accepted"], served["bytes"], served["errors"]) == (200, 200 * 20_000, [])


async def test_64_mib_each_way_at_once_on_one_stream(role: Role) -> None:
    size = 64 * MIB
    block = os.urandom(MIB)
    sent, received = hashlib.sha256(), hashlib.sha256()
    go_sums: dict[str, str] = {}

    async with linked(role, patience=50) as (session, peer):
        stream = await open_by("muxpy", session, peer)

        async def go(command: str, **fields: object) -> None:
            reply = await peer.call(command, stream=stream.id, **fields)
            assert reply["n"] == size
            go_sums[command] = reply["sha256"]

        async def send() -> None:
            for _ in range(size // MIB):
                sent.update(block)
                await stream.send_all(block)
            await stream.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(go, "read_all")
            nursery.start_soon(partial(go, "write_random", size=size, seed=3, fin=True))
            async for chunk in stream:
                received.update(chunk)

        assert go_sums == {"read_all": sent.hexdigest(), "write_random": received.hexdigest()}


@pytest.mark.parametrize(
    "config",
    [muxpy.SessionConfig(accept_backlog=4), muxpy.SessionConfig(max_streams=4)],
    ids=["accept_backlog", "max_streams"],
)
async def test_what_muxpy_has_no_room_for_is_refused_and_may_be_tried_again(
    role: Role, config: muxpy.SessionConfig
) -> None:
    async with linked(role, "-no-heartbeat", config=config) as (session, peer):
        ids = [(await peer.call("open"))["stream"] for _ in range(10)]

        for refused in ids[4:]:
            with pytest.raises(GoPeerError, match=r"^Stream reset by peer with error 6$"):
                await peer.call("read", stream=refused, max=1)

        statistics = session.statistics()
        assert (statistics.streams_accepted, statistics.streams_refused, statistics.backlog) == (4, 6, 4)
        for taken in ids[:4]:
            stream = await session.accept_stream()
            assert stream.id == taken
            await check_stream(stream, peer)
        await check_usable(session, peer)


async def test_fewer_streams_than_are_open_refuses_new_ones_and_leaves_those(role: Role) -> None:
    async with linked(role, "-no-heartbeat") as (session, peer):
        ids = [(await peer.call("open"))["stream"] for _ in range(6)]
        streams = [await session.accept_stream() for _ in ids]
        session.allow_streams(4)
        refused = (await peer.call("open"))["stream"]
        with pytest.raises(GoPeerError, match=r"^Stream reset by peer with error 6$"):
            await peer.call("read", stream=refused, max=1)
        for stream in streams:
            await check_stream(stream, peer)
        session.allow_streams(7)
        await check_usable(session, peer)


async def test_the_full_backlog_of_go_holds_up_nothing_but_what_goes_to_go(role: Role) -> None:
    """Go's reader waits while 100 streams are not accepted. Meanwhile muxpy opens, sends and receives."""
    finished: list[int] = []

    async with linked(role) as (session, peer):
        early = await open_by("muxpy", session, peer)

        async def round_trip(stream: muxpy.Stream) -> None:
            data = stream.id.to_bytes(4, "big") * 100
            await stream.send_all(data)
            await stream.send_eof()
            assert await read_to_end(stream) == data
            finished.append(stream.id)

        streams = [await session.open_stream() for _ in range(250)]
        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(round_trip, stream)
            for number in range(10):
                await peer.call("write", stream=early.id, data=b"beside %d" % number)
                assert await early.receive_some() == b"beside %d" % number
            by_go = await peer.call("open")
            stream = await session.accept_stream()
            await peer.call("half_close", stream=by_go["stream"], data=b"from Go")
            assert await read_to_end(stream) == b"from Go"
            await stream.aclose()
            assert finished == []

            await peer.call("echo_all")

        assert sorted(finished) == [stream.id for stream in streams]
        await check_stream(early, peer)
