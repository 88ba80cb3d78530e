"""Everything that this protocol may change, changed at random while streams come and go: each has its exact bytes."""

from __future__ import annotations

import random
from math import inf
from typing import TYPE_CHECKING

import pytest
import trio

from tests.helpers.pairs import session_pair
from tests.helpers.tasks import bounded, echo, read_all

from .framing import Settings
from .scene import core_of, give_credit, settle

if TYPE_CHECKING:
    from trio.testing import MockClock

    import muxpy

STREAMS = 40


async def change_settings(session: muxpy.Session, source: random.Random) -> None:
    usual = Settings(streams=1024)
    for _ in range(60):
        settle(session, streams=source.choice([0, 3, 20]), window=source.choice([0, 300, 30_000, 65_536]))
        settle(session, frame=source.choice([100, 1_000, 5_000]))
        await trio.sleep(source.random() / 4)
    settle(session, **usual._asdict())


async def trickle_credit(session: muxpy.Session, source: random.Random) -> None:
    core_of(session).gives_credit = False
    for _ in range(60):
        give_credit(session, source.choice([1, 700, 20_000]))
        await trio.sleep(source.random() / 4)
    core_of(session).gives_credit = True
    give_credit(session, 1 << 30)


async def send(stream: muxpy.Stream, payload: bytes) -> None:
    """The direction ends with the last data, or with a frame of its own."""
    for start in range(0, len(payload), 9_000):
        last = start + 9_000 >= len(payload)
        await stream.send_all(payload[start : start + 9_000], end=last and stream.id % 2 == 0)
    await stream.send_eof()


async def talk(session: muxpy.Session, payload: bytes, priority: int, begin: float, patience: float) -> None:
    """Have a payload echoed, unless that takes too long."""
    await trio.sleep(begin)
    with trio.move_on_after(patience):
        async with await session.open_stream(priority) as stream, trio.open_nursery() as nursery:
            nursery.start_soon(send, stream, payload)
            assert await read_all(stream) == payload


@pytest.mark.parametrize("seed", range(3))
@bounded(600)
async def test_each_stream_has_its_exact_bytes(seed: int, autojump_clock: MockClock) -> None:
    source = random.Random(seed)
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_streams, echo)
        async with trio.open_nursery() as tasks:
            for session in (client, server):
                tasks.start_soon(change_settings, session, source)
                tasks.start_soon(trickle_credit, session, source)
            for number in range(STREAMS):
                payload = source.randbytes(source.randrange(100_000))
                patience = source.random() * 5 if number % 4 == 0 else inf
                tasks.start_soon(talk, client, payload, source.randrange(100), source.random() * 5, patience)
        await trio.sleep(1)
        for session in (client, server):
            assert session.end is None
            assert session.statistics().streams_waiting_to_send == 0
            assert session.statistics().streams_open == 0
        nursery.cancel_scope.cancel()
