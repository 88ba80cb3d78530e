"""Peers that say nothing, or too little, or have gone with their connection still open. Trio's clock is driven by the
tests; the connections are real."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy import ErrorCode, SessionConfig
from muxpy.ext import HeartbeatLost
from tests.frame import wire
from tests.helpers.load import until
from tests.helpers.pairs import session_pair, tcp_pair
from tests.helpers.raw_peer import RawPeer
from tests.helpers.tasks import bounded

from .scene import PLUG, connected, stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Clock = trio.testing.MockClock

STEP = 0.5
"""Seconds at a time: longer ones would look as if this process had been suspended."""


async def pass_time(clock: Clock, seconds: float) -> None:
    """Let time pass, and everyone do what is due."""
    for _ in range(round(seconds / STEP)):
        clock.jump(STEP)
        await wait_all_tasks_blocked()


@asynccontextmanager
async def quiet(
    kind: str, *, client: bool = False, config: SessionConfig | None = None
) -> AsyncIterator[tuple[muxpy.Session, RawPeer]]:
    """A session and its peer, which has said nothing yet."""
    async with connected(kind, client, config) as (session, far):
        await wait_all_tasks_blocked()
        yield session, RawPeer(cast("trio.abc.HalfCloseableStream", far))
        session.kill()


async def last_words(peer: RawPeer) -> tuple[int, str]:
    """The code and the text of the GOAWAY with which a session ends."""
    goaway = (await peer.rest())[-1]
    await peer.aclose()
    return goaway.code, goaway.debug


# ---- the first frame ----

PARTS = {
    "nothing": b"",
    "a byte": b"\x00",
    "half a header": wire.syn(3)[:4],
    "all of a header but a byte": wire.syn(3)[:7],
    "a header without its body": wire.syn(3, stream_type=7)[:8],
    "a GOAWAY but for its last byte": wire.goaway(0, 0, bytes(16_000))[:-1],
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_a_client_that_sends_no_whole_frame(part: str, kind: str, mock_clock: Clock) -> None:
    async with quiet(kind) as (session, peer):
        await peer.send(PARTS[part])
        await until(lambda: session.statistics().bytes_received == len(PARTS[part]))
        await pass_time(mock_clock, 9.5)
        assert session._engine.ending.end is None
        await pass_time(mock_clock, 0.5)
        assert session._engine.ending.end is not None
        assert await last_words(peer) == (ErrorCode.PROTOCOL_ERROR, "no frame was received within 10 s")
        end = await session.wait()
        assert "no frame was received within 10 s" in str(end)


@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_a_client_whose_first_frame_comes_byte_by_byte(kind: str, mock_clock: Clock) -> None:
    async with quiet(kind, config=SessionConfig(first_frame_timeout=3)) as (session, peer):
        for number, byte in enumerate(wire.syn(3, priority=1, stream_type=1)[:6]):
            assert session._engine.ending.end is None
            await peer.send(bytes([byte]))
            await until(lambda due=number: session.statistics().bytes_received > due)  # type: ignore[misc]
            await pass_time(mock_clock, STEP)
        assert session._engine.ending.end is not None
        assert (await last_words(peer))[1] == "no frame was received within 3 s"


@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_a_frame_in_time_lifts_the_limit(kind: str, mock_clock: Clock) -> None:
    config = SessionConfig(first_frame_timeout=3, heartbeat_interval=None)
    async with quiet(kind, config=config) as (session, peer):
        await pass_time(mock_clock, 2.5)
        await peer.send(wire.syn(3), wire.data(3, b"x")[:4])  # and then half of one, for ever
        await session.accept_stream()
        await pass_time(mock_clock, 30)
        assert session._engine.ending.end is None


@pytest.mark.parametrize(("client", "limit"), [(True, 3.0), (False, None)], ids=["client", "server"])
async def test_where_there_is_no_limit(client: bool, limit: float | None, mock_clock: Clock) -> None:
    config = SessionConfig(first_frame_timeout=limit, heartbeat_interval=None)
    async with quiet("tcp", client=client, config=config) as (session, _):
        await pass_time(mock_clock, 60)
        assert session._engine.ending.end is None


async def test_a_stranger_who_says_nothing_costs_two_tasks() -> None:
    """What runs the session and reads, and the writer."""
    near, far = await tcp_pair()
    await wait_all_tasks_blocked()
    before = trio.lowlevel.current_statistics().tasks_living
    async with far, muxpy.open_session(near, client=False, config=SessionConfig(wants_login=True)) as session:
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living - before == 2
        session.kill()


@bounded()
async def test_the_limit_on_a_real_clock() -> None:
    async with quiet("tcp", config=SessionConfig(first_frame_timeout=0.1)) as (session, peer):
        assert await last_words(peer) == (ErrorCode.PROTOCOL_ERROR, "no frame was received within 0.1 s")
        assert (await session.wait()).code == ErrorCode.PROTOCOL_ERROR


# ---- idle sessions ----


@pytest.mark.parametrize("client", [True, False], ids=["client", "server"])
@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_a_session_without_streams_ends_and_one_with_a_stream_does_not(
    kind: str, client: bool, mock_clock: Clock
) -> None:
    config = SessionConfig(idle_timeout=5, heartbeat_interval=None)
    async with stage(kind, client=client, config=config) as scene:
        await scene.send(wire.syn(next(scene.ids), stream_type=wire.EXTENSION))  # a heartbeat is no use of it
        for _ in range(4):
            await pass_time(mock_clock, 10)
            assert not scene.over
        await scene.send(wire.data(scene.honest, fin=True))
        await until(lambda: scene.running == 0)
        await pass_time(mock_clock, 4.5)
        assert not scene.over
        await pass_time(mock_clock, 0.5)
        assert scene.over
        await scene.ended.wait()
        assert scene.goaway is not None
        assert (scene.goaway.code, scene.goaway.debug) == (ErrorCode.NO_ERROR, "idle")
        assert (await scene.session.wait()).error is None


# ---- heartbeats ----


@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_a_peer_that_has_gone_with_its_connection_open(kind: str, mock_clock: Clock) -> None:
    async with stage(kind, client=False) as scene:
        await pass_time(mock_clock, 12.5)
        assert not scene.over
        await pass_time(mock_clock, 0.5)
        assert scene.over
        end = await scene.session.wait()
        assert isinstance(end.error, HeartbeatLost)
        assert "nothing was received for 13 s" in str(end)
        assert all(isinstance(error, muxpy.SessionClosed) for error in scene.errors)
        assert scene.errors


@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_any_byte_is_a_sign_of_life(kind: str, mock_clock: Clock) -> None:
    async with stage(kind, client=False) as scene:
        for byte in wire.data(scene.honest, b"slowly"):
            await pass_time(mock_clock, 12.5)
            assert not scene.over
            due = scene.session.statistics().bytes_received + 1
            await scene.send(bytes([byte]))
            await until(lambda due=due: scene.session.statistics().bytes_received >= due)  # type: ignore[misc]
        await pass_time(mock_clock, 13)
        assert isinstance((await scene.session.wait()).error, HeartbeatLost)


ANSWERS = {
    "reset": wire.rst(2, ErrorCode.STREAM_CLOSED),
    "ended": wire.data(2, fin=True),
    "wrong": wire.data(2, b"what"),
    "wrong in pieces": wire.data(2, b"w") * 3 + wire.data(2, b"", fin=True),
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_a_peer_whose_heartbeat_is_none(answer: str, kind: str, mock_clock: Clock) -> None:
    """The session goes on without, and does not judge the peer's silence."""
    async with stage(kind, client=False) as scene:
        await scene.send(ANSWERS[answer])
        await scene.settle()
        assert not scene.session.statistics().heartbeat
        await pass_time(mock_clock, 60)
        await scene.exchange()
        assert not scene.over


async def test_a_heartbeat_that_is_answered_late(mock_clock: Clock) -> None:
    async with stage("tcp", client=False) as scene:
        await pass_time(mock_clock, 12.5)
        await scene.send(wire.data(2, bytes(4)))
        await scene.settle()
        assert scene.session.statistics().heartbeat
        assert scene.session.statistics().latest_rtt == pytest.approx(12.5)
        await pass_time(mock_clock, 12.5)
        await scene.exchange()
        assert not scene.over


@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_the_peers_heartbeats_are_answered_whatever_their_size(kind: str, mock_clock: Clock) -> None:
    async with stage(kind, client=False) as scene:
        beat = next(scene.ids)
        await scene.send(wire.syn(beat, stream_type=wire.EXTENSION, priority=0x7FFFFFFF))
        for size in (4, 1, 7, 16_000):
            scene.seen.clear()
            await scene.send(wire.data(beat, bytes(size)))
            await until(lambda size=size: sum(len(cast("bytes", answer.value)) for answer in scene.seen) == size)  # type: ignore[misc]
            assert {answer.stream_id for answer in scene.seen} == {beat}


# ---- a peer that does not read ----


@pytest.mark.parametrize("seconds", [30.0, 7.25, None])
@pytest.mark.parametrize("kind", ["tcp", "tls"])
@pytest.mark.parametrize("client", [True, False], ids=["client", "server"])
@bounded()
async def test_the_system_is_told_how_long_data_may_wait(kind: str, client: bool, seconds: float | None) -> None:
    config = SessionConfig(tcp_user_timeout=seconds)
    milliseconds = 0 if seconds is None else 1000 * seconds
    async with connected(kind, client, config) as (session, _):  # open_session
        assert user_timeout(session) == milliseconds
        session.kill()
    if kind == "tls":  # open_tcp_session and serve_tcp_sessions
        async with session_pair("tls", client_config=config, server_config=config) as sessions:
            assert [user_timeout(session) for session in sessions] == [milliseconds] * 2
    else:
        await check_plain_server(config, milliseconds)


async def check_plain_server(config: SessionConfig, milliseconds: float) -> None:
    served: list[float] = []

    async def handle(session: muxpy.Session) -> None:
        served.append(user_timeout(session))

    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
            await muxpy.serve_tcp_sessions(handle, 0, host="127.0.0.1", config=config, task_status=task_status)

        (listener,) = await nursery.start(serve)
        async with muxpy.open_tcp_session("127.0.0.1", listener.socket.getsockname()[1], config=config) as session:
            assert user_timeout(session) == milliseconds
            await session.wait()
        nursery.cancel_scope.cancel()
    assert served == [milliseconds]


def user_timeout(session: muxpy.Session) -> float:
    """The option as the system has it, in milliseconds."""
    used: trio.socket.SocketType = session._engine.transport._socket  # type: ignore[attr-defined]
    option: int = used.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    return option


@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_a_peer_that_sends_but_never_reads_is_given_up_by_the_system(kind: str, mock_clock: Clock) -> None:
    """Any byte is a sign of life for the heartbeat: this one would be held for ever."""
    config = SessionConfig(tcp_user_timeout=0.1)
    async with stage(kind, client=False, config=config, narrow=True) as scene:
        stream = await scene.session.open_stream()
        await scene.send(wire.wnd_inc(stream.id, 2**30))
        await scene.go_deaf()
        assert scene.session.statistics().bytes_sent < 2 * PLUG
        with pytest.raises(muxpy.SessionClosed, match="timed out"):
            await stream.send_all(bytes(16 * PLUG))
        end = await scene.session.wait()
        assert isinstance(end.error, TimeoutError)


async def test_a_peer_that_neither_reads_nor_sends_is_found_by_the_heartbeat(mock_clock: Clock) -> None:
    config = SessionConfig(tcp_user_timeout=None)
    async with stage("tcp", client=False, config=config, narrow=True) as scene:
        await scene.go_deaf()
        before = scene.session.statistics()
        await pass_time(mock_clock, 13)
        assert scene.over
        end = await scene.session.wait()
        assert isinstance(end.error, HeartbeatLost)
        assert scene.session.statistics().bytes_sent == before.bytes_sent


@bounded()
async def test_where_there_is_no_such_option_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muxpy.transport._socket.TCP_USER_TIMEOUT", None)
    one, two = await tcp_pair()
    async with one, muxpy.open_session(two, client=False) as session:
        assert user_timeout(session) == 0
        session.kill()
