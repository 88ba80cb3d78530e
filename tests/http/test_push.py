"""Server push: promises, their limits, and a client that takes them (scripted: muxpy's own does not)."""

from __future__ import annotations

import pytest
from trio.testing import wait_all_tasks_blocked

from muxpy import http
from muxpy.frame.http2 import Setting, encode_settings
from muxpy.http._session import parts_of
from tests.helpers.tasks import bounded

from .ends import GET, raw_client, served

PUSHED: list[bool] = []


async def handler(exchange: http.Exchange) -> None:
    """Pushes a style sheet with each page."""
    if exchange.request.path == "/app.css":
        assert exchange.request.headers["accept"] == "text/css"
        await exchange.respond(200, {}, b"css for " + exchange.request.authority.encode())
    else:
        PUSHED.append(await exchange.push("/app.css", {"accept": "text/css"}))
        await exchange.respond(200, {}, b"page")


@bounded()
async def test_a_client_that_takes_it() -> None:
    PUSHED.clear()
    async with raw_client(handler) as peer:
        for number in range(3):  # also after some have ended
            stream_id, pushed_id = 2 * number + 1, 2 * number + 2
            await peer.send(peer.head(stream_id, GET, end=True))
            promise = await peer.expect("PUSH_PROMISE", stream_id)
            assert promise.promised == pushed_id
            assert promise.fields == (*GET[:3], (b":path", b"/app.css"), (b"accept", b"text/css"))
            bodies = {stream_id: b"", pushed_id: b""}
            ended = 0
            while ended < 2:
                frame = await peer.receive()
                assert frame is not None
                if frame.name == "DATA":
                    bodies[frame.stream_id] += frame.body
                ended += frame.end
            assert bodies == {stream_id: b"page", pushed_id: b"css for a"}
    assert PUSHED == [True] * 3


@pytest.mark.parametrize("setting", [Setting.ENABLE_PUSH, Setting.MAX_CONCURRENT_STREAMS])
@bounded()
async def test_a_client_that_takes_none(setting: Setting) -> None:
    PUSHED.clear()
    async with raw_client(handler, {setting: 0}) as peer:
        await peer.send(peer.head(1, GET, end=True))
        assert [str(frame) for frame in await peer.until_end(1)] == ["HEADERS", "DATA."]
    assert PUSHED == [False]


@bounded()
async def test_its_limit_may_change() -> None:
    PUSHED.clear()
    async with raw_client(handler, {Setting.MAX_CONCURRENT_STREAMS: 0}) as peer:
        for stream_id in (1, 3, 5):
            await peer.send(encode_settings({Setting.MAX_CONCURRENT_STREAMS: stream_id == 3}))
            await peer.send(peer.head(stream_id, GET, end=True))
            await peer.until_end(stream_id)
    assert PUSHED == [False, True, False]


@bounded()
async def test_muxpys_own_client_takes_none() -> None:
    PUSHED.clear()
    async with served(handler) as client:
        response = await client.request("GET")
        assert await response.read() == b"page"
    assert PUSHED == [False]


@bounded()
async def test_what_can_be_pushed() -> None:
    checked = False

    async def picky(exchange: http.Exchange) -> None:
        nonlocal checked
        if exchange.request.path != "/":
            with pytest.raises(RuntimeError, match="was pushed itself"):
                await exchange.push("/more")
            checked = True
            await exchange.respond(204)
            return
        with pytest.raises(ValueError, match="only GET and HEAD can be pushed, not 'POST'"):
            await exchange.push("/a", method="POST")
        with pytest.raises(ValueError, match=":path is missing, does not begin with"):
            await exchange.push("a")
        with pytest.raises(ValueError, match="has no body, and no content-length"):
            await exchange.push("/a", {"content-length": "0"})
        with pytest.raises(ValueError, match="'connection' has no meaning"):
            await exchange.push("/a", {"connection": "close"})
        assert await exchange.push("/a", method="HEAD")
        await exchange.respond(204)

    async with raw_client(picky) as peer:
        await peer.send(peer.head(1, GET, end=True))
        assert (await peer.expect("PUSH_PROMISE", 1)).promised == 2
        await peer.until_end(1)
        await wait_all_tasks_blocked()
    assert checked


@bounded()
async def test_after_the_response_it_is_too_late() -> None:
    errors: list[Exception] = []

    async def late(exchange: http.Exchange) -> None:
        await exchange.respond(200, {}, b"page")
        try:
            await exchange.push("/app.css")
        except Exception as error:
            errors.append(error)

    async with raw_client(late) as peer:
        await peer.send(peer.head(1, GET, end=True))
        await peer.until_end(1)
        await wait_all_tasks_blocked()
    assert len(errors) == 1


@bounded()
async def test_a_pushed_stream_may_be_refused_by_the_client() -> None:
    async with raw_client(handler) as peer:
        await peer.send(peer.head(1, GET, end=True))
        promise = await peer.expect("PUSH_PROMISE", 1)
        await peer.send(b"\0\0\4\3\0" + promise.promised.to_bytes(4, "big") + b"\0\0\0\7")
        await peer.settled()
        await peer.send(peer.head(3, GET, end=True))
        assert (await peer.until_end(3))[-1].end


@bounded()
async def test_pushes_take_no_places_of_the_backlog() -> None:
    """Streams that wait to be accepted are counted exactly: else the limit on them would grow with each push."""
    sessions: list[http.HttpSession] = []

    async def noting(exchange: http.Exchange) -> None:
        assert isinstance(exchange.session, http.HttpSession)
        sessions.append(exchange.session)
        await handler(exchange)

    async with raw_client(noting) as peer:
        await peer.send(peer.head(1, GET, end=True))
        await peer.until_end(1)
        await wait_all_tasks_blocked()
        assert parts_of(sessions[0]).core._table.waiting == 0
        assert parts_of(sessions[0]).core._table.held == 0
