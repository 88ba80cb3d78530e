"""Opening, sending and receiving without a checkpoint."""

from __future__ import annotations

import pytest
import trio
from trio.testing import assert_no_checkpoints, wait_all_tasks_blocked

import muxpy
from muxpy.frame.muxado import SYN
from tests.helpers.links import Channel
from tests.helpers.pairs import session_pair, stream_pair
from tests.helpers.raw_peer import raw_session
from tests.helpers.tasks import bounded, read_all

WINDOW = 64 * 1024
QUICK = muxpy.SessionConfig(drain_timeout=0)


@bounded()
async def test_open_send_and_receive() -> None:
    async with session_pair(client_config=QUICK, server_config=QUICK) as (client, server):
        with assert_no_checkpoints():
            near = client.open_stream_nowait(priority=7, stream_type=8)
            near.send_nowait(b"hello")
            near.send_nowait(b"")
        far = await server.accept_stream()
        assert (far.priority, far.stream_type) == (7, 8)
        with assert_no_checkpoints():
            assert far.receive_nowait(2) == b"he"
            assert far.receive_nowait() == b"llo"
            with pytest.raises(trio.WouldBlock):
                far.receive_nowait()
        await near.aclose()
        await wait_all_tasks_blocked()
        assert far.receive_nowait() == b""


@bounded()
async def test_a_stream_that_only_receives() -> None:
    async with session_pair(client_config=QUICK, server_config=QUICK) as (client, server):
        near = client.open_stream_nowait(fin=True)
        assert await read_all(await server.accept_stream()) == b""
        with pytest.raises(trio.ClosedResourceError):
            near.send_nowait(b"x")


@bounded()
async def test_numbers_outside_their_range() -> None:
    async with session_pair(client_config=QUICK, server_config=QUICK) as (client, _):
        with pytest.raises(ValueError, match="priority"):
            client.open_stream_nowait(priority=-1)
        with pytest.raises(TypeError, match="stream_type"):
            client.open_stream_nowait(stream_type="1")  # type: ignore[arg-type]
        near = client.open_stream_nowait()
        with pytest.raises(ValueError, match="max_bytes"):
            near.receive_nowait(0)


@bounded()
async def test_nothing_is_opened_while_too_much_is_queued() -> None:
    config = muxpy.SessionConfig(max_control_frames=16, max_streams=16, drain_timeout=0)
    outgoing = Channel(0)
    async with raw_session(config=config, outgoing=outgoing) as (session, peer):
        with pytest.raises(trio.WouldBlock):
            [session.open_stream_nowait() for _ in range(100)]
        opened = session.statistics().streams_opened
        assert 1 < opened < 30
        outgoing.capacity = 1 << 20
        outgoing._changed.unpark_all()
        for _ in range(opened):
            await peer.expect(SYN)
        await wait_all_tasks_blocked()
        session.open_stream_nowait()


@bounded()
async def test_nothing_is_opened_after_the_end() -> None:
    async with session_pair(client_config=QUICK, server_config=QUICK) as (client, server):
        server.go_away()
        await client.wait_going_away()
        with pytest.raises(muxpy.SessionGoingAway):
            client.open_stream_nowait()
        client.kill()
        with pytest.raises(muxpy.SessionClosed):
            client.open_stream_nowait()


@bounded()
async def test_what_must_wait_is_not_sent() -> None:
    async with session_pair(client_config=QUICK, server_config=QUICK) as (client, server):
        near, far = await stream_pair(client, server)
        await wait_all_tasks_blocked()  # the SYN is written
        with pytest.raises(trio.WouldBlock):
            near.send_nowait(bytes(4097))
        near.send_nowait(bytes(4096))
        await near.send_all(bytes(WINDOW - 4096))
        with pytest.raises(trio.WouldBlock):
            near.send_nowait(b"x")
        await near.send_eof()
        assert len(await read_all(far)) == WINDOW


@bounded()
async def test_one_task_at_a_time() -> None:
    async with (
        session_pair(client_config=QUICK, server_config=QUICK) as (client, server),
        trio.open_nursery() as nursery,
    ):
        near, _ = await stream_pair(client, server)
        nursery.start_soon(near.send_all, bytes(2 * WINDOW))
        nursery.start_soon(near.receive_some)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            near.send_nowait(b"x")
        with pytest.raises(trio.BusyResourceError):
            near.receive_nowait()
        nursery.cancel_scope.cancel()


@bounded()
async def test_of_a_stream_that_was_reset() -> None:
    async with session_pair(client_config=QUICK, server_config=QUICK) as (client, server):
        near, far = await stream_pair(client, server)
        far.reset()
        await wait_all_tasks_blocked()
        with pytest.raises(muxpy.StreamReset):
            near.send_nowait(b"x")
        with pytest.raises(muxpy.StreamReset):
            near.receive_nowait()
        with pytest.raises(trio.ClosedResourceError):
            far.receive_nowait()
