"""What comes out of open_session when something breaks in the background, and what a session does after its end."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy.frame.muxado import DATA, GOAWAY, MIN_EXTENSION_TYPE, SYN
from tests.helpers.links import PipeStream, pipe_pair
from tests.helpers.raw_peer import raw_session
from tests.helpers.tasks import bounded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from muxpy.frame import Buffer
    from muxpy.proto import Changes

Clock = trio.testing.MockClock

QUIET = muxpy.SessionConfig(heartbeat_interval=None)


class Raising:
    """An extension whose task raises."""

    stream_type = MIN_EXTENSION_TYPE + 8

    def __init__(self, error: BaseException, *, go_away: bool = False) -> None:
        self.error = error
        self.go_away = go_away

    async def run(self, session: muxpy.Session, accept: muxpy.Accept) -> None:
        await trio.sleep(1)
        if self.go_away:
            session.go_away(muxpy.ErrorCode.NO_ERROR, b"soon")
        raise self.error


async def outcome(run: Callable[[], Awaitable[object]]) -> BaseException | None:
    """What comes out of `run`; also a trio.Cancelled, which would else vanish in a nursery further out."""
    try:
        await run()
    except BaseException as error:
        return error
    return None


INTERRUPTS = [KeyboardInterrupt("ctrl-c"), SystemExit(3)]


@pytest.mark.parametrize("error", INTERRUPTS, ids=lambda error: type(error).__name__)
@bounded()
async def test_an_interrupt_in_an_extension_comes_out(error: BaseException, autojump_clock: Clock) -> None:
    async def run() -> None:
        async with raw_session(config=QUIET, extensions=[Raising(error)]):
            await trio.sleep_forever()

    assert await outcome(run) is error


@pytest.mark.parametrize("error", INTERRUPTS, ids=lambda error: type(error).__name__)
@bounded()
async def test_an_interrupt_in_the_reader_comes_out(
    error: BaseException, autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(received: Buffer, most: float) -> Changes:
        raise error

    async def run() -> None:
        async with raw_session(config=QUIET) as (session, peer):
            monkeypatch.setattr(session._engine.core, "receive", interrupted)
            await peer.send(b"anything")
            await trio.sleep_forever()

    assert await outcome(run) is error


def test_an_interrupt_in_an_extension_ends_the_program() -> None:
    async def main() -> None:
        async with raw_session(config=QUIET, extensions=[Interrupted()]):
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


class Interrupted:
    """An extension in whose task the user's Ctrl-C strikes."""

    stream_type = MIN_EXTENSION_TYPE + 8

    async def run(self, session: muxpy.Session, accept: muxpy.Accept) -> None:
        signal.raise_signal(signal.SIGINT)
        await trio.sleep_forever()


@bounded()
async def test_an_interrupt_wins_over_an_error_of_the_block(autojump_clock: Clock) -> None:
    async def run() -> None:
        async with raw_session(config=QUIET, extensions=[Raising(KeyboardInterrupt())]):
            try:
                await trio.sleep_forever()
            finally:
                raise ZeroDivisionError("on the way out")

    assert isinstance(await outcome(run), KeyboardInterrupt)


@bounded()
async def test_a_cancellation_from_outside_is_no_error(autojump_clock: Clock) -> None:
    with trio.move_on_after(1) as scope:
        async with raw_session(config=QUIET):
            await trio.sleep_forever()
    assert scope.cancelled_caught


# ---- a transport that fails to close ----


class FailsToClose(PipeStream):
    """Raises from aclose, before or after it has closed."""

    closes = True

    async def aclose(self) -> None:
        if self.closes:
            await super().aclose()
        raise OSError("close failed")


@pytest.mark.parametrize("closes", [True, False])
@bounded()
async def test_a_transport_that_fails_to_close(closes: bool, autojump_clock: Clock) -> None:
    near, far = pipe_pair()
    transport = FailsToClose(near.outgoing, near.incoming)
    transport.closes = closes

    async def run() -> None:
        async with muxpy.open_session(transport, client=True, config=QUIET) as session:
            await far.aclose()
            end = await session.wait()
            assert end.error is not None
            assert "without saying GOAWAY" in str(end.error)
            await trio.sleep(1)  # and nothing is cancelled

    assert await outcome(run) is None


@bounded()
async def test_a_transport_that_fails_to_close_after_kill(autojump_clock: Clock) -> None:
    near, _ = pipe_pair()
    ends: list[muxpy.SessionEnd] = []

    async def wait(session: muxpy.Session) -> None:
        ends.append(await session.wait())

    async def run(nursery: trio.Nursery) -> None:
        transport = FailsToClose(near.outgoing, near.incoming)
        async with muxpy.open_session(transport, client=True, config=QUIET) as session:
            nursery.start_soon(wait, session)
            await wait_all_tasks_blocked()
            session.kill()

    async with trio.open_nursery() as nursery:
        assert await outcome(lambda: run(nursery)) is None
    assert [end.code for end in ends] == [muxpy.ErrorCode.CANCEL]


# ---- after the end, and around go_away ----


@bounded()
async def test_opening_a_stream_on_an_ended_session_is_safe_to_retry_on_another(autojump_clock: Clock) -> None:
    async with raw_session(config=QUIET) as (session, _):
        session.kill()
        await session.wait()
        with pytest.raises(muxpy.SessionClosed) as info:
            await session.open_stream()
        assert info.value.retryable
        assert info.value.end is not None
        assert info.value.end.code == muxpy.ErrorCode.CANCEL


@bounded()
async def test_an_internal_error_is_said_even_after_go_away(autojump_clock: Clock) -> None:
    bug = ZeroDivisionError("on purpose")
    frames = []
    with pytest.raises(ZeroDivisionError) as info:
        async with raw_session(config=QUIET, extensions=[Raising(bug, go_away=True)]) as (_, peer):
            frames = await peer.rest()
    assert info.value is bug
    assert [(frame.kind, frame.code, frame.debug) for frame in frames] == [
        (GOAWAY, muxpy.ErrorCode.NO_ERROR, "soon"),
        (GOAWAY, muxpy.ErrorCode.INTERNAL_ERROR, "internal error"),
    ]


@bounded()
async def test_go_away_with_a_wrong_argument_says_nothing_and_may_be_repeated(autojump_clock: Clock) -> None:
    async with raw_session(config=QUIET) as (session, peer):
        with pytest.raises(TypeError):
            session.go_away(debug="a string")  # type: ignore[arg-type]
        session.go_away(debug=b"bytes")
        assert (await peer.expect(GOAWAY)).debug == "bytes"
        session.kill()


class Number:
    """Something that `operator.index` takes, and no more."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


@bounded()
async def test_priority_and_stream_type_may_be_index_like(autojump_clock: Clock) -> None:
    async with raw_session(config=QUIET) as (session, peer):
        stream = await session.open_stream(Number(3), Number(5))  # type: ignore[arg-type]
        await stream.send_all(b"x")
        assert (stream.priority, stream.stream_type) == (3, 5)
        assert (await peer.expect(SYN)).body == bytes([0, 0, 0, 3, 0, 0, 0, 5])
        assert (await peer.expect(DATA)).body == b"x"
        with pytest.raises(ValueError, match="priority"):
            await session.open_stream(Number(-1))  # type: ignore[arg-type]
        session.kill()
