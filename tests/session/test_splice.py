"""`Stream.splice`: a stream and a socket joined, by the poller or, where there is no epoll, by copying."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.helpers.pairs import as_stream
from tests.helpers.splices import (
    BULK,
    WINDOW,
    both_ways,
    digest,
    joint,
    limit,
    send,
)
from tests.helpers.tasks import LIMIT, bounded, read_all

SIZES = [0, 1, 100, 4096, 4097, 16_383, 16_384, 65_535, 70_000, 131_072, 300_000, len(BULK)]
"""About the sizes of a small message, a frame, a window, a read, and more than a socket takes."""


# ---- bytes ----


@pytest.mark.parametrize("near", ["unix", "tcp"])
@pytest.mark.parametrize("kind", ["unix", "tcp", "tls", "memory", "ssl_stream_tcp"])
@bounded()
async def test_bytes_of_any_size_go_both_ways(kind: str, near: str) -> None:
    async with joint(kind, near) as one:
        for size in SIZES:
            outcome = one.start()
            await both_ways(one, BULK[:size], BULK[::-1][:size])
            await outcome.expect()
            await one.aclose()
            one = await one.another(near)
        await one.aclose()


@pytest.mark.parametrize("size", [100, len(BULK)])
@bounded()
async def test_bytes_go_both_ways_by_copying_too(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muxpy.session._stream.has_poller", False)
    async with joint() as one:
        outcome = one.start()
        await both_ways(one, BULK[:size], BULK[::-1][:size])
        await outcome.expect()


@bounded()
async def test_many_splices_on_many_sessions_share_one_poller() -> None:
    async with joint("unix") as one, joint("tls") as two, joint("memory") as three:
        all_of_them = [await each.another() for each in (one, two, three) for _ in range(20)]
        outcomes = [each.start() for each in all_of_them]
        async with trio.open_nursery() as nursery:
            for index, each in enumerate(all_of_them):
                size = 1000 * index
                nursery.start_soon(both_ways, each, BULK[index : index + size], BULK[-size:])
        for outcome in outcomes:
            await outcome.expect()
        for each in all_of_them:
            await each.aclose()


def test_each_run_has_a_poller_of_its_own() -> None:
    async def run() -> None:
        with trio.fail_after(LIMIT):
            async with joint() as one:
                outcome = one.start()
                await both_ways(one, b"there", b"back")
                await outcome.expect()

    for _ in range(3):
        trio.run(run)


@bounded()
async def test_what_had_arrived_before_the_splice_comes_first(way: str) -> None:
    async with joint() as one:
        await one.peer.send_all(b"before ")
        await wait_all_tasks_blocked()
        outcome = one.start(early=b"early ")
        await wait_all_tasks_blocked()
        await one.peer.send_all(b"after")
        await one.peer.send_eof()
        assert await read_all(one.outer) == b"early before after"
        await one.outer.send_eof()
        assert await read_all(one.peer) == b""
        await outcome.expect()


@bounded()
async def test_more_frames_in_one_read_than_the_kernel_takes_buffers() -> None:
    """1,500 small frames, each a piece of its own, and the FIN behind them."""
    async with joint() as one:
        outcome = one.start()
        await wait_all_tasks_blocked()
        parts = [b"%04d" % number for number in range(1500)]
        for part in parts:
            one.client._engine.core.sending.submit_small(one.peer._state, part)
        await one.peer.send_eof()
        assert await read_all(one.outer) == b"".join(parts)
        await one.outer.send_eof()
        await outcome.expect()


# ---- the ends of either direction ----


@bounded()
async def test_the_socket_ends_first_and_the_stream_goes_on(way: str) -> None:
    async with joint() as one:
        outcome = one.start()
        await send(one.outer, b"question")
        assert await read_all(one.peer) == b"question"
        await wait_all_tasks_blocked()
        assert not outcome.done.is_set()
        await send(one.peer, b"answer")
        assert await read_all(one.outer) == b"answer"
        await outcome.expect()


@bounded()
async def test_the_stream_ends_first_and_the_socket_goes_on(way: str) -> None:
    async with joint() as one:
        outcome = one.start()
        await send(one.peer, b"question")
        assert await read_all(one.outer) == b"question"
        await wait_all_tasks_blocked()
        assert not outcome.done.is_set()
        await send(one.outer, b"answer")
        assert await read_all(one.peer) == b"answer"
        await outcome.expect()


@bounded()
async def test_both_had_ended_before_the_splice(way: str) -> None:
    async with joint() as one:
        await send(one.peer, b"there")
        await send(one.outer, b"back")
        await wait_all_tasks_blocked()
        outcome = one.start()
        assert await read_all(one.outer) == b"there"
        assert await read_all(one.peer) == b"back"
        await outcome.expect()


@bounded()
async def test_a_socket_of_python_that_blocks(way: str) -> None:
    async with joint() as one, trio.open_nursery() as nursery:
        outer, inner = socket.socketpair()
        with inner:
            nursery.start_soon(one.stream.splice, inner)
            await both_ways(replace(one, outer=as_stream(outer)), BULK, BULK[:-1])
        outer.close()


@bounded()
async def test_a_stream_that_is_over_already_takes_no_waiting() -> None:
    """Done by the time that it would wait: a cancellation that comes then does not take that back."""
    async with joint() as one:
        await send(one.peer, b"there")
        await one.stream.send_eof()
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:

            def head(data: bytes) -> bytes:
                scope.cancel()
                return data

            await one.stream.splice(one.inner, head=head)
        assert not scope.cancelled_caught
        assert await read_all(one.outer) == b"there"


@bounded()
async def test_a_direction_that_has_ended_at_the_stream_is_not_read_from_the_socket(way: str) -> None:
    async with joint() as one:
        await one.stream.send_eof()
        await one.outer.send_all(b"for nobody")
        outcome = one.start()
        await send(one.peer, b"there")
        assert await read_all(one.outer) == b"there"
        await outcome.expect()


@bounded()
async def test_the_end_comes_while_the_socket_is_full(way: str) -> None:
    async with joint() as one:
        limit(one.inner, 4096)
        outcome = one.start()
        await send(one.peer, BULK[:WINDOW])
        await wait_all_tasks_blocked()
        assert not outcome.done.is_set()
        assert digest(await read_all(one.outer)) == digest(BULK[:WINDOW])
        await one.outer.send_eof()
        await outcome.expect()


@bounded()
async def test_the_socket_ends_while_its_last_bytes_stand_in_line(way: str) -> None:
    """Closed in both directions, even: the poller must not turn round and round for that."""
    async with joint() as one:
        outcome = one.start()
        await one.outer.send_all(BULK[:WINDOW])
        await one.outer.send_all(BULK[WINDOW : 2 * WINDOW])
        await wait_all_tasks_blocked()
        await one.outer.aclose()
        await wait_all_tasks_blocked()
        await one.peer.send_eof()
        assert digest(await read_all(one.peer)) == digest(BULK[: 2 * WINDOW])
        await outcome.expect()


@bounded()
async def test_a_socket_that_is_gone_after_its_end_costs_nothing() -> None:
    """EPOLLHUP comes unasked and again and again: the socket is watched no more. What it cannot take is an error."""
    async with joint() as one:
        outcome = one.start()
        await one.outer.aclose()
        assert await read_all(one.peer) == b""
        await wait_all_tasks_blocked()
        await one.peer.send_all(b"too late")
        await outcome.expect(trio.BrokenResourceError)


# ---- a side that is slow ----


@bounded()
async def test_a_socket_that_is_not_read_holds_the_peer_up(way: str) -> None:
    async with joint() as one:
        limit(one.inner, 4096)
        outcome = one.start()
        one.nursery.start_soon(send, one.peer, BULK)
        await wait_all_tasks_blocked()
        assert one.peer._waiting.unsent
        assert one.peer._state.send_window == 0
        state = one.stream._state
        assert state.incoming.size == WINDOW  # what merely piles up does not make it grow
        assert state.incoming.buffered <= WINDOW
        assert digest(await read_all(one.outer)) == digest(BULK)
        await one.outer.send_eof()
        await outcome.expect()


@bounded()
async def test_a_stream_that_is_not_read_holds_the_socket_up(way: str) -> None:
    async with joint() as one:
        outcome = one.start()
        sent = trio.Event()

        async def send_all() -> None:
            await send(one.outer, BULK)
            sent.set()

        one.nursery.start_soon(send_all)
        await wait_all_tasks_blocked()
        assert not sent.is_set()
        assert one.peer._state.incoming.buffered == WINDOW
        assert one.stream._waiting.unsent
        assert digest(await read_all(one.peer)) == digest(BULK)
        await one.peer.send_eof()
        await outcome.expect()


@bounded()
async def test_both_sides_are_slow_at_once() -> None:
    async with joint() as one:
        limit(one.inner, 4096)
        outcome = one.start()
        one.nursery.start_soon(send, one.peer, BULK)
        one.nursery.start_soon(send, one.outer, BULK[::-1])
        await wait_all_tasks_blocked()
        assert digest(await read_all(one.peer)) == digest(BULK[::-1])
        assert digest(await read_all(one.outer)) == digest(BULK)
        await outcome.expect()


@bounded()
async def test_a_socket_that_always_has_data_starves_nobody() -> None:
    async with joint() as one:
        two = await one.another()
        outcomes = [one.start(), two.start()]

        async def pour() -> None:
            while True:
                await one.outer.send_all(BULK)

        async def drain() -> None:
            while await one.peer.receive_some():
                pass

        async with trio.open_nursery() as flood:
            flood.start_soon(pour)
            flood.start_soon(drain)
            for _ in range(50):
                await two.outer.send_all(b"ping")
                assert await two.peer.receive_some() == b"ping"
                await two.peer.send_all(b"pong")
                assert await two.outer.receive_some() == b"pong"
            flood.cancel_scope.cancel()
        await both_ways(two, b"", b"")
        await outcomes[1].expect()
        await two.aclose()
