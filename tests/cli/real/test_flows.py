"""When a flow of datagrams is over, by Trio's clock: with the program itself, it would take a minute."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from muxpy_cli.relay import relay_datagrams
from tests.helpers.pairs import session_pair, stream_pair

if TYPE_CHECKING:
    from trio.abc import Clock

    import muxpy

EXCHANGE_IDLE = 30
CONVERSATION_IDLE = 120


class Socket:
    """What relay_datagrams needs of one."""

    def __init__(self) -> None:
        self.arrive, self._arriving = trio.open_memory_channel[bytes](10)
        self.sent: list[bytes] = []

    async def receive(self, _: int) -> bytes:
        return await self._arriving.receive()

    async def send(self, datagram: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(datagram)


async def run_flow(stream: muxpy.Stream, socket: Socket, ended: list[float]) -> None:
    async with stream:
        await relay_datagrams(stream, socket.receive, socket.send)
    ended.append(trio.current_time())


async def test_an_idle_flow_is_closed_at_both_ends(autojump_clock: Clock) -> None:
    near, far = Socket(), Socket()
    ended: list[float] = []
    async with session_pair() as (client, server):
        streams = await stream_pair(client, server)
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            for stream, socket in zip(streams, (near, far), strict=True):
                nursery.start_soon(run_flow, stream, socket, ended)
            # Either direction keeps it open; the third time that the turn changes, it has become a conversation.
            for socket, other in ((near, far), (near, far), (far, near), (near, far), (far, near)):
                await trio.sleep(EXCHANGE_IDLE - 5)
                await socket.arrive.send(b"still here")
                await trio.testing.wait_all_tasks_blocked()
                assert other.sent[-1] == b"still here"
                assert not ended
        passed = [time - begun for time in ended]
        expected = 5 * (EXCHANGE_IDLE - 5) + CONVERSATION_IDLE
        assert all(expected - 1 < seconds < expected + 1 for seconds in passed), passed
        assert len(passed) == 2


@pytest.mark.parametrize("answers", [0, 1, 3])
async def test_a_question_keeps_its_flow_for_a_short_time_only(autojump_clock: Clock, answers: int) -> None:
    near, far = Socket(), Socket()
    ended: list[float] = []
    async with session_pair() as (client, server):
        streams = await stream_pair(client, server)
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            for stream, socket in zip(streams, (near, far), strict=True):
                nursery.start_soon(run_flow, stream, socket, ended)
            await near.arrive.send(b"question")
            for _ in range(answers):
                await far.arrive.send(b"answer")
        assert len(ended) == 2
        assert all(EXCHANGE_IDLE - 1 < time - begun < EXCHANGE_IDLE + 1 for time in ended)


async def test_the_end_of_the_stream_ends_the_flow_at_once(autojump_clock: Clock) -> None:
    socket = Socket()
    ended: list[float] = []
    async with session_pair() as (client, server):
        near, far = await stream_pair(client, server)
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(run_flow, far, socket, ended))
            await near.send_all(b"\0\3one\0\0\0\6three")  # and a part of one, which is dropped
            await near.aclose()
        assert socket.sent == [b"one", b""]
        assert ended[0] - begun < 1
