"""Peers that vanish, stall, flood or break the rules: nothing hangs and nothing grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy.frame.muxado import (
    DATA,
    GOAWAY,
    MIN_EXTENSION_TYPE,
    RST,
    SYN,
    encode_goaway,
    encode_rst,
    encode_syn,
    encode_wnd_inc,
)
from tests.helpers.links import Channel
from tests.helpers.raw_peer import RawPeer, data, raw_session
from tests.helpers.tasks import bounded, read_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
from contextlib import suppress

Clock = trio.testing.MockClock

WINDOW = 65536


class Waiters:
    """A task in every operation that can wait; notes what each one got."""

    def __init__(self, session: muxpy.Session, stream: muxpy.Stream) -> None:
        self.session = session
        self.stream = stream
        self.errors: dict[str, Exception] = {}

    def start(self, nursery: trio.Nursery) -> None:
        for name, operation in self.operations().items():
            nursery.start_soon(self._run, name, operation)

    def operations(self) -> dict[str, Callable[[], Awaitable[object]]]:
        return {
            "receive": self.stream.receive_some,
            "send": lambda: self.stream.send_all(bytes(2 * WINDOW)),
            "accept": self.session.accept_stream,
            "listener": self.session.listener().accept,
        }

    async def _run(self, name: str, operation: Callable[[], Awaitable[object]]) -> None:
        try:
            await operation()
        except (muxpy.SessionClosed, muxpy.StreamReset) as error:
            self.errors[name] = error

    def check(self, pattern: str) -> muxpy.SessionEnd:
        """All of them failed, with the same end, whose reason says why."""
        assert sorted(self.errors) == sorted(self.operations())
        ends = []
        for error in self.errors.values():
            assert isinstance(error, muxpy.SessionClosed)
            assert pattern in str(error)
            assert error.end is not None
            assert error.__cause__ is error.end.error
            ends.append(error.end)
        assert len({id(end) for end in ends}) == 1
        return ends[0]


# ---- vanishing ----


@bounded()
async def test_a_peer_that_vanishes(autojump_clock: Clock) -> None:
    async with raw_session() as (session, peer):
        waiters = Waiters(session, await session.open_stream())
        async with trio.open_nursery() as nursery:
            waiters.start(nursery)
            await wait_all_tasks_blocked()
            await peer.aclose()
        end = waiters.check("without saying GOAWAY")
        assert end == await session.wait()
        assert end.remote_code is None
        assert end.code == muxpy.ErrorCode.INTERNAL_ERROR


@bounded()
async def test_a_peer_that_says_goaway_and_ends(autojump_clock: Clock) -> None:
    async with raw_session(client=False) as (session, peer):
        await peer.send(encode_syn(3), encode_goaway(0, 0, b"bye"))
        stream = await session.accept_stream()
        waiters = Waiters(session, stream)
        async with trio.open_nursery() as nursery:
            waiters.start(nursery)
            await wait_all_tasks_blocked()
            await peer.stream.send_eof()
        end = waiters.check("")
        assert end == muxpy.SessionEnd(0, None, 0, b"bye", by_peer=True)


@bounded()
async def test_a_goaway_with_an_error_is_the_reason_also_if_this_side_closes_first(autojump_clock: Clock) -> None:
    async with raw_session(client=False) as (session, peer):
        await peer.send(encode_goaway(0, muxpy.ErrorCode.PROTOCOL_ERROR, b"you did it wrong"))
        await wait_all_tasks_blocked()
        await session.aclose()
        end = await session.wait()
        assert end.code == muxpy.ErrorCode.PROTOCOL_ERROR
        assert str(end) == "the peer ended the session with PROTOCOL_ERROR: you did it wrong"


@bounded()
async def test_gos_goaway_of_eight_bytes_is_one_too(autojump_clock: Clock) -> None:
    async with raw_session(client=False) as (session, peer):
        await peer.send(b"\x00\x18\x00\x06\x00\x00\x00\x00" + bytes(8))  # length 24, no debug text follows
        await peer.stream.send_eof()
        assert (await session.wait()).error is None


@bounded()
async def test_a_peer_that_vanishes_inside_a_frame(autojump_clock: Clock) -> None:
    async with raw_session(client=False) as (session, peer):
        await peer.send(encode_syn(3), data(3, b"never completed")[:-1])
        waiters = Waiters(session, await session.accept_stream())
        assert await waiters.stream.receive_some() == b"never complete"
        async with trio.open_nursery() as nursery:
            waiters.start(nursery)
            await wait_all_tasks_blocked()
            await peer.stream.send_eof()
        waiters.check("in the middle of a frame")


@pytest.mark.parametrize("error", [OSError(5, "no such cable"), trio.BrokenResourceError("no such cable")])
@bounded()
async def test_a_transport_that_fails(error: Exception, autojump_clock: Clock) -> None:
    class Failing(trio.abc.Stream):
        def __init__(self) -> None:
            self.fail = trio.Event()
            self.closed = False

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await trio.lowlevel.checkpoint()

        async def wait_send_all_might_not_block(self) -> None:
            await trio.lowlevel.checkpoint()

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            await self.fail.wait()
            raise error

        async def aclose(self) -> None:
            self.closed = True
            await trio.lowlevel.checkpoint()

    transport = Failing()
    async with muxpy.open_session(transport, client=True, extensions=[]) as session:
        waiters = Waiters(session, await session.open_stream())
        async with trio.open_nursery() as nursery:
            waiters.start(nursery)
            await wait_all_tasks_blocked()
            transport.fail.set()
        assert waiters.check("no such cable").error is error
        await session.wait()
        assert transport.closed


@bounded()
async def test_a_transport_that_can_only_be_read_any_more(autojump_clock: Clock) -> None:
    """Writing fails; the peer's last words are still there to be read, and they are the better reason."""
    outgoing = Channel()
    async with raw_session(outgoing=outgoing) as (session, peer):
        stream = await session.open_stream()
        await wait_all_tasks_blocked()
        outgoing.break_off()
        with trio.move_on_after(0.5):
            await stream.send_all(b"x")
        await peer.send(encode_goaway(0, muxpy.ErrorCode.PROTOCOL_ERROR, b"you did it wrong"))
        await peer.stream.send_eof()
        end = await session.wait()
        assert end.remote_debug == b"you did it wrong"
        assert "you did it wrong" in str(end)


@bounded()
async def test_writing_that_fails_ends_the_session_even_if_the_peer_stays(autojump_clock: Clock) -> None:
    outgoing = Channel()
    async with raw_session(outgoing=outgoing) as (session, _):
        stream = await session.open_stream()
        await wait_all_tasks_blocked()
        outgoing.break_off()
        waiters = Waiters(session, stream)
        async with trio.open_nursery() as nursery:
            waiters.start(nursery)
        assert isinstance(waiters.check("the other end is gone").error, trio.BrokenResourceError)


# ---- stalling ----


@bounded()
async def test_a_peer_that_never_reads(autojump_clock: Clock) -> None:
    """Its senders wait, what it sends still arrives, and what waits for it is bounded."""
    outgoing = Channel(1000)
    config = muxpy.SessionConfig(drain_timeout=0)
    async with raw_session(outgoing=outgoing, config=config) as (session, peer), trio.open_nursery() as nursery:
        streams = [await session.open_stream() for _ in range(10)]
        sent = 0

        async def send(stream: muxpy.Stream) -> None:
            nonlocal sent
            with suppress(muxpy.SessionClosed):
                while True:
                    await stream.send_all(bytes(100_000))
                    sent += 1

        for stream in streams:
            nursery.start_soon(send, stream)
        await wait_all_tasks_blocked()
        before = session.statistics()
        for stream in streams:
            await peer.send(data(stream.id, b"are you there?"))
            assert await stream.receive_some() == b"are you there?"
        assert sent == 0
        after = session.statistics()
        # One batch was begun, and nothing was made ready beyond it.
        assert after.bytes_sent == before.bytes_sent < 200_000
        assert after.control_frames_waiting == 0
        session.kill()


@bounded()
async def test_the_reader_never_waits_for_the_application(autojump_clock: Clock) -> None:
    """Nine streams are full and unread; the tenth does not notice."""
    async with raw_session(client=False) as (session, peer):
        for number in range(9):
            stream_id = 3 + 2 * number
            await peer.send(encode_syn(stream_id), *[data(stream_id, bytes(8192)) for _ in range(8)])
        await peer.send(encode_syn(21))
        for _ in range(9):
            await session.accept_stream()
        stream = await session.accept_stream()
        for _ in range(40):
            await peer.send(data(21, bytes(8192)))
            assert len(await stream.receive_some()) == 8192
        session.kill()


@bounded()
async def test_streams_that_nobody_accepts_do_not_stall_the_others(autojump_clock: Clock) -> None:
    config = muxpy.SessionConfig(accept_backlog=10)
    async with raw_session(client=False, config=config) as (session, peer):
        await peer.send(encode_syn(3))
        stream = await session.accept_stream()
        await peer.send(*[encode_syn(stream_id) for stream_id in range(5, 205, 2)])
        await peer.send(data(3, b"still heard"))
        assert await stream.receive_some() == b"still heard"
        refused = [await peer.expect(RST) for _ in range(90)]
        assert {frame.code for frame in refused} == {muxpy.ErrorCode.REFUSED_STREAM}
        assert session.statistics().streams_refused == 90
        session.kill()


@bounded()
async def test_data_beyond_the_window_is_not_kept(autojump_clock: Clock) -> None:
    async with raw_session(client=False) as (session, peer):
        await peer.send(encode_syn(3), *[data(3, bytes(16_000)) for _ in range(5)])
        assert (await peer.expect(RST, 3)).code == muxpy.ErrorCode.FLOW_CONTROL_ERROR
        assert session.statistics().streams_open == 0


# ---- flooding ----


def reset_flood(count: int) -> bytes:
    return b"".join(encode_syn(3 + 2 * n) + encode_rst(3 + 2 * n, 7) for n in range(count))


@bounded()
async def test_a_flood_of_streams_that_are_reset_at_once(autojump_clock: Clock) -> None:
    async with raw_session(client=False) as (session, peer):
        await peer.send(reset_flood(10_000))
        await wait_all_tasks_blocked()
        statistics = session.statistics()
        assert statistics.streams_open == 0
        assert statistics.backlog <= session.config.accept_backlog
        # The session lives, and has room again once the dead ones were swept away.
        with trio.move_on_after(1):
            await session.accept_stream()
        await peer.send(encode_syn(100_001))
        assert (await session.accept_stream()).id == 100_001
        session.kill()


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(lambda n: encode_syn(3 + 2 * n), id="SYN"),
        pytest.param(lambda n: encode_syn(3 + 2 * n) + encode_rst(3 + 2 * n, 7), id="SYN_and_RST"),
        pytest.param(lambda n: encode_syn(3 + 2 * n, 0, MIN_EXTENSION_TYPE + 5), id="unknown_extension"),
        pytest.param(lambda n: encode_syn(3 + 2 * n) + encode_wnd_inc(3 + 2 * n, 0), id="WND_INC_of_0"),
        pytest.param(lambda n: encode_syn(3 + 2 * n, fin=True) + data(3 + 2 * n, b"x"), id="DATA_after_FIN"),
    ],
)
@bounded()
async def test_a_flood_whose_answers_are_not_read_ends_the_session(
    flood: Callable[[int], bytes], autojump_clock: Clock
) -> None:
    outgoing = Channel(100)
    config = muxpy.SessionConfig(max_control_frames=500, max_streams=100, accept_backlog=10)
    most_waiting = 0
    async with raw_session(client=False, config=config, outgoing=outgoing) as (session, peer):
        stream = await session.open_stream()
        async with trio.open_nursery() as nursery:

            async def receive() -> None:
                with pytest.raises(muxpy.SessionClosed, match="does not read its answers"):
                    await stream.receive_some()
                nursery.cancel_scope.cancel()

            nursery.start_soon(receive)
            for number in range(5_000):
                await peer.send(flood(number))
                most_waiting = max(most_waiting, session.statistics().control_frames_waiting)
        end = await session.wait()
        assert isinstance(end.error, muxpy.ProtocolError)
        assert "does not read its answers" in end.error.reason
        assert end.code == end.error.code
        # The queue was bounded by the configured number, and a read's worth that came with the last of them.
        assert 0 < most_waiting < 500 + 65536 // 8


# ---- breaking the rules ----


@pytest.mark.parametrize(
    ("frames", "code", "reason"),
    [
        pytest.param(encode_syn(2), 1, "not the peer's to open", id="SYN_of_our_parity"),
        pytest.param(encode_syn(0), 1, "not the peer's to open", id="SYN_of_id_0"),
        pytest.param(
            encode_syn(5, 0, MIN_EXTENSION_TYPE) + encode_syn(3), 1, "not above the last one", id="SYN_going_back"
        ),
        pytest.param(data(9, b"x"), 1, "never opened", id="DATA_for_nothing"),
        pytest.param(encode_rst(9, 0), 1, "never opened", id="RST_for_nothing"),
        pytest.param(encode_wnd_inc(9, 1), 1, "never opened", id="WND_INC_for_nothing"),
        pytest.param(b"\x00\x05\x00\x02\x00\x00\x00\x03", 5, "has a length of 5", id="RST_too_long"),
        pytest.param(b"\x00\x00\x00\x05\x00\x00\x00\x03", 1, "illegal frame type 5", id="STREAM_PRI"),
    ],
)
@bounded()
async def test_a_broken_rule_ends_the_session_with_its_reason(
    frames: bytes, code: int, reason: str, autojump_clock: Clock
) -> None:
    async with raw_session(client=False) as (session, peer):
        stream = await session.open_stream()
        await peer.expect(SYN, stream.id)
        waiters = Waiters(session, stream)
        async with trio.open_nursery() as nursery:
            waiters.start(nursery)
            await wait_all_tasks_blocked()
            sent = 0
            while sent < WINDOW:
                sent += len((await peer.expect(DATA, stream.id)).body)
            await peer.send(frames, encode_syn(101))  # nothing after the broken rule counts
            goaway = (await peer.rest())[-1]
            assert goaway.kind == GOAWAY
            assert goaway.code == code
            assert reason in goaway.debug
        end = waiters.check(reason)
        assert isinstance(end.error, muxpy.ProtocolError)
        assert end.code == end.error.code == code
        for operation in (session.open_stream, session.accept_stream, session.dial, stream.receive_some):
            with pytest.raises(muxpy.SessionClosed, match=reason.split()[0]):
                await operation()
        with pytest.raises(muxpy.SessionClosed):
            await session.serve_streams(read_all)


@bounded()
async def test_the_reason_is_written_before_the_transport_closes(autojump_clock: Clock) -> None:
    """Even to a peer that reads slowly, and in front of the bulk data that waits."""
    outgoing = Channel(64)
    async with raw_session(client=False, outgoing=outgoing) as (session, peer), trio.open_nursery() as nursery:
        stream = await session.open_stream()

        async def send() -> None:
            with pytest.raises(muxpy.SessionClosed):
                await stream.send_all(bytes(2 * WINDOW))

        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        await peer.send(encode_syn(2))
        frames = await peer.rest()
        assert frames[-1].name == "GOAWAY"
        assert "not the peer's to open" in frames[-1].debug


@bounded()
async def test_a_peer_that_breaks_a_rule_and_reads_nothing_holds_nobody_up(autojump_clock: Clock) -> None:
    outgoing = Channel(0)
    start = trio.current_time()
    async with raw_session(client=False, outgoing=outgoing) as (session, peer):
        await session.open_stream()
        await peer.send(encode_syn(2))
        end = await session.wait()
        assert isinstance(end.error, muxpy.ProtocolError)
    assert trio.current_time() - start <= session.config.linger_timeout


@bounded()
async def test_a_scripted_peer_shows_what_it_gets() -> None:
    """The helper itself: frames that come in pieces are put together."""
    async with raw_session() as (session, peer):
        stream = await session.open_stream()
        await stream.send_all(b"x" * 20_000)
        await stream.aclose()
        frames = [await peer.receive() for _ in range(4)]
        assert [frame.name for frame in frames if frame] == ["SYN", "DATA", "DATA", "DATA"]
        assert b"".join(frame.body for frame in frames if frame) == b"x" * 20_000
        assert isinstance(peer, RawPeer)
        await peer.aclose()
