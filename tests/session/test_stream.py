"""A stream keeps the contract of trio.abc.HalfCloseableStream, over every kind of transport."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import trio
from trio.testing import assert_checkpoints, check_half_closeable_stream, wait_all_tasks_blocked

import muxpy
from muxpy.frame.muxado import DATA, RST, SYN, encode_rst, encode_syn, encode_wnd_inc
from tests.helpers.content import named
from tests.helpers.pairs import KINDS, session_pair, stream_pair
from tests.helpers.raw_peer import data, raw_session
from tests.helpers.tasks import bounded, read_all

WINDOW = 65536


async def clog(near: muxpy.Stream, far: muxpy.Stream) -> None:
    """Fill the window in both directions."""
    await near.send_all(bytes(WINDOW))
    await far.send_all(bytes(WINDOW))


@pytest.mark.parametrize("opened_by", ["client", "server"])
@pytest.mark.parametrize("kind", [kind.replace("pipe", "wide_pipe") for kind in KINDS])  # 32 bytes take too long
@bounded()
async def test_trios_checks(kind: str, opened_by: str) -> None:
    async with session_pair(kind) as (client, server):
        opener, acceptor = (client, server) if opened_by == "client" else (server, client)

        async def maker() -> tuple[muxpy.Stream, muxpy.Stream]:
            return await stream_pair(opener, acceptor)

        async def clogged_maker() -> tuple[muxpy.Stream, muxpy.Stream]:
            pair = await maker()
            await clog(*pair)
            return pair

        await check_half_closeable_stream(maker, clogged_maker)


# ---- busy ----


@bounded()
async def test_one_task_at_a_time_may_send(autojump_clock: trio.testing.MockClock) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        near, far = await stream_pair(client, server)
        nursery.start_soon(near.send_all, bytes(2 * WINDOW))
        await wait_all_tasks_blocked()

        with pytest.raises(trio.BusyResourceError):
            await near.send_all(b"x")
        with pytest.raises(trio.BusyResourceError):
            await near.send_all(b"")
        with pytest.raises(trio.BusyResourceError):
            await near.send_eof()
        with pytest.raises(trio.BusyResourceError):
            await near.wait_send_all_might_not_block()

        # Receiving is another matter, and so is the other end.
        await far.send_all(b"fine")
        assert await near.receive_some() == b"fine"
        received = 0
        while received < 2 * WINDOW:
            received += len(await far.receive_some())


@bounded()
async def test_waiting_to_send_counts_as_sending(autojump_clock: trio.testing.MockClock) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        near, far = await stream_pair(client, server)
        await near.send_all(bytes(WINDOW))
        nursery.start_soon(near.wait_send_all_might_not_block)
        await wait_all_tasks_blocked()

        with pytest.raises(trio.BusyResourceError):
            await near.send_all(b"x")
        with pytest.raises(trio.BusyResourceError):
            await near.wait_send_all_might_not_block()

        received = 0
        while received < WINDOW:
            received += len(await far.receive_some())


@bounded()
async def test_one_task_at_a_time_may_receive(autojump_clock: trio.testing.MockClock) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        near, far = await stream_pair(client, server)
        nursery.start_soon(near.receive_some)
        await wait_all_tasks_blocked()

        with pytest.raises(trio.BusyResourceError):
            await near.receive_some()

        await far.send_all(b"x")


# ---- arguments ----


@pytest.mark.parametrize("wrong", [1.5, "1", b"1"], ids=["float", "str", "bytes"])
@bounded()
async def test_max_bytes_must_be_an_integer(wrong: object) -> None:
    async with session_pair() as (client, server):
        near, _ = await stream_pair(client, server)
        with pytest.raises(TypeError):
            await near.receive_some(wrong)  # type: ignore[arg-type]
        near.reset()


@pytest.mark.parametrize("wrong", [0, -1])
@bounded()
async def test_max_bytes_must_be_at_least_one(wrong: int) -> None:
    async with session_pair() as (client, server):
        near, _ = await stream_pair(client, server)
        with pytest.raises(ValueError, match="max_bytes"):
            await near.receive_some(wrong)
        near.reset()


@pytest.mark.parametrize("wrong", ["text", 5, None])
@bounded()
async def test_only_bytes_can_be_sent(wrong: object) -> None:
    async with session_pair() as (client, server):
        near, far = await stream_pair(client, server)
        with pytest.raises(TypeError):
            await near.send_all(wrong)  # type: ignore[arg-type]
        # The stream is as good as before.
        await near.send_all(b"right")
        assert await far.receive_some() == b"right"
        near.reset()


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
@bounded()
async def test_any_kind_of_bytes_can_be_sent(make: type[bytes]) -> None:
    async with session_pair() as (client, server):
        near, far = await stream_pair(client, server)
        await near.send_all(make(b"payload"))
        await near.aclose()
        assert await read_all(far) == b"payload"
        await far.aclose()


@bounded()
async def test_a_memoryview_of_larger_items_counts_in_bytes() -> None:
    async with session_pair() as (client, server):
        near, far = await stream_pair(client, server)
        await near.send_all(memoryview(bytes(range(8))).cast("I"))
        await near.aclose()
        assert await read_all(far) == bytes(range(8))
        await far.aclose()


@bounded()
async def test_max_bytes_bounds_what_is_returned() -> None:
    async with session_pair() as (client, server):
        near, far = await stream_pair(client, server)
        await near.send_all(b"abcdefgh")
        await near.aclose()
        assert [await far.receive_some(3) for _ in range(4)] == [b"abc", b"def", b"gh", b""]
        await far.aclose()


@bounded()
async def test_sending_nothing_writes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_session() as (session, peer):
        stream = await session.open_stream()
        await peer.expect(SYN, stream.id)
        before = session.statistics().frames_sent
        with assert_checkpoints():
            await stream.send_all(b"")
        await wait_all_tasks_blocked()
        assert session.statistics().frames_sent == before
        stream.reset()


# ---- closed and half-closed ----


@bounded()
async def test_after_aclose_nothing_works_any_more() -> None:
    async with session_pair() as (client, server):
        near, far = await stream_pair(client, server)
        await near.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await near.send_all(b"x")
        with pytest.raises(trio.ClosedResourceError):
            await near.send_all(b"")
        with pytest.raises(trio.ClosedResourceError):
            await near.receive_some()
        with pytest.raises(trio.ClosedResourceError):
            await near.wait_send_all_might_not_block()
        with pytest.raises(trio.ClosedResourceError):
            await near.send_eof()
        with assert_checkpoints():
            await near.aclose()
        await far.aclose()


@bounded()
async def test_after_send_eof_only_receiving_works() -> None:
    async with session_pair() as (client, server):
        near, far = await stream_pair(client, server)
        await near.send_eof()
        with assert_checkpoints():
            await near.send_eof()
        with pytest.raises(trio.ClosedResourceError):
            await near.send_all(b"x")
        with pytest.raises(trio.ClosedResourceError):
            await near.wait_send_all_might_not_block()
        await far.send_all(b"answer")
        assert await near.receive_some() == b"answer"
        await far.aclose()
        assert await near.receive_some() == b""
        await near.aclose()


# ---- whose turn it is ----


class Passes(trio.abc.Instrument):
    """Counts the passes of the scheduler."""

    def __init__(self) -> None:
        self.count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("size", [0, 100, 10_000])
@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("kind", ["unix", "tls"])
@bounded()
async def test_only_the_first_send_after_a_receive_gives_no_turn_to_others(
    kind: str, waits: bool, size: int, make: type[bytes]
) -> None:
    passes = Passes()
    async with session_pair(kind) as (client, server), trio.open_nursery() as nursery:
        near, far = await stream_pair(client, server)
        trio.lowlevel.add_instrument(passes)

        async def passes_of_a_send() -> int:
            before = passes.count
            await near.send_all(make(bytes(size)))
            return passes.count - before

        async def answer() -> None:
            for _ in range(5):  # the last ones in the lead
                assert await near.receive_some() == b"go"
                assert await passes_of_a_send() == 0
                assert await passes_of_a_send() == 1
                assert await passes_of_a_send() == 1

        async def read() -> None:
            async for _ in far:
                pass

        nursery.start_soon(read)
        if waits:
            nursery.start_soon(answer)
        for _ in range(5):
            await wait_all_tasks_blocked()
            await far.send_all(b"go")
            if not waits:
                await wait_all_tasks_blocked()
                assert await near.receive_some() == b"go"
                assert await passes_of_a_send() == 0
                assert await passes_of_a_send() == 1
        await wait_all_tasks_blocked()
        await near.send_eof()


@bounded()
async def test_the_first_send_after_a_receive_can_be_cancelled() -> None:
    async with session_pair() as (client, server):
        near, far = await stream_pair(client, server)
        await far.send_all(b"go")
        await near.receive_some()
        with trio.CancelScope() as scope:
            scope.cancel()
            await near.send_all(b"never")
        assert scope.cancelled_caught
        assert near.statistics().data_sent == 0


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 16_383, 3 * WINDOW])
@bounded()
async def test_the_last_data_ends_the_direction(
    size: int, make: type[bytes], autojump_clock: trio.testing.MockClock
) -> None:
    payload = named("payload", size)
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        near, far = await stream_pair(client, server)

        async def send(stream: muxpy.Stream) -> None:
            with assert_checkpoints() if stream is near else nullcontext():  # the other one has received
                await stream.send_all(make(payload), end=True)
            with pytest.raises(trio.ClosedResourceError, match="send_eof"):
                await stream.send_all(b"x")
            with pytest.raises(trio.ClosedResourceError, match="send_eof"):
                await stream.send_all(b"", end=True)
            await stream.send_eof()

        nursery.start_soon(send, near)
        assert await read_all(far) == payload
        nursery.start_soon(send, far)
        assert await read_all(near) == payload
        await wait_all_tasks_blocked()
        assert near._state.phase.over
        assert far._state.phase.over


@bounded()
async def test_whoever_waits_for_the_end_learns_of_it_by_the_last_data(autojump_clock: trio.testing.MockClock) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        near, far = await stream_pair(client, server)
        await far.send_eof()
        over = trio.Event()

        async def wait() -> None:
            assert await near.wait_ended() is None
            over.set()

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert not over.is_set()
        await near.send_all(b"bye", end=True)
        await over.wait()


@bounded()
async def test_closing_wakes_those_who_wait_on_the_stream(autojump_clock: trio.testing.MockClock) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        near, far = await stream_pair(client, server)
        woken = []

        async def expect_closed(name: str, operation: trio.abc.ReceiveStream | None) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await (near.receive_some() if operation is not None else near.send_all(bytes(2 * WINDOW)))
            woken.append(name)

        nursery.start_soon(expect_closed, "receiver", near)
        nursery.start_soon(expect_closed, "sender", None)
        await wait_all_tasks_blocked()
        await near.aclose()
        await wait_all_tasks_blocked()
        assert sorted(woken) == ["receiver", "sender"]
        far.reset()


@pytest.mark.parametrize("end", [False, True], ids=["more_to_come", "the_last_data"])
@bounded()
async def test_closing_under_a_sender_does_not_look_like_a_clean_end(
    end: bool, autojump_clock: trio.testing.MockClock
) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        near, far = await stream_pair(client, server)

        async def send() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await near.send_all(bytes(2 * WINDOW), end=end)

        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        await near.aclose()
        with pytest.raises(muxpy.StreamReset):
            await read_all(far)


@bounded()
async def test_closing_under_a_sender_that_has_sent_nothing_is_no_clean_end_either(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        near, far = await stream_pair(client, server)
        await near.send_all(bytes(WINDOW))

        async def send() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await near.send_all(b"the end that must not be missed")

        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        await near.aclose()
        with pytest.raises(muxpy.StreamReset):
            await read_all(far)


@bounded()
async def test_closing_under_a_task_that_only_waits_to_send_is_a_clean_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        near, far = await stream_pair(client, server)
        await near.send_all(bytes(WINDOW))

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await near.wait_send_all_might_not_block()

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        await near.aclose()
        assert len(await read_all(far)) == WINDOW


@bounded()
async def test_what_a_closed_stream_still_gets_is_answered_by_cancel(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_session() as (session, peer):
        stream = await session.open_stream()
        await peer.expect(SYN, 3)
        await stream.aclose()
        assert (await peer.expect(DATA, 3)).fin
        await peer.send(data(3, b"too late"))
        assert (await peer.expect(RST, 3)).code == muxpy.ErrorCode.CANCEL
        assert session.statistics().streams_open == 0


# ---- resets ----


@bounded()
async def test_a_reset_fails_both_directions_at_the_peer(autojump_clock: trio.testing.MockClock) -> None:
    async with session_pair(client_extensions=[], server_extensions=[]) as (client, server):
        near, far = await stream_pair(client, server)
        await near.send_all(b"unread")
        await wait_all_tasks_blocked()
        near.reset(muxpy.ErrorCode.INTERNAL_ERROR)
        await wait_all_tasks_blocked()

        for operation in (far.receive_some, far.send_eof, far.wait_send_all_might_not_block):
            with pytest.raises(muxpy.StreamReset) as caught:
                await operation()
            assert caught.value.code is muxpy.ErrorCode.INTERNAL_ERROR
            assert caught.value.by_peer
            assert not caught.value.retryable
            assert caught.value.stream_id == far.id
            assert str(caught.value) == f"stream {far.id}: the peer reset it with INTERNAL_ERROR"
        with pytest.raises(muxpy.StreamReset):
            await far.send_all(b"x")

        # Our own side closed it, so there it is simply closed.
        with pytest.raises(trio.ClosedResourceError):
            await near.receive_some()
        with pytest.raises(trio.ClosedResourceError):
            await near.send_all(b"x")
        await far.aclose()
        near.reset()
        assert client.statistics().streams_open == server.statistics().streams_open == 0


@bounded()
async def test_a_reset_wakes_those_who_wait_at_the_peer(autojump_clock: trio.testing.MockClock) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        near, far = await stream_pair(client, server)
        woken = []

        async def receive() -> None:
            with pytest.raises(muxpy.StreamReset):
                await far.receive_some()
            woken.append("receiver")

        async def send() -> None:
            with pytest.raises(muxpy.StreamReset):
                await far.send_all(bytes(2 * WINDOW))
            woken.append("sender")

        nursery.start_soon(receive)
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        near.reset()
        await wait_all_tasks_blocked()
        assert sorted(woken) == ["receiver", "sender"]


@bounded()
async def test_a_code_without_a_name_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_session() as (session, peer):
        stream = await session.open_stream()
        await peer.send(encode_rst(3, 4711))
        with pytest.raises(muxpy.StreamReset, match="the peer reset it with error 4711") as caught:
            await stream.receive_some()
        assert caught.value.code == 4711
        assert not isinstance(caught.value.code, muxpy.ErrorCode)


@bounded()
async def test_a_refusal_is_safe_to_retry(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_session() as (session, peer):
        stream = await session.open_stream()
        await peer.send(encode_rst(3, muxpy.ErrorCode.REFUSED_STREAM))
        with pytest.raises(muxpy.StreamReset, match="safe to retry") as caught:
            await stream.receive_some()
        assert caught.value.retryable


@bounded()
async def test_a_rule_broken_by_the_peer_resets_the_stream_on_this_side_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with raw_session(client=False) as (session, peer):
        await peer.send(encode_syn(3), encode_wnd_inc(3, 2**31 - 1))
        assert (await peer.expect(RST, 3)).code == muxpy.ErrorCode.FLOW_CONTROL_ERROR
        await peer.send(encode_syn(5))
        stream = await session.accept_stream()
        assert stream.id == 5  # the one that was reset meanwhile is not worth accepting
        await peer.send(encode_wnd_inc(5, 0))
        with pytest.raises(muxpy.StreamReset, match="reset for an error of the peer with PROTOCOL_ERROR") as caught:
            await stream.receive_some()
        assert not caught.value.by_peer
        assert not caught.value.retryable


@bounded()
async def test_a_code_that_no_frame_can_carry_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with session_pair() as (client, server):
        near, far = await stream_pair(client, server)
        for wrong in (-1, 2**32):
            with pytest.raises(ValueError, match="code"):
                near.reset(wrong)
        # Nothing was done: the stream still works.
        await near.send_all(b"fine")
        assert await far.receive_some() == b"fine"
        near.reset()
        far.reset()


# ---- the rest ----


@bounded()
async def test_a_stream_knows_what_it_is() -> None:
    async with session_pair() as (client, server):
        near = await client.open_stream(priority=7, stream_type=42)
        far = await server.accept_stream()
        for stream, session in ((near, client), (far, server)):
            assert stream.id == near.id
            assert stream.priority == 7
            assert stream.stream_type == 42
            assert stream.session is session
            assert stream.local_address is None
            assert stream.remote_address is None
        assert near.id % 2 == 1
        assert repr(near).startswith(f"<muxpy.Stream {near.id} open of <muxpy.Session client")
        near.reset()
        far.reset()


@bounded()
async def test_wait_send_all_might_not_block_waits_for_window(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_session() as (session, peer), trio.open_nursery() as nursery:
        stream = await session.open_stream()
        with assert_checkpoints():
            await stream.wait_send_all_might_not_block()
        await stream.send_all(bytes(WINDOW))
        done = trio.Event()

        async def wait() -> None:
            await stream.wait_send_all_might_not_block()
            done.set()

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert not done.is_set()
        await peer.send(encode_wnd_inc(stream.id, 1))
        await done.wait()
        stream.reset()


@bounded()
async def test_a_sender_never_passes_its_window(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_session() as (session, peer), trio.open_nursery() as nursery:
        stream = await session.open_stream()
        nursery.start_soon(stream.send_all, bytes(WINDOW + 10))
        await wait_all_tasks_blocked()
        await peer.expect(SYN)
        received = 0
        while received < WINDOW:
            received += len((await peer.expect(DATA)).body)
        assert received == WINDOW
        for allowed in (3, 6, 1):  # the last one is enough for all that is left
            await wait_all_tasks_blocked()
            assert session.statistics().data_sent == WINDOW
            await peer.send(encode_wnd_inc(stream.id, allowed))
        assert len((await peer.expect(DATA)).body) == 10
        await wait_all_tasks_blocked()
        stream.reset()


@bounded()
async def test_a_small_window_is_used_at_last(autojump_clock: trio.testing.MockClock) -> None:
    """A peer may keep no more than that under way, or give its window back only when all of it was used."""
    async with raw_session() as (session, peer), trio.open_nursery() as nursery:
        stream = await session.open_stream()
        nursery.start_soon(stream.send_all, bytes(WINDOW + 5000))
        await peer.expect(SYN)
        received = 0
        while received < WINDOW:
            received += len((await peer.expect(DATA)).body)
        for _ in range(2):
            await peer.send(encode_wnd_inc(stream.id, 2048))
            assert len((await peer.expect(DATA)).body) == 2048
        await peer.send(encode_wnd_inc(stream.id, 2048))
        assert len((await peer.expect(DATA)).body) == 5000 - 2 * 2048  # all that is left


@bounded()
async def test_a_receiver_gives_window_in_half_windows(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_session(client=False) as (session, peer):
        await peer.send(encode_syn(3), *[data(3, bytes(8192)) for _ in range(8)])
        stream = await session.accept_stream()
        for _ in range(4):
            assert len(await stream.receive_some(8191)) == 8191
        await wait_all_tasks_blocked()
        assert session.statistics().frames_sent == 0
        await stream.receive_some(4)
        frame = await peer.receive()
        assert frame is not None
        assert frame.name == "WND_INC"
        assert int.from_bytes(frame.body, "big") == 4 * 8191 + 4
        stream.reset()


@bounded()
async def test_opening_with_fin_only_receives(autojump_clock: trio.testing.MockClock) -> None:
    async with session_pair() as (client, server):
        near = await client.open_stream(fin=True)
        far = await server.accept_stream()
        assert await far.receive_some() == b""
        with pytest.raises(trio.ClosedResourceError):
            await near.send_all(b"x")
        await near.send_eof()
        await far.send_all(b"for you")
        await far.aclose()
        assert await read_all(near) == b"for you"
        await near.aclose()
