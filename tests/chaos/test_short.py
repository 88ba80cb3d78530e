"""The ways to end short that need a moment of their own: a part must never pass for the whole."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import muxpy
from muxpy.frame.muxado import encode_goaway, encode_syn
from tests.helpers.pairs import session_pair, stream_pair
from tests.helpers.raw_peer import data, raw_session
from tests.helpers.tasks import bounded, read_all

Clock = trio.testing.MockClock


@bounded()
async def test_an_end_between_two_frames_is_an_error_for_what_had_not_ended(autojump_clock: Clock) -> None:
    async with raw_session(client=False) as (session, peer):
        await peer.send(encode_syn(3), data(3, b"whole", fin=True), encode_syn(5), data(5, b"part"))
        whole, part = [await session.accept_stream() for _ in range(2)]
        await peer.stream.send_eof()
        end = await session.wait()
        assert str(end) == "the peer closed the connection without saying GOAWAY"
        assert await read_all(whole) == b"whole"
        assert await part.receive_some() == b"part"
        with pytest.raises(muxpy.SessionClosed, match="without saying GOAWAY"):
            await part.receive_some()


@bounded()
async def test_an_end_in_order_is_an_error_for_what_had_not_ended_too(autojump_clock: Clock) -> None:
    async with raw_session(client=False) as (session, peer):
        await peer.send(encode_syn(3), data(3, b"part"), encode_goaway(0, muxpy.ErrorCode.NO_ERROR, b""))
        stream = await session.accept_stream()
        await peer.stream.send_eof()
        assert (await session.wait()).error is None
        assert await stream.receive_some() == b"part"
        with pytest.raises(muxpy.SessionClosed):
            await stream.receive_some()


@pytest.mark.parametrize("size", [3, 30_000], ids=["small", "large"])
@bounded()
async def test_a_send_that_was_cancelled_before_it_began_does_not_end_in_order(
    size: int, autojump_clock: Clock
) -> None:
    """The deadline of several sends may be over between two of them."""
    async with session_pair() as (client, server):
        near, far = await stream_pair(client, server)
        with trio.CancelScope() as scope:
            await near.send_all(b"the first part")
            scope.cancel()
            await near.send_all(bytes(size))
        assert scope.cancelled_caught
        await near.aclose()
        with pytest.raises(muxpy.StreamReset):
            await read_all(far)
