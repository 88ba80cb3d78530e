"""Tasks that programs give to a session, and learning that it takes no more streams."""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

import muxpy
from muxpy import http
from tests.helpers.pairs import session_pair
from tests.helpers.tasks import LIMIT, bounded, echo

who: ContextVar[str] = ContextVar("who", default="nobody")


@bounded()
async def test_a_task_runs_until_the_session_has_ended() -> None:
    begun, ended = trio.Event(), trio.Event()

    async def work() -> None:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with session_pair() as (here, _):
        here.start_soon(work)
        await begun.wait()
        assert not ended.is_set()
    assert ended.is_set()


@pytest.mark.parametrize("early", [True, False], ids=["before_it_runs", "later"])
@bounded()
async def test_a_task_has_the_context_of_whoever_started_it(early: bool) -> None:
    seen: list[str] = []
    done = trio.Event()

    async def look() -> None:
        seen.append(who.get())
        done.set()

    who.set("outside")
    async with session_pair() as (here, _):
        if not early:
            await wait_all_tasks_blocked()
        who.set("inside")
        here.start_soon(look)
        who.set("later")
        await done.wait()
    assert seen == ["inside"]


@bounded()
async def test_a_task_runs_before_the_peer_has_logged_in() -> None:
    """Extensions wait for that, but what a program starts itself may be the login."""
    begun = trio.Event()

    async def work() -> None:
        begun.set()

    async with session_pair(server_config=muxpy.SessionConfig(wants_login=True)) as (_, there):
        there.start_soon(work)
        await begun.wait()


@bounded()
async def test_after_the_end_no_task_begins() -> None:
    async def work() -> None:
        raise AssertionError("it ran")

    async with session_pair() as (here, _):
        await here.aclose()
        here.start_soon(work)
        await wait_all_tasks_blocked()


@bounded()
async def test_a_task_that_raises_ends_the_session(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise ZeroDivisionError

    async def run() -> None:
        one, _ = memory_stream_pair()
        async with muxpy.open_session(one, client=True) as session:
            session.start_soon(work)
            ends.append(await session.wait())

    ends: list[muxpy.SessionEnd] = []
    with pytest.raises(ZeroDivisionError):
        await run()
    assert [end.code for end in ends] == [muxpy.ErrorCode.INTERNAL_ERROR]
    assert "internal error" in caplog.text


@bounded()
async def test_waiting_until_no_more_streams_are_taken() -> None:
    for end in (muxpy.Session.go_away, muxpy.Session.kill):
        async with session_pair() as (here, _), trio.open_nursery() as nursery:
            closing = trio.Event()

            async def wait(session: muxpy.Session = here, closing: trio.Event = closing) -> None:
                await session.wait_closing()
                closing.set()

            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            assert not closing.is_set()
            end(here)
            await closing.wait()
            await here.wait_closing()


@bounded()
async def test_the_peers_goaway_does_not_end_that_wait() -> None:
    async with session_pair() as (here, there), trio.open_nursery() as nursery:
        there.go_away()
        await here.wait_going_away()
        nursery.start_soon(here.wait_closing)
        await wait_all_tasks_blocked()
        assert nursery.child_tasks
        nursery.cancel_scope.cancel()


@bounded()
async def test_who_waits_takes_no_wakeup_from_those_that_accept() -> None:
    """Several wait at once, in whatever order: each stream reaches a task that accepts."""
    async with session_pair() as (here, there), trio.open_nursery() as nursery:

        async def accept() -> None:
            await echo(await there.accept_stream())

        for task in (there.wait_closing, accept, there.wait_closing, accept, there.wait_closing):
            nursery.start_soon(task)
            await wait_all_tasks_blocked()
        for _ in range(2):
            async with await here.open_stream() as stream:
                await stream.send_all(b"x", end=True)
                assert await stream.receive_some() == b"x"
        nursery.cancel_scope.cancel()


@bounded()
async def test_handlers_of_http_end_with_a_session_whose_task_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    """They are tasks of the server, and idle ones of an ended connection would stay."""

    async def fail() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise RuntimeError("the clean-up fails")

    async def answer(exchange: http.Exchange) -> None:
        assert isinstance(exchange.session, muxpy.Session)
        exchange.session.start_soon(fail)
        await exchange.respond(200)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(http.serve, answer, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        before = trio.lowlevel.current_statistics().tasks_living
        for _ in range(3):
            async with http.connect(url) as client:
                await client.request("GET")
        with trio.fail_after(LIMIT):
            while trio.lowlevel.current_statistics().tasks_living > before:  # noqa: ASYNC110 - nothing tells of it
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert "the clean-up fails" in caplog.text
