"""`Stream.start_splice`: no task waits for the end. That it carries the same is tested where `way` is "callback"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import assert_no_checkpoints, wait_all_tasks_blocked

import muxpy
from tests.helpers.splices import joint, reset, send
from tests.helpers.tasks import bounded, read_all

if TYPE_CHECKING:
    from tests.helpers.splices import Joint


def start(one: Joint) -> list[BaseException | None]:
    """Its ends: none so far, or one."""
    ends: list[BaseException | None] = []
    with assert_no_checkpoints():
        one.stream.start_splice(one.inner, on_end=ends.append)
    return ends


@bounded()
async def test_it_ends_when_both_directions_have_ended() -> None:
    async with joint() as one:
        ends = start(one)
        await send(one.peer, b"there")
        assert await read_all(one.outer) == b"there"
        await wait_all_tasks_blocked()
        assert not ends
        await send(one.outer, b"back")
        assert await read_all(one.peer) == b"back"
        await wait_all_tasks_blocked()
        assert ends == [None]


@bounded()
async def test_what_has_ended_already_ends_it_immediately() -> None:
    async with joint() as one:
        await send(one.peer, b"there")
        await one.stream.send_eof()
        await wait_all_tasks_blocked()
        assert start(one) == [None]
        assert await one.outer.receive_some() == b"there"


@bounded()
async def test_what_ends_it_early() -> None:
    for end in ("reset by the peer", "reset", "socket"):
        async with joint(near="tcp") as one:
            ends = start(one)
            await wait_all_tasks_blocked()
            if end == "reset by the peer":
                one.peer.reset()
            elif end == "reset":
                one.stream.reset()
                assert len(ends) == 1
            else:
                reset(one.outer)
            await wait_all_tasks_blocked()
            (error,) = ends
            expected = {"reset by the peer": muxpy.StreamReset, "reset": trio.ClosedResourceError}
            assert isinstance(error, expected.get(end, trio.BrokenResourceError))


@bounded()
async def test_the_stream_and_the_socket_are_busy_until_then_and_free_afterwards() -> None:
    async with joint() as one:
        start(one)
        with pytest.raises(trio.BusyResourceError):
            await one.stream.send_all(b"x")
        with pytest.raises(trio.BusyResourceError):
            await one.stream.receive_some()
        with pytest.raises(trio.BusyResourceError):
            one.stream.start_splice(one.inner, on_end=print)
        another = await one.another()
        with pytest.raises(trio.BusyResourceError):
            another.stream.start_splice(one.inner, on_end=print)
        await another.aclose()
        await one.peer.send_eof()
        await one.outer.send_eof()
        await wait_all_tasks_blocked()
        assert await one.stream.receive_some() == b""
        with trio.move_on_after(0.01) as readable:
            await one.inner.receive_some()
        assert not readable.cancelled_caught


@bounded()
async def test_after_a_failure_the_stream_does_not_end_in_order() -> None:
    async with joint(near="tcp") as one:
        start(one)
        await one.outer.send_all(b"part")
        assert await one.peer.receive_some() == b"part"
        reset(one.outer)
        await wait_all_tasks_blocked()
        await one.stream.aclose()
        with pytest.raises(muxpy.StreamReset):
            await one.peer.receive_some()


@bounded()
async def test_it_needs_epoll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muxpy.session._stream.has_poller", False)
    async with joint() as one:
        with pytest.raises(NotImplementedError, match="epoll"):
            one.stream.start_splice(one.inner, on_end=print)
        await one.stream.send_all(b"free")
