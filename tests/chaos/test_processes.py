"""Ends that are killed and stopped, in processes of their own."""

from __future__ import annotations

import pytest
import trio

import muxpy
from tests.helpers.tasks import LIMIT

from .end import HOST
from .processes import Load, child, loaded, until

QUICK = muxpy.SessionConfig(heartbeat_interval=0.2, heartbeat_tolerance=1.8)
QUICK_CHILD = ("--interval", "0.2", "--tolerance", "1.8")
LONG_STOP = 3.2
"""Seconds: more than QUICK allows for silence, and enough to count as a suspension."""
LOST = ("closed the connection without", "reset by peer", "Broken pipe", "in the middle of a frame")


def check_lost(session_end: muxpy.SessionEnd, load: Load) -> None:
    """The session says in words what happened, and so does each stream."""
    assert isinstance(session_end.error, (trio.BrokenResourceError, OSError, muxpy.ProtocolError))
    assert any(words in str(session_end) for words in LOST)
    assert load.whole == 0
    assert len(load.errors) == len(load.messages)
    for error in load.errors:
        assert isinstance(error, muxpy.SessionClosed)
        assert str(session_end) in str(error)


async def test_a_listening_end_that_is_killed_under_load() -> None:
    with trio.fail_after(LIMIT):
        async with child("serve") as end, loaded(await end.port()) as (session, load):
            end.process.kill()
            ended = await session.wait()
        check_lost(ended, load)


async def test_a_connecting_end_that_is_killed_under_load() -> None:
    with trio.fail_after(LIMIT):
        [listener] = await trio.open_tcp_listeners(0, host=HOST)
        async with (
            listener,
            child("connect", str(listener.socket.getsockname()[1])) as end,
            muxpy.open_session(await listener.accept(), client=False) as session,
            trio.open_nursery() as nursery,
        ):
            load = Load(session)
            nursery.start_soon(load.run)
            await load.more()
            end.process.kill()
            ended = await session.wait()
        check_lost(ended, load)


async def test_a_short_stop_goes_unnoticed() -> None:
    with trio.fail_after(LIMIT):
        async with child("serve") as end:
            async with loaded(await end.port()) as (session, load):
                await end.stop()
                await load.stuck()
                end.go_on()
                await load.more()
            assert load.errors == []
            assert load.whole == len(load.messages)
            assert (await session.wait()).error is None
            assert (await end.said("end"))["error"] is None


async def test_a_peer_that_is_stopped_for_long_is_dead_and_learns_so_when_it_goes_on() -> None:
    with trio.fail_after(LIMIT):
        async with child(*QUICK_CHILD, "serve") as end:
            async with loaded(await end.port(), QUICK) as (session, load):
                await end.stop()
                ended = await session.wait()
            assert isinstance(ended.error, muxpy.HeartbeatLost)
            assert len(load.errors) == len(load.messages)
            assert all(isinstance(error.__cause__, muxpy.HeartbeatLost) for error in load.errors)
            end.go_on()
            # What the other side did is there to be read, and says more than its own silence.
            heard = await end.said("end")
            assert heard["error"] in ("BrokenResourceError", "ConnectionResetError", "ProtocolError", "BrokenPipeError")
            async with loaded(await end.port()) as (_, again):
                pass
            assert again.whole == len(again.messages)


@pytest.mark.parametrize("beats", [True, False], ids=["peer_beats", "peer_is_silent"])
async def test_an_end_does_not_blame_its_peer_for_its_own_sleep(beats: bool) -> None:
    config = muxpy.SessionConfig(heartbeat_interval=0.2 if beats else None, heartbeat_tolerance=20)
    with trio.fail_after(LIMIT):
        async with child(*QUICK_CHILD, "serve") as end:
            async with muxpy.open_tcp_session(HOST, await end.port(), config=config) as session:
                # Between two beats of the child, so that no answer waits for it when it goes on.
                await until(lambda: session.statistics().data_received >= 3 * 4)
                await trio.sleep(0.05)
                await end.stop()
                await trio.sleep(LONG_STOP)
                end.go_on()
                load = Load(session)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(load.run)
                    await load.more()
                    load.finish()
            assert load.whole == len(load.messages)
            assert (await end.said("end"))["error"] is None


async def test_an_end_that_has_slept_still_finds_a_dead_peer() -> None:
    """It gives the peer the whole time again, and no more."""
    with trio.fail_after(LIMIT):
        [listener] = await trio.open_tcp_listeners(0, host=HOST)
        port = listener.socket.getsockname()[1]
        async with listener, child(*QUICK_CHILD, "connect", str(port)) as end, await listener.accept():
            await end.said("begin")
            await end.stop()
            await trio.sleep(LONG_STOP)
            end.go_on()
            assert (await end.said("end"))["error"] == "HeartbeatLost"
