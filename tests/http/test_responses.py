"""How a handler answers, and what the client gets: frames where they count, both ends where they do not."""

from __future__ import annotations

import logging
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import muxpy
from muxpy import http
from muxpy.frame.http2 import encode_data_header
from tests.helpers.tasks import bounded

from .ends import GET, KINDS, POST, RawPeer, raw_client, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Handler = Callable[[http.Exchange], Awaitable[object]]

QUIET = http.Config(send_date=False)
HEAD = ((b":method", b"HEAD"), *GET[1:])


async def frames_for(handler: Handler, request: tuple[tuple[bytes, bytes], ...] = GET) -> list[str]:
    """The frames that answer a request; a dot marks the end of the stream."""
    async with raw_client(handler, config=QUIET) as peer:
        await peer.send(peer.head(1, request, end=True))
        return [str(frame) for frame in await peer.until_end(1)]


async def ask(peer: RawPeer, request: tuple[tuple[bytes, bytes], ...] = GET) -> dict[bytes, bytes]:
    """The fields of the final head that answers a request."""
    await peer.send(peer.head(1, request, end=True))
    return dict((await peer.expect("HEADERS")).fields)


# ---- as few frames as possible ----


@bounded()
async def test_a_whole_response_is_two_frames() -> None:
    assert await frames_for(lambda exchange: exchange.respond(200, {}, b"hello")) == ["HEADERS", "DATA."]


@pytest.mark.parametrize("status", [200, 204, 304, 404, 599])
@bounded()
async def test_a_response_without_a_body_is_one_frame(status: int) -> None:
    assert await frames_for(lambda exchange: exchange.respond(status)) == ["HEADERS."]


@bounded()
async def test_trailers_end_the_stream() -> None:
    async def handler(exchange: http.Exchange) -> None:
        await exchange.respond(200, {}, b"hello", trailers={"x-sum": "1"})

    assert await frames_for(handler) == ["HEADERS", "DATA", "HEADERS."]


@bounded()
async def test_trailers_may_follow_the_head() -> None:
    async def handler(exchange: http.Exchange) -> None:
        await exchange.respond(200, {}, trailers={"grpc-status": "0"})

    assert await frames_for(handler) == ["HEADERS", "HEADERS."]


@pytest.mark.parametrize("ending", ["end", "send_eof", "finish", "return"])
@bounded()
async def test_the_end_rides_on_the_last_data(ending: str) -> None:
    """With `end` always; otherwise where that has not been written yet."""

    async def handler(exchange: http.Exchange) -> None:
        await exchange.start(200)
        await exchange.send_all(b"one")
        await exchange.send_all(b"two", end=ending == "end")
        if ending == "send_eof":
            await exchange.send_eof()
        elif ending == "finish":
            await exchange.finish()

    frames = await frames_for(handler)
    assert frames == ["HEADERS", "DATA", "DATA."] or (ending != "end" and frames[1:] == ["DATA", "DATA", "DATA."])


@bounded()
async def test_bulk_ends_with_its_last_frame() -> None:
    body = bytes(40_000)
    assert await frames_for(lambda exchange: exchange.respond(200, {}, body)) == ["HEADERS", "DATA", "DATA", "DATA."]


# ---- heads ----


@bounded()
async def test_content_length_and_date_are_added() -> None:
    async with raw_client(lambda exchange: exchange.respond(200, {"x-a": "b"}, b"hello")) as peer:
        head = await ask(peer)
    assert head[b"content-length"] == b"5"
    assert head[b"x-a"] == b"b"
    assert parsedate_to_datetime(head[b"date"].decode()).tzinfo is not None


@bounded()
async def test_a_date_that_is_there_stays() -> None:
    async with raw_client(lambda exchange: exchange.respond(200, {"Date": "today"})) as peer:
        assert (await ask(peer))[b"date"] == b"today"


@bounded()
async def test_no_date_where_it_is_switched_off() -> None:
    async with raw_client(lambda exchange: exchange.respond(200), config=QUIET) as peer:
        assert b"date" not in await ask(peer)


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, b"", b"0"),
        (200, b"abc", b"3"),
        (204, b"", None),
        (204, b"abc", None),
        (304, b"", None),
        (304, b"ab", b"2"),
    ],
    ids=["empty", "body", "no_content", "no_content_body", "not_modified", "not_modified_body"],
)
@bounded()
async def test_which_responses_say_their_length(status: int, body: bytes, told: bytes | None) -> None:
    async with raw_client(lambda exchange: exchange.respond(status, {}, body)) as peer:
        await peer.send(peer.head(1, GET, end=True))
        frames = await peer.until_end(1)
    assert dict(frames[0].fields).get(b"content-length") == told
    assert b"".join(frame.body for frame in frames[1:]) == (body if status == 200 else b"")


@pytest.mark.parametrize(("body", "told"), [(b"", None), (b"abc", b"3")], ids=["unknown", "known"])
@bounded()
async def test_head_says_the_length_that_get_would_have(body: bytes, told: bytes | None) -> None:
    async with raw_client(lambda exchange: exchange.respond(200, {}, body)) as peer:
        await peer.send(peer.head(1, HEAD, end=True))
        (head,) = await peer.until_end(1)
    assert head.end
    assert dict(head.fields).get(b"content-length") == told


@bounded()
async def test_a_handler_may_treat_head_as_get() -> None:
    async def handler(exchange: http.Exchange) -> None:
        await exchange.start(200, {"content-length": "10"})
        await exchange.send_all(b"01234")
        await exchange.send_all(b"56789", end=exchange.request.path == "/end")
        await exchange.finish({"x-sum": "1"})

    async with served(handler) as client:
        for path in ("/", "/end"):
            response = await client.request("HEAD", path)
            assert (response.status, response.content_length) == (200, 10)
            assert await response.read() == b""
            assert response.trailers is None


@pytest.mark.parametrize("status", [204, 304])
@bounded()
async def test_other_responses_without_a_body_refuse_one(status: int) -> None:
    errors: list[ValueError] = []

    async def handler(exchange: http.Exchange) -> None:
        await exchange.start(status)
        await exchange.send_all(b"")
        with pytest.raises(ValueError, match="has no body") as caught:
            await exchange.send_all(b"x")
        errors.append(caught.value)
        await exchange.finish()

    assert await frames_for(handler) == ["HEADERS."]
    assert errors


@pytest.mark.parametrize("status", [100, 101, 199, 600, 0, -1, "200", 200.5, None], ids=str)
@bounded()
async def test_only_final_statuses_are_responses(status: object) -> None:
    async def handler(exchange: http.Exchange) -> None:
        with pytest.raises(ValueError, match="between 200 and 599"):
            await exchange.respond(status)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="between 200 and 599"):
            await exchange.start(status)  # type: ignore[arg-type]
        await exchange.respond(200)

    assert await frames_for(handler) == ["HEADERS."]


@bounded()
async def test_what_cannot_be_sent_is_said_before_anything_is() -> None:
    async def handler(exchange: http.Exchange) -> None:
        with pytest.raises(TypeError, match="a body is bytes, not str"):
            await exchange.respond(200, {}, "text")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="a body is bytes, not str"):
            await exchange.respond(200, {}, "text", trailers={"a": "b"})  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="'connection' has no meaning in HTTP/2"):
            await exchange.respond(200, {"connection": "close"})
        with pytest.raises(ValueError, match="'content-length' cannot stand among the trailers"):
            await exchange.respond(200, {}, b"x", trailers={"content-length": "1"})
        with pytest.raises(ValueError, match="the body has 3 bytes; its content-length is 5"):
            await exchange.respond(200, {"content-length": "5"}, b"abc")
        assert exchange.answerable
        await exchange.respond(200, {"Content-Length": "3"}, bytearray(b"abc"))

    assert await frames_for(handler) == ["HEADERS", "DATA."]


@bounded()
async def test_a_second_response_is_refused() -> None:
    async def handler(exchange: http.Exchange) -> None:
        assert exchange.answerable
        await exchange.start(200)
        assert not exchange.answerable
        for again in (exchange.respond, exchange.start):
            with pytest.raises(RuntimeError, match="was sent already"):
                await again(200)
        with pytest.raises(RuntimeError, match="was sent already"):
            await exchange.inform(103)
        await exchange.send_all(b"x", end=True)
        with pytest.raises(RuntimeError, match="was sent already"):
            await exchange.respond(200)

    assert await frames_for(handler) == ["HEADERS", "DATA."]


@bounded()
async def test_a_body_before_the_head_is_refused() -> None:
    async def handler(exchange: http.Exchange) -> None:
        for early in (exchange.send_eof, exchange.finish):
            with pytest.raises(RuntimeError, match="has not begun"):
                await early()
        with pytest.raises(RuntimeError, match="has not begun"):
            await exchange.send_all(b"x")
        one, other = trio.socket.socketpair()
        with one, other, pytest.raises(RuntimeError, match="has not begun"):
            await exchange.splice(trio.SocketStream(one))
        await exchange.respond(200)

    assert await frames_for(handler) == ["HEADERS."]


# ---- interim responses ----


@bounded()
async def test_interim_responses_come_first() -> None:
    async def handler(exchange: http.Exchange) -> None:
        await exchange.inform(103, {"link": "</a.css>"})
        await exchange.inform(103, {"link": "</b.css>"})
        await exchange.inform(102)
        await exchange.respond(200, {}, b"done")

    heard: list[tuple[int, str | None]] = []
    async with served(handler) as client:
        response = await client.request(
            "GET", informed=lambda status, fields: heard.append((status, fields.get("link")))
        )
        assert (response.status, await response.read()) == (200, b"done")
        assert heard == [(103, "</a.css>"), (103, "</b.css>"), (102, None)]
        assert (await client.request("GET")).status == 200  # and without asking


@pytest.mark.parametrize("status", [101, 200, 99, 0])
@bounded()
async def test_other_statuses_are_no_interim_ones(status: int) -> None:
    async def handler(exchange: http.Exchange) -> None:
        with pytest.raises(ValueError, match="the status of an interim response"):
            await exchange.inform(status)
        await exchange.respond(200)

    assert await frames_for(handler) == ["HEADERS."]


# ---- content-length ----


@pytest.mark.parametrize("kind", KINDS)
@bounded()
async def test_more_than_announced_is_an_error_to_the_handler(kind: str) -> None:
    async def handler(exchange: http.Exchange) -> None:
        await exchange.start(200, {"content-length": "5"})
        with pytest.raises(ValueError, match="more bytes than its content-length, 5"):
            await exchange.send_all(b"123456")
        await exchange.send_all(b"123")
        with pytest.raises(ValueError, match="more bytes than its content-length, 5"):
            await exchange.send_all(memoryview(b"456"))
        await exchange.send_all(b"45")

    async with served(handler, kind) as client:
        assert await (await client.request("GET")).read() == b"12345"


@pytest.mark.parametrize("ending", ["end", "send_eof", "finish", "trailers"])
@bounded()
async def test_ending_with_less_than_announced_is_an_error_too(ending: str, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(exchange: http.Exchange) -> None:
        await exchange.start(200, {"content-length": "5"})
        await exchange.send_all(b"12")
        if ending == "end":
            await exchange.send_all(b"3", end=True)
        elif ending == "send_eof":
            await exchange.send_eof()
        else:
            await exchange.finish({"a": "b"} if ending == "trailers" else {})

    async with raw_client(handler) as peer:
        await peer.send(peer.head(1, GET, end=True))
        frames = await peer.until_end(1)
    assert frames[-1].code is http.ErrorCode.INTERNAL_ERROR
    assert not any(frame.end for frame in frames)
    count = 3 if ending == "end" else 2
    assert f"the body ends after {count} bytes; its content-length is 5" in caplog.text


@bounded()
async def test_returning_with_less_than_announced_resets_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(exchange: http.Exchange) -> None:
        await exchange.start(200, {"content-length": "5"})
        await exchange.send_all(b"12")

    async with served(handler) as client:
        response = await client.request("GET")
        with pytest.raises(muxpy.StreamReset) as caught:
            await response.read()
        assert caught.value.code is http.ErrorCode.INTERNAL_ERROR
    assert "has returned 3 bytes too early, the stream is reset" in caplog.text


# ---- handlers that do not answer as they should ----


@pytest.mark.parametrize("error", [ValueError("a bug"), trio.BrokenResourceError("the database is gone")])
@bounded()
async def test_a_handler_that_raises_is_500(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(exchange: http.Exchange) -> None:
        raise error

    async with served(handler) as client:
        response = await client.request("GET")
        assert (response.status, await response.read()) == (500, b"")
    assert "handler failed, the answer is 500" in caplog.text
    assert str(error) in caplog.text


@bounded()
async def test_one_that_raises_in_the_middle_resets(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(exchange: http.Exchange) -> None:
        await exchange.start(200)
        await exchange.send_all(b"a part")
        raise ValueError("a bug")

    async with served(handler) as client:
        response = await client.request("GET")
        with pytest.raises(muxpy.StreamReset) as caught:
            await response.read()
        assert caught.value.code is http.ErrorCode.INTERNAL_ERROR
        assert caught.value.by_peer
    assert "handler failed, the stream is reset" in caplog.text
    assert "a bug" in caplog.text


@bounded()
async def test_one_that_returns_without_an_answer_is_500(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(exchange: http.Exchange) -> None:
        await exchange.inform(103)

    async with served(handler) as client:
        assert (await client.request("GET")).status == 500
    assert "returned without a response, the answer is 500" in caplog.text


@bounded()
async def test_nobody_is_told_of_a_client_that_has_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """The handler's errors are the client's doing: no error in the log, and no answer."""
    caplog.set_level(logging.INFO)
    over = trio.Event()

    async def handler(exchange: http.Exchange) -> None:
        try:
            with pytest.raises(muxpy.StreamReset):
                await exchange.receive_some()
            assert not exchange.answerable
            await exchange.respond(200)
        finally:
            over.set()

    async with served(handler) as client:
        response = await client.open("POST")
        await trio.testing.wait_all_tasks_blocked()
        response.reset()
        await over.wait()
        await trio.testing.wait_all_tasks_blocked()
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.INFO] == []
    assert "handler ended: stream 1: the peer reset it with CANCEL" in caplog.text


@pytest.mark.parametrize("kind", KINDS)
@bounded()
async def test_an_early_answer_ends_the_upload_and_arrives_whole(kind: str) -> None:
    """The client is told by RST NO_ERROR to send no more, and reads all of the response."""
    body = bytes(100_000)
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            yield bytes(10_000)
            sent += 1

    async with served(lambda exchange: exchange.respond(413, {}, body), kind) as client:
        response = await client.request("POST", body=chunks())
        assert response.status == 413
        assert await response.read() == body
        with trio.fail_after(60):
            while client.session.statistics().streams_open:
                await trio.lowlevel.checkpoint()
        assert (await client.request("GET")).status == 413


@bounded()
async def test_an_early_answer_on_the_wire() -> None:
    async with raw_client(lambda exchange: exchange.respond(413, {}, b"no"), config=QUIET) as peer:
        await peer.send(peer.head(1, POST))
        assert [str(await peer.receive()) for _ in range(2)] == ["HEADERS", "DATA."]
        await peer.send(encode_data_header(1, 1) + b"x")
        reset = await peer.expect("RST_STREAM", 1)
        assert reset.code is http.ErrorCode.NO_ERROR


# ---- whom the server serves ----


@pytest.mark.parametrize(
    ("scheme", "authority", "status"),
    [
        ("http", "example.org", 200),
        ("http", "EXAMPLE.org", 200),
        ("http", "example.org:80", 200),
        ("https", "example.org:443", 200),
        ("https", "example.org:80", 421),
        ("http", "example.org:8080", 200),
        ("http", "example.org:81", 421),
        ("http", "example.com", 421),
        ("http", "sub.example.org", 421),
    ],
)
@bounded()
async def test_other_authorities_are_misdirected(scheme: str, authority: str, status: int) -> None:
    served_here = ["Example.org", "example.org:8080"]
    async with raw_client(lambda exchange: exchange.respond(200), authorities=served_here) as peer:
        named = ((b":method", b"GET"), (b":scheme", scheme.encode()), (b":authority", authority.encode()), GET[3])
        assert (await ask(peer, named))[b":status"] == b"%d" % status


@bounded()
async def test_a_request_without_an_authority_is_misdirected() -> None:
    async with raw_client(lambda exchange: exchange.respond(200), authorities=["a"]) as peer:
        assert (await ask(peer, (GET[0], GET[1], GET[3])))[b":status"] == b"421"


# ---- handlers whose client is gone ----


@pytest.mark.parametrize("gone", ["reset", "connection"])
@bounded()
async def test_cancel_handlers(gone: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    cancelled, begun = trio.Event(), trio.Event()

    async def handler(exchange: http.Exchange) -> None:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with raw_client(handler, cancel_handlers=True) as peer:
        await peer.send(peer.head(1, GET, end=True))
        await begun.wait()
        if gone == "reset":
            await peer.send(b"\0\0\4\3\0\0\0\0\1\0\0\0\10")
        else:
            await peer.stream.aclose()
        await cancelled.wait()
        await trio.testing.wait_all_tasks_blocked()
    assert "handler cancelled" in caplog.text


@bounded()
async def test_without_it_handlers_go_on() -> None:
    begun, go_on, over = trio.Event(), trio.Event(), trio.Event()

    async def handler(exchange: http.Exchange) -> None:
        begun.set()
        await go_on.wait()
        assert not exchange.answerable
        over.set()

    async with raw_client(handler) as peer:
        await peer.send(peer.head(1, GET, end=True))
        await begun.wait()
        await peer.send(b"\0\0\4\3\0\0\0\0\1\0\0\0\10")
        await peer.settled()
        go_on.set()
        await over.wait()


@bounded()
async def test_a_second_response_is_a_mistake_of_the_handler() -> None:
    mistakes = []

    async def handler(exchange: http.Exchange) -> None:
        await exchange.respond(200)
        try:
            await exchange.respond(200)
        except RuntimeError as error:
            mistakes.append(str(error))

    async with served(handler) as client:
        assert (await client.request("GET")).status == 200
    assert mistakes == ["the final head of the response was sent already"]


@bounded()
async def test_a_whole_request_may_be_read_at_once() -> None:
    async def handler(exchange: http.Exchange) -> None:
        try:
            await exchange.respond(200, {}, (await exchange.read(10))[::-1])
        except ValueError:
            await exchange.respond(413)

    async with served(handler) as client:
        response = await client.request("POST", "/", body=b"0123456789")
        assert await response.read() == b"9876543210"
        assert (await client.request("POST", "/", body=b"01234567890")).status == 413
