"""How sessions with the live Go peer end: its Close, its GoAway, ours, and peers that vanish."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import muxpy
from tests.helpers.content import named
from tests.interop.gopeer import GoPeerError
from tests.interop.link import QUIET, check_stream, linked, open_by, read_rest_in_go, read_to_end, sha256, until

if TYPE_CHECKING:
    from tests.interop.link import Role

pytestmark = [pytest.mark.live_peer, pytest.mark.usefixtures("go_program")]


# ---- Go ends it ----


async def test_the_close_of_go_is_a_clean_end(role: Role) -> None:
    async with linked(role, "-no-heartbeat", config=QUIET) as (session, peer):
        stream = await open_by("muxpy", session, peer)
        await peer.call("write", stream=stream.id, data=b"last words")
        await peer.call("session_close")

        end = await session.wait()
        assert (end.code, end.error, end.remote_code, end.remote_debug) == (0, None, 0, b"")
        assert await stream.receive_some() == b"last words"
        with pytest.raises(muxpy.SessionClosed) as caught:
            await stream.receive_some()
        assert caught.value.end == end
        with pytest.raises(muxpy.SessionClosed):
            await session.open_stream()
        assert [stream async for stream in session] == []


async def test_the_close_of_go_wakes_everyone_who_waits(role: Role) -> None:
    woken: list[str] = []

    async with linked(role, "-no-heartbeat", config=QUIET) as (session, peer):
        receiving = await open_by("muxpy", session, peer)
        sending = await open_by("go", session, peer)

        async def receive() -> None:
            with pytest.raises(muxpy.SessionClosed):
                await receiving.receive_some()
            woken.append("receive_some")

        async def send() -> None:
            with pytest.raises(muxpy.SessionClosed):
                await sending.send_all(bytes(1 << 20))
            woken.append("send_all")

        async def accept() -> None:
            with pytest.raises(muxpy.SessionClosed):
                await session.accept_stream()
            woken.append("accept_stream")

        async with trio.open_nursery() as nursery:
            for task in (receive, send, accept):
                nursery.start_soon(task)
            # What Go receives on a later stream shows that it has read the 64 KiB that the window lets through,
            # so it closes with nothing unread.
            await trio.testing.wait_all_tasks_blocked()
            await check_stream(await open_by("muxpy", session, peer), peer)
            await peer.call("session_close")

        assert sorted(woken) == ["accept_stream", "receive_some", "send_all"]
        end = await session.wait()
        assert (end.code, end.error, end.remote_code) == (0, None, 0)


async def test_a_close_of_go_in_the_middle_of_our_traffic(role: Role) -> None:
    """TCP resets a connection that is closed with bytes unread, and may drop the GOAWAY with it."""
    async with linked(role) as (session, peer):
        await peer.call("sink_all")

        async def flood() -> None:
            stream = await session.open_stream()
            with pytest.raises(muxpy.SessionClosed):  # noqa: PT012 - some sends go out before
                while True:
                    await stream.send_all(bytes(100_000))

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(flood)
            await trio.sleep(0.1)
            await peer.call("session_close")

        end = await session.wait()
        if end.error is None:
            assert (end.code, end.remote_code) == (0, 0)
        else:
            assert isinstance(end.error, ConnectionError)


async def test_the_end_of_go_with_an_error_code_is_an_error(role: Role) -> None:
    async with linked(role, "-no-heartbeat", config=QUIET) as (session, peer):
        await peer.call("goaway", code=2, debug=b"never sent")
        await peer.call("session_close")

        end = await session.wait()
        assert (end.code, end.remote_code, end.remote_debug) == (2, 2, b"")
        assert "INTERNAL_ERROR" in str(end.error)


@pytest.mark.parametrize("how", ["kill", "SIGKILL"])
async def test_a_go_peer_that_vanishes_is_an_error(role: Role, how: str) -> None:
    """No GOAWAY: open streams cannot know whether that was all."""
    async with linked(role, "-no-heartbeat", config=QUIET) as (session, peer):
        stream = await open_by("go", session, peer)

        if how == "kill":
            await peer.call("kill")
        else:
            peer.signal(signal.SIGKILL)

        with pytest.raises(muxpy.SessionClosed) as caught:
            await stream.receive_some()
        end = await session.wait()
        assert end.code == muxpy.ErrorCode.INTERNAL_ERROR
        assert isinstance(end.error, trio.BrokenResourceError)
        assert caught.value.__cause__ is end.error
        assert end.remote_code is None


# ---- Go goes away and stays ----


async def heartbeat_answered(session: muxpy.Session) -> None:
    """Go refuses a SYN that crosses its GOAWAY, and ends the session for DATA after that: let ours be over with."""
    await until(lambda: session.statistics().heartbeat)


@pytest.mark.parametrize("debug", [b"", b"down for maintenance", bytes(1000)], ids=["bare", "debug", "long_debug"])
async def test_open_streams_go_on_after_the_goaway_of_go(role: Role, debug: bytes) -> None:
    """Its GOAWAY has a length of 16 + len(debug) and 8 bytes; the next frame follows at once."""
    async with linked(role) as (session, peer):
        ours, theirs = await open_by("muxpy", session, peer), await open_by("go", session, peer)
        await heartbeat_answered(session)

        await peer.call("goaway", code=0, debug=debug)
        # Frames come in order: what follows the GOAWAY shows that it has arrived.
        await peer.call("write", stream=ours.id, data=b"after")
        assert await ours.receive_some() == b"after"

        with pytest.raises(muxpy.SessionGoingAway) as caught:
            await session.open_stream()
        assert caught.value.retryable
        for stream in (ours, theirs):
            await check_stream(stream, peer)
        # It is Go that takes no more streams; it may open its own.
        await check_stream(await open_by("go", session, peer), peer)

        await session.aclose()
        end = await session.wait()
        assert (end.code, end.error, end.remote_code) == (0, None, 0)


async def test_the_code_of_a_goaway_of_go_arrives(role: Role) -> None:
    async with linked(role) as (session, peer):
        stream = await open_by("go", session, peer)
        await heartbeat_answered(session)

        await peer.call("goaway", code=99, debug=b"never sent")
        await check_stream(stream, peer)

        await session.aclose()
        end = await session.wait()
        assert (end.remote_code, end.remote_debug) == (99, b"")


async def test_streams_that_cross_the_goaway_of_go_are_safe_to_retry(role: Role) -> None:
    async with linked(role, "-no-heartbeat", config=QUIET) as (session, peer):
        accepted = await open_by("muxpy", session, peer)
        # Go's reader stops at the 101st that nobody accepts, so it cannot have seen the last 49 before it goes away.
        streams = [await session.open_stream() for _ in range(150)]
        await peer.call("goaway", code=0)

        refused = []
        for stream in reversed(streams[101:]):
            with pytest.raises(muxpy.StreamReset) as caught:
                await stream.receive_some()
            refused.append((caught.value.code, caught.value.retryable))
        assert refused == 49 * [(muxpy.ErrorCode.REFUSED_STREAM, True)]

        # Once Go reads on it refuses them too. The one that it had taken works, and so does the session.
        await peer.call("echo_all")
        await check_stream(accepted, peer)
        for stream in streams:
            stream.reset()


# ---- muxpy ends it ----


async def test_go_understands_our_goaway(role: Role) -> None:
    async with linked(role) as (session, peer):
        ours, theirs = await open_by("muxpy", session, peer), await open_by("go", session, peer)

        session.go_away(muxpy.ErrorCode.NO_ERROR, b"down for maintenance")
        await ours.send_all(b"after")
        assert (await peer.call("read", stream=ours.id, max=100))["data"] == b"after"  # so the GOAWAY has arrived

        with pytest.raises(GoPeerError, match="remote has gone away"):
            await peer.call("open")
        for stream in (ours, theirs):
            await check_stream(stream, peer)
        # We take no more streams, but may open our own.
        await check_stream(await open_by("muxpy", session, peer), peer)

        await session.aclose()
        assert await peer.call("wait") == {"ok": True, "code": 2, "err": "EOF", "debug": b"down for maintenance"}
        end = await session.wait()
        assert (end.code, end.error) == (0, None)


async def test_go_understands_an_announcement_and_the_last_word_after_it(role: Role) -> None:
    async with linked(role) as (session, peer):
        ours, theirs = await open_by("muxpy", session, peer), await open_by("go", session, peer)

        session.go_away(final=False)
        await ours.send_all(b"after")
        assert (await peer.call("read", stream=ours.id, max=100))["data"] == b"after"  # so the GOAWAY has arrived
        with pytest.raises(GoPeerError, match="remote has gone away"):
            await peer.call("open")
        for stream in (ours, theirs):
            await check_stream(stream, peer)
        assert not session.going_away

        await session.aclose()
        assert (await peer.call("wait"))["ok"]
        assert (await session.wait()).error is None


async def test_a_stream_of_go_that_crosses_our_goaway_is_refused(role: Role) -> None:
    async with linked(role, "-no-heartbeat", config=QUIET) as (session, peer):
        # Go's reader stops at the 101st that nobody accepts: it opens a stream before it sees our GOAWAY.
        streams = [await session.open_stream() for _ in range(102)]
        session.go_away()
        opened = await peer.call("open")
        await until(lambda: session.statistics().streams_refused == 1)
        await peer.call("echo_all")

        with pytest.raises(GoPeerError, match="Remote is going away"):
            await peer.call("read", stream=opened["stream"], max=1)
        for stream in streams:
            await stream.send_eof()
            assert await read_to_end(stream) == b""


async def test_a_graceful_close_waits_until_go_has_read_everything(role: Role) -> None:
    data = named("data", 8 << 20)
    go_sums: list[str] = []

    async with linked(role) as (session, peer):
        stream = await open_by("muxpy", session, peer)

        async def read_in_go() -> None:
            go_sums.append((await peer.call("read_all", stream=stream.id))["sha256"])
            await peer.call("close", stream=stream.id)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_in_go)
            await stream.send_all(data)
            await stream.send_eof()
            await session.aclose()

        assert go_sums == [sha256(data)]
        assert (await peer.call("wait"))["err"] == "EOF"


async def test_a_graceful_close_leaves_go_all_that_it_had_not_read_yet(role: Role) -> None:
    """Streams that we have closed are not waited for, but every byte gets to Go before the connection ends."""
    contents = {}

    async with linked(role) as (session, peer):
        for seed in range(20):
            stream = await open_by("muxpy", session, peer)
            contents[stream.id] = named(seed, 60_000)
            await stream.send_all(contents[stream.id])
            await stream.aclose()
        await session.aclose()
        assert (await peer.call("wait"))["err"] == "EOF"

        for stream_id, data in contents.items():
            assert (await read_rest_in_go(peer, stream_id)).data == data


async def test_a_graceful_close_takes_what_go_still_sends(role: Role) -> None:
    async with linked(role) as (session, peer):
        stream = await open_by("go", session, peer)
        received: list[bytes] = []

        async def read() -> None:
            received.append(await read_to_end(stream))
            await stream.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(session.aclose)
            written = await peer.call("write_random", stream=stream.id, size=4 << 20, seed=5, fin=True)

        assert sha256(received[0]) == written["sha256"]


async def test_our_kill_is_an_end_without_goaway_for_go(role: Role) -> None:
    async with linked(role, "-no-heartbeat", config=QUIET) as (session, peer):
        stream = await open_by("go", session, peer)
        session.kill()

        end = await peer.call("wait")
        assert end["debug"] == b""
        assert (await read_rest_in_go(peer, stream.id)).error is not None
        with pytest.raises(muxpy.SessionClosed):
            await stream.receive_some()
