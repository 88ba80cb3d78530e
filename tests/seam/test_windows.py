"""The peer's settings shift the windows of all streams, even to below zero."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from muxpy.proto._outgoing import SLIVER
from tests.helpers.pairs import session_pair, stream_pair
from tests.helpers.tasks import Wakeups, bounded, read_all

from .scene import core_of, give_credit, settle, state_of

if TYPE_CHECKING:
    import muxpy

WINDOW = 65_536


async def announce(session: muxpy.Session, window: int) -> None:
    settle(session, window=window)
    await wait_all_tasks_blocked()


def windows(*streams: muxpy.Stream) -> list[int]:
    return [state_of(stream).send_window for stream in streams]


@bounded()
async def test_all_windows_shift_and_those_of_later_streams(autojump_clock: MockClock) -> None:
    async with session_pair() as (client, server):
        used, _ = await stream_pair(client, server)
        await used.send_all(bytes(60_000))
        unused, _ = await stream_pair(client, server)
        await announce(server, 1_000)
        later, _ = await stream_pair(client, server)
        assert windows(used, unused, later) == [-59_000, 1_000, 1_000]
        assert used.statistics().send_window == 0  # what it may send now
        await announce(server, WINDOW)
        assert windows(used, unused, later) == [WINDOW - 60_000, WINDOW, WINDOW]
        client.kill()


@bounded()
async def test_a_sender_waits_until_its_window_is_above_zero(autojump_clock: MockClock) -> None:
    """What the receiver gives back meanwhile only brings it nearer."""
    payload = random.Random(8).randbytes(100_000)
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        near, far = await stream_pair(client, server)
        await near.send_all(payload[:60_000])
        await announce(server, 0)

        async def send() -> None:
            await near.wait_send_all_might_not_block()
            assert windows(near) > [0]
            await near.send_all(payload[60_000:])
            await near.aclose()

        nursery.start_soon(send)
        received = await far.receive_some(40_000)
        while len(received) < 40_000:
            received += await far.receive_some(40_000 - len(received))
        with Wakeups() as steps:
            await trio.sleep(60)
        assert -60_000 < windows(near)[0] < 0
        assert steps.count <= 10  # the window update, and nobody after it
        await announce(server, WINDOW)
        assert received + await read_all(far) == payload


@bounded()
async def test_a_window_that_shrinks_under_a_stream_in_line_holds_it_back(autojump_clock: MockClock) -> None:
    payload = random.Random(9).randbytes(30_000)
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        core_of(server).gives_credit = False
        near, far = await stream_pair(client, server)
        nursery.start_soon(near.send_all, payload)
        await wait_all_tasks_blocked()
        assert client.statistics().streams_waiting_to_send == 1
        before = state_of(far).incoming.buffered
        await announce(server, 0)
        give_credit(server, 100_000)
        with Wakeups() as steps:
            await trio.sleep(60)
        assert steps.count < 20
        assert state_of(far).incoming.buffered == before
        assert client.statistics().streams_waiting_to_send == 0
        await announce(server, WINDOW)
        await near.aclose()
        assert await read_all(far) == payload


@bounded()
async def test_a_crumb_that_is_taken_back_is_no_crumb(autojump_clock: MockClock) -> None:
    """That the peer gives so little cannot be told from it."""
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        near, far = await stream_pair(client, server)
        await near.send_all(bytes(WINDOW - 300))
        nursery.start_soon(near.send_all, bytes(10_000))
        await wait_all_tasks_blocked()
        await announce(server, WINDOW - 1_000)
        with Wakeups() as steps:
            await trio.sleep(60)
        assert steps.count <= 10
        outgoing = state_of(near).outgoing
        assert outgoing is not None
        assert outgoing.sliver == SLIVER
        await announce(server, WINDOW)
        while state_of(near).unsent:
            await far.receive_some()


@bounded()
async def test_a_thousand_settings_leave_every_stream_as_it_was(autojump_clock: MockClock) -> None:
    """In frames of one read, so that a stream is told once, if at all."""
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        pairs = [await stream_pair(client, server) for _ in range(5)]
        for near, _ in pairs:
            await near.send_all(bytes(WINDOW))
            nursery.start_soon(near.send_all, b"the end")
        await wait_all_tasks_blocked()
        for number in range(1_000):
            settle(server, window=WINDOW if number % 2 else 0)
        await wait_all_tasks_blocked()
        assert windows(*(near for near, _ in pairs)) == [0] * 5
        nursery.cancel_scope.cancel()
