"""One stream with the live Go peer: half-close, resets, what a SYN says, streams of extensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

import muxpy
from muxpy import ErrorCode
from tests.interop.gopeer import GoPeerError
from tests.interop.link import check_usable, linked, open_by, read_rest_in_go, read_to_end, until

if TYPE_CHECKING:
    from tests.interop.link import Opener, Role

pytestmark = [pytest.mark.live_peer, pytest.mark.usefixtures("go_program")]

UNREGISTERED = 0xFFFFFFF0


@pytest.fixture(params=["muxpy", "go"], ids=["opened_by_muxpy", "opened_by_go"])
def opener(request: pytest.FixtureRequest) -> Opener:
    """Who opens the stream."""
    return "muxpy" if request.param == "muxpy" else "go"


# ---- half-close ----


async def test_go_answers_after_muxpy_has_half_closed(role: Role, opener: Opener) -> None:
    async with linked(role) as (session, peer):
        stream = await open_by(opener, session, peer)

        await stream.send_all(b"question")
        await stream.send_eof()
        assert (await read_rest_in_go(peer, stream.id)) == (b"question", None)
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"more")

        await peer.call("write", stream=stream.id, data=b"a long ")
        await peer.call("half_close", stream=stream.id, data=b"answer")
        assert await read_to_end(stream) == b"a long answer"
        assert await stream.receive_some() == b""
        await check_usable(session, peer)


async def test_muxpy_answers_after_go_has_half_closed(role: Role, opener: Opener) -> None:
    async with linked(role) as (session, peer):
        stream = await open_by(opener, session, peer)

        await peer.call("half_close", stream=stream.id, data=b"question")
        assert await read_to_end(stream) == b"question"
        with pytest.raises(GoPeerError, match="Stream closed"):
            await peer.call("write", stream=stream.id, data=b"more")

        answer = bytes(200_000)  # more than a window: Go's WND_INC still come after its FIN
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, answer)
            assert (await peer.call("read_hash", stream=stream.id, n=len(answer)))["n"] == len(answer)
        await stream.send_eof()
        assert (await read_rest_in_go(peer, stream.id)) == (b"", None)
        await check_usable(session, peer)


async def test_a_second_fin_of_go_costs_no_byte(role: Role, opener: Opener) -> None:
    """Go says FIN again when it closes what it has half-closed."""
    async with linked(role) as (session, peer):
        stream = await open_by(opener, session, peer)

        await peer.call("half_close", stream=stream.id, data=b"all of it")
        await peer.call("close", stream=stream.id)
        await check_usable(session, peer)  # so both FINs have arrived

        assert await read_to_end(stream) == b"all of it"
        await stream.aclose()
        await check_usable(session, peer)


# ---- resets ----


@pytest.mark.parametrize("code", [ErrorCode.CANCEL, ErrorCode.INTERNAL_ERROR, 99])
async def test_go_sees_the_code_of_our_reset(role: Role, opener: Opener, code: int) -> None:
    async with linked(role) as (session, peer):
        stream = await open_by(opener, session, peer)

        await stream.send_all(b"sent before")
        stream.reset(code)

        # Go keeps what it had received.
        assert await read_rest_in_go(peer, stream.id) == (b"sent before", f"Stream reset by peer with error {code}")
        with pytest.raises(GoPeerError, match=f"Stream reset by peer with error {code}$"):
            await peer.call("write", stream=stream.id, data=b"x")
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()
        await check_usable(session, peer)


async def test_our_reset_wakes_a_write_of_go_that_waits_for_window(role: Role, opener: Opener) -> None:
    async with linked(role) as (session, peer):
        stream = await open_by(opener, session, peer)
        before = session.statistics().data_received
        failures: list[GoPeerError] = []

        async def write() -> None:
            with pytest.raises(GoPeerError) as caught:
                await peer.call("write_random", stream=stream.id, size=1 << 20, seed=1)
            failures.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await until(lambda: session.statistics().data_received - before >= 65536)
            stream.reset(ErrorCode.CANCEL)

        assert failures[0].message == "Stream reset by peer with error 7"
        assert failures[0].reply["n"] == 65536
        await check_usable(session, peer)


async def test_what_go_sends_to_a_stream_that_we_closed_is_cancelled(role: Role, opener: Opener) -> None:
    async with linked(role) as (session, peer):
        stream = await open_by(opener, session, peer)

        await stream.aclose()
        assert await read_rest_in_go(peer, stream.id) == (b"", None)
        await peer.call("write", stream=stream.id, data=b"nobody reads this")

        await check_usable(session, peer)  # so the answer has arrived
        with pytest.raises(GoPeerError, match="Stream reset by peer with error 7"):
            await peer.call("write", stream=stream.id, data=b"nor this")


async def test_go_resets_what_we_send_to_a_stream_that_it_closed(role: Role, opener: Opener) -> None:
    async with linked(role) as (session, peer):
        stream = await open_by(opener, session, peer)

        await peer.call("close", stream=stream.id)
        assert await stream.receive_some() == b""

        with pytest.raises(muxpy.StreamReset) as caught:  # noqa: PT012 - some sends may go out before it arrives
            while True:
                await stream.send_all(b"too late")
                await trio.sleep(0.001)
        assert caught.value.code is ErrorCode.STREAM_CLOSED
        assert caught.value.by_peer
        assert not caught.value.retryable
        await check_usable(session, peer)


async def test_a_reset_of_go_wakes_a_send_that_waits_for_window(role: Role, opener: Opener) -> None:
    async with linked(role) as (session, peer):
        stream = await open_by(opener, session, peer)

        await peer.call("close", stream=stream.id)
        assert await stream.receive_some() == b""

        with pytest.raises(muxpy.StreamReset) as caught:
            await stream.send_all(bytes(1 << 20))
        assert caught.value.code is ErrorCode.STREAM_CLOSED
        await check_usable(session, peer)


# ---- what a SYN says ----

SYN_FIELDS = [(0, 0), (7, 9), (7, 0), (0, 9), (0x7FFFFFFF, muxpy.MIN_EXTENSION_TYPE - 1)]


@pytest.mark.parametrize(("priority", "stream_type"), SYN_FIELDS)
async def test_muxpy_sees_priority_and_type(role: Role, priority: int, stream_type: int) -> None:
    async with linked(role) as (session, peer):
        opened = await peer.call("open", priority=priority, type=stream_type)
        stream = await session.accept_stream()

        assert (stream.id, stream.priority, stream.stream_type) == (opened["stream"], priority, stream_type)
        await peer.call("half_close", stream=stream.id, data=b"and the stream works")
        assert await read_to_end(stream) == b"and the stream works"
        await stream.aclose()


@pytest.mark.parametrize(("priority", "stream_type"), SYN_FIELDS)
async def test_go_sees_the_type(role: Role, priority: int, stream_type: int) -> None:
    """It reads the priority and has no use for it."""
    async with linked(role) as (session, peer):
        stream = await session.open_stream(priority, stream_type)

        assert await peer.call("accept") == {"ok": True, "stream": stream.id, "type": stream_type}
        await stream.send_all(b"and the stream works")
        await stream.send_eof()
        assert await read_rest_in_go(peer, stream.id) == (b"and the stream works", None)
        await peer.call("close", stream=stream.id)
        assert await read_to_end(stream) == b""


async def test_a_syn_with_fin_from_go_reads_as_eof(role: Role) -> None:
    """Go closes the wrong half on its side, so what we may send by the protocol is reset."""
    async with linked(role) as (session, peer):
        await peer.call("open", fin=True)
        stream = await session.accept_stream()

        assert await stream.receive_some() == b""
        await stream.send_all(b"Go does not read this")
        await check_usable(session, peer)  # so its answer has arrived
        with pytest.raises(muxpy.StreamReset) as caught:
            await stream.send_all(b"nor this")
        assert caught.value.code is ErrorCode.STREAM_CLOSED
        await check_usable(session, peer)


async def test_what_go_sends_after_its_syn_with_fin_is_reset(role: Role) -> None:
    """Its mistake lets it write there."""
    async with linked(role) as (session, peer):
        opened = await peer.call("open", fin=True)
        stream = await session.accept_stream()

        await peer.call("write", stream=opened["stream"], data=b"after the FIN")
        await check_usable(session, peer)  # so our answer has arrived

        with pytest.raises(GoPeerError, match="Stream reset by peer with error 4"):
            await peer.call("write", stream=opened["stream"], data=b"again")
        with pytest.raises(muxpy.StreamReset) as caught:
            await stream.receive_some()
        assert caught.value.code is ErrorCode.STREAM_CLOSED
        assert not caught.value.by_peer


async def test_our_syn_with_fin_does_not_upset_go(role: Role) -> None:
    """Go believes that its own half is closed: it neither reads EOF nor writes. The session goes on."""
    async with linked(role) as (session, peer):
        stream = await session.open_stream(fin=True)
        assert (await peer.call("accept"))["stream"] == stream.id

        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"x")
        with pytest.raises(GoPeerError, match="Stream closed"):
            await peer.call("write", stream=stream.id, data=b"x")
        await check_usable(session, peer)

        stream.reset()
        assert await read_rest_in_go(peer, stream.id) == (b"", "Stream reset by peer with error 7")
        await check_usable(session, peer)


# ---- extensions ----


async def test_go_resets_a_stream_of_an_extension_that_it_does_not_have(role: Role) -> None:
    async with linked(role) as (session, peer):
        stream = await session.open_stream(stream_type=UNREGISTERED)

        with pytest.raises(muxpy.StreamReset) as caught:
            await stream.receive_some()
        assert caught.value.code is ErrorCode.STREAM_CLOSED
        assert caught.value.by_peer
        assert not caught.value.retryable
        await check_usable(session, peer)


async def test_muxpy_resets_a_stream_of_an_extension_that_it_does_not_have(role: Role) -> None:
    async with linked(role) as (session, peer):
        opened = await peer.call("open", type=UNREGISTERED)

        with pytest.raises(GoPeerError, match="Stream reset by peer with error 4"):
            await peer.call("read", stream=opened["stream"], max=1)
        assert session.statistics().backlog == 0
        await check_usable(session, peer)


async def test_go_reaches_an_extension_that_is_registered(role: Role) -> None:
    class Shout:
        """Answers in capitals."""

        stream_type = UNREGISTERED

        async def run(self, session: muxpy.Session, accept: muxpy.ext.Accept) -> None:
            while True:
                async with await accept() as stream:
                    await stream.send_all((await read_to_end(stream)).upper())

    async with linked(role, extensions=[muxpy.Heartbeat(), Shout()]) as (session, peer):
        opened = await peer.call("open", type=UNREGISTERED, priority=1)
        await peer.call("half_close", stream=opened["stream"], data=b"hello")
        assert await read_rest_in_go(peer, opened["stream"]) == (b"HELLO", None)
        await check_usable(session, peer)
