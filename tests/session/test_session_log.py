"""One line in the log when a session begins, and one that says why it ended; nothing that a peer says breaks a line."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy.frame.muxado import encode_goaway, encode_rst, encode_syn
from tests.helpers.pairs import session_pair
from tests.helpers.raw_peer import raw_session
from tests.helpers.tasks import bounded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.helpers.raw_peer import RawPeer

    Ending = Callable[[muxpy.Session, RawPeer], Awaitable[object]]

EVIL = b"bye\x1b[2J\nINFO all is well\r\x07\xe2\x80\xae"
SHOWN = r"bye\x1b[2J\nINFO all is well\r\x07\u202e"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the sessions have logged from INFO on."""
    caplog.set_level(logging.INFO, "muxpy.session")
    return lambda: [one.getMessage() for one in caplog.records if one.name == "muxpy.session"]


async def close(session: muxpy.Session, peer: RawPeer) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.aclose)
        await peer.send(encode_goaway(0, 0))
        await peer.aclose()


async def kill(session: muxpy.Session, _: RawPeer) -> None:
    session.kill()


async def kill_for(session: muxpy.Session, _: RawPeer) -> None:
    session.kill(RuntimeError("no\nuse"))


async def vanish(_: muxpy.Session, peer: RawPeer) -> None:
    await peer.aclose()


async def break_a_rule(_: muxpy.Session, peer: RawPeer) -> None:
    await peer.send(encode_rst(99, 0))


async def say_goodbye(_: muxpy.Session, peer: RawPeer) -> None:
    await peer.send(encode_goaway(0, 2, EVIL))
    await peer.aclose()


async def fall_silent(_: muxpy.Session, __: RawPeer) -> None:
    """Time passes."""


@bounded()
@pytest.mark.parametrize(
    ("ending", "why"),
    [
        (close, "this side closed it"),
        (kill, "this side killed it"),
        (kill_for, r"no\nuse"),
        (vanish, "the peer closed the connection without saying GOAWAY"),
        (break_a_rule, "PROTOCOL_ERROR: STREAM_RST for stream 99, which was never opened"),
        (say_goodbye, f"the peer ended the session with INTERNAL_ERROR: {SHOWN}"),
        (fall_silent, "nothing was received for 13 s"),
    ],
)
async def test_the_log_says_in_one_line_why_a_session_ended(
    ending: Ending, why: str, lines: Callable[[], list[str]], autojump_clock: trio.testing.MockClock
) -> None:
    extensions = [muxpy.Heartbeat()] if ending is fall_silent else []
    async with raw_session(extensions=extensions) as (session, peer):
        await ending(session, peer)
        await session.wait()
    begun, ended = lines()
    assert begun == f"{session!r} begins"
    assert ended.startswith(f"{session!r}: ")
    assert why in ended
    assert ended.isprintable()


@bounded()
async def test_a_stream_that_was_forgotten_is_named(
    lines: Callable[[], list[str]], autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with raw_session() as (session, peer):
        await session.open_stream(priority=7, stream_type=42)
        (await session.open_stream()).reset()
        async with await session.open_stream():
            pass  # the peer has not ended it, but nobody here wants anything of it
        await peer.send(encode_syn(2))
        await wait_all_tasks_blocked()
    _, waits, gives_up, _ = lines()
    left = "stream 3 (type 42, priority 7, opened by this side)"
    assert waits == f"{session!r}: closing, waiting up to 5 s for {left}"
    assert gives_up == f"{session!r}: closed after 5 s, before the end of {left}"
    assert [record.levelno for record in caplog.records if left in record.getMessage()] == [
        logging.INFO,
        logging.WARNING,
    ]


@bounded()
async def test_of_many_forgotten_streams_some_are_named(
    lines: Callable[[], list[str]], autojump_clock: trio.testing.MockClock
) -> None:
    async with raw_session(client=False) as (session, peer):
        await peer.send(*(encode_syn(stream_id, 1, 2) for stream_id in range(3, 23, 2)))
        accepted = [await session.accept_stream() for _ in range(10)]
        accepted[0].reset()
        await session.aclose()
    waits = lines()[1]
    assert "waiting up to 5 s for stream 5 (type 2, priority 1, opened by the peer), stream 7 (" in waits
    assert waits.endswith("stream 19 (type 2, priority 1, opened by the peer), and 1 more")


@bounded()
async def test_a_close_that_waits_for_nothing_says_nothing_of_it(
    lines: Callable[[], list[str]], autojump_clock: trio.testing.MockClock
) -> None:
    async with raw_session() as (session, _):
        (await session.open_stream()).reset()
    assert len(lines()) == 2


@bounded()
async def test_tls_is_told_at_the_begin(lines: Callable[[], list[str]]) -> None:
    async with session_pair("tls"):
        pass
    assert [line.rpartition("begins")[2] for line in lines() if "begins" in line] == [", TLSv1.3"] * 2


class Buggy:
    """An extension that fails."""

    stream_type = muxpy.MIN_EXTENSION_TYPE + 1

    async def run(self, session: muxpy.Session, accept: muxpy.Accept) -> None:
        await trio.lowlevel.checkpoint()
        raise AssertionError


@bounded()
async def test_a_bug_without_words_has_its_name(lines: Callable[[], list[str]]) -> None:
    with pytest.raises(AssertionError):
        async with raw_session(extensions=[Buggy()]) as (session, _):
            await session.wait()
    assert lines() == [f"{session!r} begins", f"{session!r}: internal error", f"{session!r}: AssertionError()"]


@bounded()
async def test_what_a_peer_says_reaches_no_log_raw(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with raw_session() as (session, peer):
        stream = await session.open_stream()
        await peer.send(encode_goaway(0, 99, EVIL))
        await peer.aclose()
        end = await session.wait()
        with pytest.raises(trio.BrokenResourceError) as raised:
            await stream.receive_some()
    assert end.remote_debug == EVIL  # as it came, for whoever wants it
    assert str(raised.value).isprintable()
    assert str(end.error).isprintable()
    assert "\x1b" not in caplog.text
    assert "all is well\r" not in caplog.text
    shown = [one.getMessage() for one in caplog.records if one.name == "muxpy.frames" and "GOAWAY" in one.getMessage()]
    assert len(shown) == 1
    assert shown[0].endswith(f"received GOAWAY stream 0 last_id=0 code=error 99 text={SHOWN}")
