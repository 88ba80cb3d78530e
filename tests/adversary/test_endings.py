"""How sessions end: by bugs, in order, against peers that never end, and by running out of stream ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy import ErrorCode, SessionConfig
from muxpy._errors import without_cancelled
from muxpy.proto._outbox import Outbox
from muxpy.proto._reading import Reading
from muxpy.proto._sending import Sending
from muxpy.proto.muxado._receiving import Receiving
from tests.frame import wire
from tests.helpers.inside import connection_of
from tests.helpers.load import until

from .scene import ECHOES, READS, Seen, stage

if TYPE_CHECKING:
    from collections.abc import Callable

Clock = trio.testing.MockClock

TLS = pytest.mark.parametrize("kind", ["tcp", "tls"])
ROLES = pytest.mark.parametrize("client", [True, False], ids=["client", "server"])
PIECE = bytes(16_000)
LINGER = 0.1


# ---- bugs ----


def fail_once(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, when: Callable[[], bool]) -> None:
    """Let a method raise, once, when it is time."""
    method = getattr(owner, name)
    failed = False

    def broken(*args: object, **options: object) -> object:
        nonlocal failed
        if not failed and when():
            failed = True
            raise ZeroDivisionError("a bug")
        return method(*args, **options)

    monkeypatch.setattr(owner, name, broken)


@pytest.mark.parametrize(
    ("owner", "name"),
    [(Receiving, "receive"), (Reading, "settle"), (Sending, "next_batch"), (Outbox, "_frame_updates")],
)
@TLS
async def test_a_bug_ends_the_session_and_comes_out_of_it(
    owner: type,
    name: str,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    mock_clock: Clock,
) -> None:
    armed = False
    fail_once(monkeypatch, owner, name, lambda: armed and "Background." in trio.lowlevel.current_task().name)
    caught: list[Exception] = []
    try:
        async with stage(kind, client=False, config=SessionConfig(linger_timeout=LINGER)) as scene:
            waiting = next(scene.ids)
            await scene.send(wire.syn(waiting, stream_type=READS))
            await scene.settle()
            armed, sent = True, 0
            # Data for both: the session reads, and has an answer and window updates to write. How the bytes fall into
            # reads decides which task writes, so there is more of them until it has been one of the session's own.
            while not scene.over:
                if wire.WINDOW + scene.granted[waiting] - sent >= 2 * len(PIECE):
                    sent += 2 * len(PIECE)
                    await scene.send(wire.data(scene.honest, b"x"), *[wire.data(waiting, PIECE)] * 2)
                await trio.lowlevel.checkpoint()
            while not scene.ended.is_set():  # the last words are on their way, or read, and the session lingers
                await wait_all_tasks_blocked()
                mock_clock.jump(LINGER)
            end = await scene.session.wait()
    except* ZeroDivisionError as group:  # a group only by the nurseries of the scene
        bug = without_cancelled(group)
        assert isinstance(bug, ZeroDivisionError)
        caught.append(bug)
    assert len(caught) == 1
    assert (end.code, end.error) == (ErrorCode.INTERNAL_ERROR, caught[0])
    assert scene.goaway is not None
    assert (scene.goaway.code, scene.goaway.debug) == (ErrorCode.INTERNAL_ERROR, "internal error")
    assert len(scene.errors) == 3  # both handlers, and who serves: nobody took it for the end of a stream
    assert {type(error) for error in scene.errors} == {muxpy.SessionClosed}
    assert "internal error" in caplog.text
    caplog.clear()


# ---- closing ----


@ROLES
@TLS
async def test_a_peer_that_never_finishes_is_drained_for_as_long_as_was_said(
    kind: str, client: bool, mock_clock: Clock
) -> None:
    async with stage(kind, client=client, config=SessionConfig(drain_timeout=5)) as scene:
        scene.seen.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scene.session.aclose)
            await until(lambda: scene.goaway is not None)
            assert scene.seen == [Seen("GOAWAY", 0, ErrorCode.NO_ERROR)]
            # What the peer opens meanwhile is refused, and above the last id that it was told.
            late = next(scene.ids)
            assert scene.goaway is not None
            assert int.from_bytes(scene.goaway.body[:4], "big") == scene.honest < late
            await scene.send(wire.syn(late), wire.data(late, b"x"))
            await scene.exchange()
            assert scene.seen[1:] == [Seen("RST", late, ErrorCode.REFUSED_STREAM)]
            mock_clock.jump(4.9)
            await scene.exchange()
            assert not scene.over
            mock_clock.jump(0.1)
            await scene.ended.wait()
        assert (await scene.session.wait()).error is None


@TLS
async def test_a_session_that_closes_ends_as_soon_as_the_peer_has_finished(kind: str, mock_clock: Clock) -> None:
    async with stage(kind, client=False, config=SessionConfig(drain_timeout=30, linger_timeout=30)) as scene:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scene.session.aclose)
            await until(lambda: scene.goaway is not None)
            await scene.send(wire.data(scene.honest, b"the end", fin=True))
            await scene.ended.wait()
        assert scene.seen[-1].name == "GOAWAY"
        assert (await scene.session.wait()).error is None


@TLS
async def test_a_peer_that_is_slow_to_read_gets_the_reason_all_the_same(kind: str, mock_clock: Clock) -> None:
    """It goes on sending meanwhile: closing at once would make TCP throw away what it has not read yet."""
    config = SessionConfig(linger_timeout=20)
    async with stage(kind, client=False, config=config, narrow=True) as scene:
        await scene.go_deaf()
        await scene.send(wire.syn(0))
        await until(lambda: scene.over)
        for _ in range(100):
            await scene.send(wire.data(scene.honest, PIECE))
        scene.listen()
        await scene.ended.wait()
        assert scene.goaway is not None
        assert "stream id 0 is not the peer's to open" in scene.goaway.debug


@TLS
async def test_a_peer_that_never_ends_is_waited_for_no_longer_than_said(kind: str, mock_clock: Clock) -> None:
    async with stage(kind, client=False, config=SessionConfig(linger_timeout=2)) as scene:
        scene.stays = True
        await scene.send(wire.syn(0))
        await until(lambda: scene.goaway is not None)
        await wait_all_tasks_blocked()
        mock_clock.jump(1.9)
        await wait_all_tasks_blocked()
        assert not scene.session._engine.ending.closed
        mock_clock.jump(0.1)
        await scene.session.wait()


# ---- the end of the ids ----


@ROLES
@TLS
async def test_a_session_uses_its_last_stream_id(kind: str, client: bool, mock_clock: Clock) -> None:
    async with stage(kind, client=client) as scene:
        session = scene.session
        last = 2**31 - 1 if client else 2**31 - 2
        connection_of(session)._table._next_id = last - 2
        first = await session.open_stream()
        await scene.settle()
        assert scene.goaway is None
        stream = await session.open_stream()
        assert (first.id, stream.id) == (last - 2, last)
        with pytest.raises(muxpy.SessionGoingAway, match="has used up its stream ids") as caught:
            await session.open_stream()
        assert caught.value.retryable
        await until(lambda: scene.goaway is not None)
        assert scene.goaway is not None
        assert (scene.goaway.code, scene.goaway.debug) == (ErrorCode.NO_ERROR, "stream ids are used up")
        # The last stream carries data, both ways, and so does the honest one.
        await stream.send_all(b"last")
        await scene.send(wire.data(last, b"words", fin=True))
        assert await stream.receive_some() == b"words"
        await scene.exchange()
        await stream.send_eof()
        await scene.settle()
        assert scene.seen[-2:] == [Seen("DATA", last, b"last"), Seen("FIN", last, b"")]
        first.reset()
        await scene.settle()
        assert not scene.over
        await scene.send(wire.data(scene.honest, fin=True))
        await scene.ended.wait()
        assert (await session.wait()).error is None


@ROLES
@TLS
async def test_a_peer_uses_its_last_stream_id(kind: str, client: bool, mock_clock: Clock) -> None:
    async with stage(kind, client=client) as scene:
        last = 2**31 - 2 if client else 2**31 - 1
        await scene.send(wire.syn(last, stream_type=ECHOES), wire.data(last, b"hello"))
        await until(lambda: Seen("DATA", last, b"hello") in scene.seen)
        await scene.exchange()
        await scene.send(wire.syn(next(scene.ids)))
        await scene.ended.wait()
        assert scene.goaway is not None
        assert scene.goaway.code == ErrorCode.PROTOCOL_ERROR
        assert f"is not above the last one, {last}" in scene.goaway.debug
