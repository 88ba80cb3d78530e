"""A session's end says who ended it, and a killed session does not pass for one that was closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy.frame.muxado import encode_goaway
from tests.helpers.pairs import session_pair
from tests.helpers.raw_peer import data, raw_session
from tests.helpers.tasks import bounded, echo

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.helpers.raw_peer import RawPeer

    Ending = Callable[[muxpy.Session, RawPeer], Awaitable[None]]

Clock = trio.testing.MockClock

KILLED = "the session has ended: this side killed it"


# ---- who ended it ----


async def peer_says_goodbye(_: muxpy.Session, peer: RawPeer) -> None:
    await peer.send(encode_goaway(0, 0))
    await peer.aclose()


async def peer_fails(_: muxpy.Session, peer: RawPeer) -> None:
    await peer.send(encode_goaway(0, 2))
    await peer.aclose()


async def peer_vanishes(_: muxpy.Session, peer: RawPeer) -> None:
    await peer.aclose()


async def peer_closes_though_only_asked_for_no_streams(session: muxpy.Session, peer: RawPeer) -> None:
    session.go_away()
    await wait_all_tasks_blocked()
    await peer_says_goodbye(session, peer)


async def peer_closes_because_this_side_does(session: muxpy.Session, peer: RawPeer) -> None:
    await session.open_stream()  # for which the close waits
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.aclose)
        await wait_all_tasks_blocked()
        await peer_says_goodbye(session, peer)


async def peer_breaks_a_rule(_: muxpy.Session, peer: RawPeer) -> None:
    await peer.send(data(99, b""))


async def this_side_closes(session: muxpy.Session, _: RawPeer) -> None:
    await session.aclose()


async def this_side_kills(session: muxpy.Session, _: RawPeer) -> None:
    session.kill()


async def nobody_opens_a_stream(_: muxpy.Session, __: RawPeer) -> None:
    """The idle timeout."""


@pytest.mark.parametrize(
    ("ending", "by_peer", "text"),
    [
        (peer_says_goodbye, True, "the peer closed it"),
        (peer_fails, True, "the peer ended the session with INTERNAL_ERROR"),
        (peer_vanishes, True, "the peer closed the connection without saying GOAWAY"),
        (peer_closes_though_only_asked_for_no_streams, True, "the peer closed it"),
        (peer_closes_because_this_side_does, False, "this side closed it"),
        (peer_breaks_a_rule, False, "PROTOCOL_ERROR: STREAM_DATA for stream 99, which was never opened"),
        (this_side_closes, False, "this side closed it"),
        (this_side_kills, False, "this side killed it"),
        (nobody_opens_a_stream, False, "this side closed it"),
    ],
)
@bounded()
async def test_the_end_says_who_ended_the_session(
    ending: Ending, by_peer: bool, text: str, autojump_clock: Clock
) -> None:
    config = muxpy.SessionConfig(idle_timeout=60, first_frame_timeout=None)
    async with raw_session(client=False, config=config) as (session, peer):
        await ending(session, peer)
        end = await session.wait()
        assert end.by_peer == by_peer
        assert str(end) == text
        with pytest.raises(muxpy.SessionClosed) as caught:
            await session.open_stream()
        assert str(caught.value) == f"the session has ended: {text}"


@bounded()
async def test_both_ends_of_a_close_agree_on_who_it_was(autojump_clock: Clock) -> None:
    async with session_pair("memory") as (client, server):
        await client.aclose()
        assert str(await client.wait()) == "this side closed it"
        assert str(await server.wait()) == "the peer closed it"


# ---- a killed session ----


async def iterate(session: muxpy.Session) -> None:
    async for _ in session:
        pass


async def serve(session: muxpy.Session) -> None:
    await session.serve_streams(echo)


async def accept(session: muxpy.Session) -> None:
    await session.accept_stream()


@pytest.mark.parametrize("use", [iterate, serve, accept])
@bounded()
async def test_who_takes_streams_of_a_killed_session_gets_an_error(
    use: Callable[[muxpy.Session], Awaitable[None]], autojump_clock: Clock
) -> None:
    async with session_pair("memory") as (client, server):
        errors: list[muxpy.SessionClosed] = []

        async def note() -> None:
            with pytest.raises(muxpy.SessionClosed) as caught:
                await use(server)
            errors.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(note)
            await wait_all_tasks_blocked()
            server.kill()
        await note()  # and who comes later
        assert [str(error) for error in errors] == [KILLED] * 2
        assert isinstance(errors[0].__cause__, trio.ClosedResourceError)
        client.kill()


@bounded()
async def test_the_end_of_a_killed_session_is_no_clean_one(autojump_clock: Clock) -> None:
    cause = OSError("enough")
    async with session_pair("memory") as (client, server):
        client.kill()
        server.kill(cause)
        end = await client.wait()
        assert (end.code, str(end.error)) == (muxpy.ErrorCode.CANCEL, "this side killed it")
        assert (await server.wait()).error is cause


@bounded()
async def test_a_session_whose_block_was_left_by_an_error_was_killed(autojump_clock: Clock) -> None:
    with pytest.raises(KeyError):
        async with raw_session() as (session, _):
            raise KeyError
    assert session.end is not None
    assert str(session.end) == "this side killed it"
    assert session.end.error is not None
