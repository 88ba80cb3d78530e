"""A client as its user meets it: requests, responses, what goes wrong, and what it waits for."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

import muxpy
from muxpy import http
from muxpy.frame.http2 import HEADERS, PREFACE, Setting, encode_goaway, encode_rst_stream, encode_settings
from tests.helpers.content import named
from tests.helpers.links import pipe_pair
from tests.helpers.tasks import bounded, read_all

from .ends import KINDS, RawPeer, raw_server, served, tcp_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Clock = trio.testing.MockClock

OK = ((b":status", b"200"),)


async def echo(exchange: http.Exchange) -> None:
    """The body, and its announced length."""
    await exchange.start(200, {"x-length": str(exchange.request.content_length)})
    async for chunk in exchange:
        await exchange.send_all(chunk)


# ---- bodies ----


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 1, 100, 70_000, 400_000])
@bounded()
async def test_bodies_of_bytes(size: int, kind: str) -> None:
    data = named("data", size)
    async with served(echo, kind) as client:
        for body in (data, bytearray(data), memoryview(data)):
            response = await client.request("POST", "/", body=body)
            assert response.headers["x-length"] == str(size)
            assert await response.read() == data


@bounded()
async def test_bodies_that_are_iterated() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for number in range(5):
            await trio.lowlevel.checkpoint()
            yield b"%d" % number * 10_000

    async with served(echo) as client:
        response = await client.request("POST", body=chunks())
        assert response.headers["x-length"] == "None"
        assert await response.read() == b"".join([chunk async for chunk in chunks()])


@bounded()
async def test_a_stream_may_be_a_body_and_is_left_open() -> None:
    """As in a proxy, whose exchange still answers after its request has been passed on."""
    async with served(echo) as upstream:

        async def proxy(exchange: http.Exchange) -> None:
            response = await upstream.request(exchange.request.method, body=exchange)
            await exchange.start(response.status)
            async for chunk in response:
                await exchange.send_all(chunk)

        async with served(proxy) as client:
            response = await client.request("POST", body=bytes(200_000))
            assert await response.read() == bytes(200_000)


@pytest.mark.parametrize(
    ("method", "told"), [("GET", "None"), ("HEAD", None), ("POST", "0"), ("PUT", "0"), ("DELETE", "None")]
)
@bounded()
async def test_which_empty_bodies_are_announced(method: str, told: str | None) -> None:
    async with served(echo) as client:
        response = await client.request(method)
        assert response.headers.get("x-length") == (told or "None")


@bounded()
async def test_a_length_that_is_given_must_be_right() -> None:
    async with served(echo) as client:
        response = await client.request("POST", "/", {"Content-Length": "3"}, b"abc")
        assert response.headers["x-length"] == "3"
        with pytest.raises(ValueError, match="the body has 3 bytes; its content-length is 5"):
            await client.request("POST", "/", {"content-length": "5"}, b"abc")
        upload = await client.open("POST", "/", {"content-length": "5"})
        with pytest.raises(ValueError, match="more bytes than its content-length, 5"):
            await upload.send_all(b"123456")
        await upload.send_all(b"123")
        with pytest.raises(ValueError, match="the body ends after 3 bytes; its content-length is 5"):
            await upload.send_eof()
        with pytest.raises(ValueError, match="the body ends after 4 bytes; its content-length is 5"):
            await upload.send_all(b"4", end=True)
        await upload.send_all(b"45", end=True)
        await upload.started()
        assert await upload.read() == b"12345"
        assert client.session.statistics().streams_open == 0


@bounded()
async def test_a_small_body_goes_with_the_head() -> None:
    """In one write, and without a task of its own."""

    class Spawned(trio.abc.Instrument):
        count = 0

        def task_spawned(self, task: trio.lowlevel.Task) -> None:
            self.count += 1

    async with raw_server({}) as (client, peer), trio.open_nursery() as nursery:
        await peer.settled()
        spawned = Spawned()
        trio.lowlevel.add_instrument(spawned)
        nursery.start_soon(partial(client.request, body=b"small"), "POST")
        written = await peer.stream.receive_some()
        trio.lowlevel.remove_instrument(spawned)
        assert (written[3], written[-14:]) == (HEADERS, peer.data(1, b"small", end=True))
        assert spawned.count == 1, "the one of this test"
        nursery.cancel_scope.cancel()


@bounded()
async def test_a_body_that_fails_is_the_cause_of_what_the_requester_gets(caplog: pytest.LogCaptureFixture) -> None:
    closed = False

    async def failing(after: trio.Event | None = None) -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            yield b"a part"
            if after is not None:
                await after.wait()
            raise ValueError("no more")
        finally:
            closed = True

    async def handler(exchange: http.Exchange) -> None:
        await exchange.start(200)
        await exchange.send_all(await exchange.receive_some())
        with pytest.raises(muxpy.StreamReset) as caught:
            await read_all(exchange)
        assert caught.value.code is http.ErrorCode.INTERNAL_ERROR

    async def reads_first(exchange: http.Exchange) -> None:
        with pytest.raises(muxpy.StreamReset):
            await read_all(exchange)

    async with served(reads_first) as client:
        with pytest.raises(trio.BrokenResourceError, match="the request's body failed") as caught:
            await client.request("POST", body=failing())
        assert isinstance(caught.value.__cause__, ValueError)
    async with served(handler) as client:
        go_on = trio.Event()
        response = await client.request("POST", body=failing(go_on))
        assert await response.receive_some() == b"a part"
        go_on.set()
        with pytest.raises(trio.BrokenResourceError, match="the request's body failed") as caught:
            await response.read()
        assert isinstance(caught.value.__cause__, ValueError)
    assert closed


@bounded()
async def test_too_many_bytes_of_an_iterated_body_fail_too() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"123"
        yield b"456"

    async def handler(exchange: http.Exchange) -> None:
        with pytest.raises(muxpy.StreamReset):
            await read_all(exchange)

    async with served(handler) as client:
        with pytest.raises(trio.BrokenResourceError) as caught:
            await client.request("POST", "/", {"content-length": "5"}, chunks())
        assert "more bytes than its content-length, 5" in str(caught.value.__cause__)


@bounded()
async def test_an_early_response_closes_the_generator() -> None:
    closed = trio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(1000)
                await trio.lowlevel.checkpoint()
        finally:
            closed.set()

    async with served(lambda exchange: exchange.respond(200, {}, b"enough")) as client:
        response = await client.request("POST", body=chunks())
        assert await response.read() == b"enough"
        await closed.wait()


@pytest.mark.parametrize("gives_up", ["server", "client", "both"])
@bounded()
async def test_a_generator_that_waits_is_closed_when_nobody_wants_it_any_more(gives_up: str) -> None:
    closed = trio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        try:
            yield b"a part"
            await trio.sleep_forever()
        finally:
            closed.set()

    async def handler(exchange: http.Exchange) -> None:
        if gives_up == "client":
            await trio.sleep_forever()
        await exchange.respond(200, {}, b"enough")

    async with served(handler, cancel_handlers=True) as client:
        with trio.move_on_after(0.01 if gives_up == "client" else 60) as scope:
            response = await client.request("POST", body=chunks())
            if gives_up == "server":
                assert await response.read() == b"enough"
            else:
                response.reset()
        assert scope.cancelled_caught == (gives_up == "client")
        await closed.wait()
        assert client.session.statistics().streams_open == 0


# ---- responses ----


@bounded()
async def test_reading_no_more_than_is_wanted() -> None:
    async def handler(exchange: http.Exchange) -> None:
        if exchange.request.path == "/known":
            await exchange.respond(200, {}, bytes(1000))
        else:
            await exchange.start(200)
            for _ in range(10):
                await exchange.send_all(bytes(100))

    async with served(handler) as client:
        for path in ("/known", "/unknown"):
            assert len(await (await client.request("GET", path)).read(1000)) == 1000
            with pytest.raises(ValueError, match="the body has more than 999 bytes"):
                await (await client.request("GET", path)).read(999)
        assert await (await client.request("HEAD", "/known")).read(1) == b"", "a HEAD announces what it does not send"
        assert client.session.statistics().streams_open == 0


@bounded()
async def test_nothing_of_a_response_is_there_before_its_head() -> None:
    go_on = trio.Event()

    async def handler(exchange: http.Exchange) -> None:
        await go_on.wait()
        await exchange.respond(200, {"a": "b"}, b"x")

    async with served(handler) as client:
        response = await client.open("GET", "/path", end=True)
        for name in ("status", "headers", "content_length"):
            with pytest.raises(RuntimeError, match="await `started`"):
                getattr(response, name)
        assert repr(response) == "<muxpy.http.Response ... to GET /path>"
        go_on.set()
        assert await response.started() is response
        assert await response.started() is response
        assert (response.status, response.content_length, response.headers["a"]) == (200, 1, "b")
        assert repr(response) == "<muxpy.http.Response 200 to GET /path>"


@bounded()
async def test_one_task_receives() -> None:
    async def handler(exchange: http.Exchange) -> None:
        await trio.sleep_forever()

    async with served(handler, cancel_handlers=True) as client, trio.open_nursery() as nursery:
        response = await client.open("GET", end=True)
        nursery.start_soon(response.started)
        await wait_all_tasks_blocked()
        for receive in (response.started, response.receive_some, response.read):
            with pytest.raises(trio.BusyResourceError):
                await receive()
        assert client.session.statistics().streams_open == 1
        nursery.cancel_scope.cancel()


@bounded()
async def test_a_read_that_is_cancelled_gives_the_response_up() -> None:
    """What it has read is lost, so nobody wants the rest; and the server must not hold it until the client leaves."""

    async def handler(exchange: http.Exchange) -> None:
        await exchange.start(200)
        await exchange.send_all(b"part")
        await trio.sleep_forever()

    async with served(handler, cancel_handlers=True) as client:
        response = await client.request("GET")
        with trio.move_on_after(0.01) as scope:
            await response.read()
        assert scope.cancelled_caught
        assert client.session.statistics().streams_open == 0


@bounded()
async def test_full_duplex() -> None:
    async def handler(exchange: http.Exchange) -> None:
        await exchange.start(200)
        async for chunk in exchange:
            await exchange.send_all(chunk.upper())

    async with served(handler) as client:
        async with await client.open("POST") as stream:
            await stream.started()
            for word in (b"one", b"two", b"three"):
                await stream.send_all(word)
                assert await stream.receive_some() == word.upper()
            await stream.finish()
            assert await stream.receive_some() == b""
        assert client.session.statistics().streams_open == 0


@bounded()
async def test_closing_a_response_gives_it_up() -> None:
    async with raw_server({}) as (client, peer):
        async with await client.open("GET", end=True) as stream:
            await peer.expect("HEADERS")
            await peer.send(peer.head(1, OK), peer.data(1, b"part"))
            await stream.started()
        assert (await peer.expect("RST_STREAM", 1)).code is http.ErrorCode.CANCEL


@bounded()
async def test_resets_say_their_code() -> None:
    async with raw_server({}) as (client, peer):
        for number, code in enumerate(http.ErrorCode):
            stream_id = 2 * number + 1
            stream = await client.open("GET", end=True)
            await peer.expect("HEADERS", stream_id)
            await peer.send(encode_rst_stream(stream_id, code))
            with pytest.raises(muxpy.StreamReset) as caught:
                await stream.started()
            assert caught.value.code is code
            assert caught.value.by_peer
            assert caught.value.retryable == (code is http.ErrorCode.REFUSED_STREAM)
            assert f"the peer reset it with {code.name}" in str(caught.value)


# ---- as many as the server takes ----


@bounded()
async def test_more_requests_than_the_server_takes_wait() -> None:
    running = most = 0

    async def handler(exchange: http.Exchange) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await wait_all_tasks_blocked(0.001)
        running -= 1
        await exchange.respond(200)

    async with served(handler, config=http.Config(max_streams=3)) as client:
        await client.session.ping()  # its settings have come

        async def ask() -> None:
            assert (await client.request("GET")).status == 200

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)
    assert most == 3


@bounded()
async def test_one_before_its_settings_and_then_as_many_as_it_takes() -> None:
    async with raw_server(None) as (client, peer), trio.open_nursery() as nursery:
        for _ in range(120):
            nursery.start_soon(partial(client.open, end=True), "GET")
        await wait_all_tasks_blocked()
        assert client.session.statistics().streams_open == 1
        await peer.send(encode_settings({}))
        await wait_all_tasks_blocked()
        assert client.session.statistics().streams_open == 120


@bounded()
async def test_the_limit_may_go_up_and_down() -> None:
    async with raw_server({Setting.MAX_CONCURRENT_STREAMS: 2}) as (client, peer), trio.open_nursery() as nursery:
        await wait_all_tasks_blocked()
        opened: list[http.Response] = []

        async def ask() -> None:
            opened.append(await client.open("GET", end=True))

        for _ in range(8):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        assert len(opened) == 2
        await peer.send(encode_settings({Setting.MAX_CONCURRENT_STREAMS: 4}))
        await wait_all_tasks_blocked()
        assert len(opened) == 4
        await peer.send(encode_settings({Setting.MAX_CONCURRENT_STREAMS: 1}))
        await peer.send(*[peer.head(stream_id, OK, end=True) for stream_id in (1, 3, 5)])
        await wait_all_tasks_blocked()
        assert len(opened) == 4, "one is still open"
        await peer.send(peer.head(7, OK, end=True))
        await wait_all_tasks_blocked()
        assert len(opened) == 5
        await peer.send(encode_settings({Setting.MAX_CONCURRENT_STREAMS: 0}), peer.head(9, OK, end=True))
        await wait_all_tasks_blocked()
        assert len(opened) == 5
        await peer.send(encode_settings({Setting.MAX_CONCURRENT_STREAMS: 100}))
        await wait_all_tasks_blocked()
        assert len(opened) == 8


@bounded()
async def test_those_that_wait_learn_of_goaway() -> None:
    errors: list[muxpy.SessionClosed] = []
    async with raw_server({Setting.MAX_CONCURRENT_STREAMS: 0}) as (client, peer), trio.open_nursery() as nursery:
        await wait_all_tasks_blocked()

        async def ask() -> None:
            with pytest.raises(muxpy.SessionGoingAway) as caught:
                await client.request("GET")
            errors.append(caught.value)

        for _ in range(3):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await peer.send(encode_goaway(0, 0, b""))
        await wait_all_tasks_blocked()
        assert [error.retryable for error in errors] == [True] * 3


@bounded()
async def test_goaway_while_requests_are_in_flight() -> None:
    async with raw_server({}) as (client, peer):
        streams = [await client.open("GET", end=True) for _ in range(4)]
        await wait_all_tasks_blocked()
        await peer.send(encode_goaway(3, 0, b""))
        for stream in streams[2:]:
            with pytest.raises(muxpy.StreamReset) as caught:
                await stream.started()
            assert caught.value.retryable
            assert "safe to retry" in str(caught.value)
        with pytest.raises(muxpy.SessionGoingAway) as caught_new:
            await client.request("GET")
        assert caught_new.value.retryable
        await peer.send(peer.head(1, OK), peer.head(3, OK, end=True), peer.data(1, b"whole", end=True))
        assert [await (await stream.started()).read() for stream in streams[:2]] == [b"whole", b""]


@bounded()
async def test_goaway_with_an_error_says_it() -> None:
    async with raw_server({}) as (client, peer):
        stream = await client.open("GET", end=True)
        await wait_all_tasks_blocked()
        await peer.send(encode_goaway(1, http.ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings"))
        await peer.stream.send_eof()
        with pytest.raises(muxpy.SessionClosed, match="ENHANCE_YOUR_CALM: too_many_pings") as caught:
            await stream.started()
        assert caught.value.end is not None
        assert caught.value.end.code is http.ErrorCode.ENHANCE_YOUR_CALM


# ---- the block ----


@pytest.mark.parametrize("kind", ["memory", "wide_pipe"])
@bounded()
async def test_leaving_with_unread_responses_is_quick(kind: str, autojump_clock: Clock) -> None:
    async def handler(exchange: http.Exchange) -> None:
        if exchange.request.path == "/silent":
            await trio.sleep_forever()
        await exchange.respond(200, {}, bytes(1_000_000))

    begun = trio.current_time()
    async with served(handler, kind, cancel_handlers=True) as client:
        assert (await client.request("GET")).status == 200
        await client.open("POST")
        await client.open("GET", "/silent", end=True)
    assert trio.current_time() - begun < 0.5


@bounded()
async def test_what_is_raised_leaves_the_blocks_as_it_is() -> None:
    class OwnError(Exception):
        pass

    near, _ = memory_stream_pair()
    error = OwnError()
    with pytest.raises(OwnError) as caught:
        async with http.connect("http://a", stream=near):
            raise error
    assert caught.value is error
    near, _ = memory_stream_pair()
    with trio.CancelScope() as scope:
        async with http.connect("http://a", stream=near):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


@bounded()
async def test_a_connection_that_breaks_is_raised_by_serve_stream_as_it_is() -> None:
    near, far = memory_stream_pair()
    await near.send_all(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(muxpy.SessionClosed, match="PROTOCOL_ERROR"):
        await http.serve_stream(echo, far)


@bounded()
async def test_a_port_in_use_is_an_oserror() -> None:
    async with tcp_port(echo) as port:
        with pytest.raises(OSError, match="in use"):
            await http.serve(echo, port, host="127.0.0.1")


@bounded()
async def test_nobody_listens() -> None:
    async with tcp_port(echo) as port:
        pass
    with pytest.raises(OSError, match="connect"):
        async with http.connect(f"http://127.0.0.1:{port}"):
            pass


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("example.org", "begins with http:// or https:// and a host"),
        ("ftp://example.org", "begins with http:// or https:// and a host"),
        ("http://", "begins with http:// or https:// and a host"),
        ("http://user:password@example.org", "a user and password in the URL are not sent"),
        ("http://example.org:port", "Port could not be cast"),
        ("http://example.org:70000", "Port out of range"),
    ],
    ids=["no_scheme", "ftp", "no_host", "user", "port_name", "port_range"],
)
@bounded()
async def test_urls(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        async with http.connect(url):
            pass


@bounded()
async def test_a_context_is_for_https() -> None:
    from tests.helpers.pairs import client_context

    near, _ = memory_stream_pair()
    with pytest.raises(ValueError, match="an ssl_context is for https:// URLs"):
        async with http.connect("http://a", ssl_context=client_context(), stream=near):
            pass
    with pytest.raises(TypeError, match=r"https needs a trio\.SocketStream"):
        async with http.connect("https://a", ssl_context=client_context(), stream=near):
            pass


@bounded()
async def test_only_requests_open_streams() -> None:
    sessions: list[muxpy.session.SessionOfStream] = []

    async def handler(exchange: http.Exchange) -> None:
        sessions.append(exchange.session)
        with pytest.raises(RuntimeError, match="streams are opened by requests"):
            await exchange.session.open_stream()
        await exchange.respond(200)

    async with served(handler) as client:
        assert (await client.request("GET")).status == 200
        for openers in (client.session.open_stream, client.session.dial):
            with pytest.raises(RuntimeError, match="streams are opened by requests"):
                await openers()
    assert sessions


@bounded()
async def test_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    """One line each for the begin and the end of a session, and none of them an error."""
    caplog.set_level(logging.DEBUG)
    async with served(echo, "tcp") as client:
        await (await client.request("GET")).read()
        name = repr(client.session)
    mine = [record.getMessage() for record in caplog.records if name in record.getMessage()]
    assert mine == [f"{name} begins", f"{name}: this side closed it"]
    assert max(record.levelno for record in caplog.records if record.name.startswith("muxpy")) == logging.INFO


@bounded()
async def test_ends_have_the_codes_of_http() -> None:
    """They share names with those of muxado, and not numbers."""
    async with raw_server({}) as (client, _):
        client.session.kill()
        end = await client.session.wait()
        assert end.code is http.ErrorCode.CANCEL
    async with raw_server({}) as (client, peer):
        await client.open("GET", end=True)
        await peer.stream.aclose()
        end = await client.session.wait()
        assert end.code is http.ErrorCode.INTERNAL_ERROR
    async with served(echo) as client:
        pass
    end = await client.session.wait()
    assert end.code is http.ErrorCode.NO_ERROR
    assert (end.error, str(end)) == (None, "this side closed it")


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("http://example.org", "example.org"),
        ("http://example.org:8080/path?query", "example.org:8080"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("http://müller.example:81", "xn--mller-kva.example:81"),
    ],
    ids=["host", "port", "ipv6", "idna"],
)
@bounded()
async def test_whom_requests_are_for(url: str, authority: str) -> None:
    near, far = pipe_pair()
    peer = RawPeer(far, preface=PREFACE)
    async with http.connect(url, stream=near) as client:
        assert client.authority == authority
        await client.open("GET", end=True)
        assert dict((await peer.expect("HEADERS")).fields)[b":authority"] == authority.encode()
        await peer.send(encode_settings({}))
        await peer.stream.aclose()


@bounded()
async def test_what_was_not_sent_may_be_tried_elsewhere() -> None:
    async with raw_server({}) as (client, peer):
        await wait_all_tasks_blocked()
        await peer.stream.aclose()
        await client.session.wait()
        with pytest.raises(muxpy.SessionClosed) as caught:
            await client.request("GET")
        assert caught.value.retryable


@bounded()
async def test_both_directions_of_a_handler_that_fail_together_are_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """A nursery in the handler raises a group; it says nothing but that the client is gone."""
    over = trio.Event()

    async def handler(exchange: http.Exchange) -> None:
        await exchange.start(200)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read_all, exchange)
                nursery.start_soon(exchange.send_all, bytes(1_000_000))
        finally:
            over.set()

    async with served(handler) as client:
        response = await client.open("POST")
        await response.started()
        await wait_all_tasks_blocked()
        response.reset()
        await over.wait()
        await wait_all_tasks_blocked()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@bounded()
async def test_answering_after_the_handler_has_returned_is_too_late() -> None:
    errors: list[Exception] = []

    async def late(exchange: http.Exchange, returned: trio.Event) -> None:
        await returned.wait()
        with pytest.raises((RuntimeError, trio.ClosedResourceError)) as caught:
            await exchange.respond(200)
        errors.append(caught.value)

    async with trio.open_nursery() as nursery:
        returned = trio.Event()

        async def handler(exchange: http.Exchange) -> None:
            nursery.start_soon(late, exchange, returned)

        async with served(handler) as client:
            assert (await client.request("GET")).status == 500
            returned.set()
            await wait_all_tasks_blocked()
    assert len(errors) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [("text", "encode text first"), (5, "not int"), ([b"a"], "not list"), (None, "not NoneType")],
    ids=["text", "number", "list", "none"],
)
@bounded()
async def test_a_body_that_is_none_is_not_sent(body: Any, words: str) -> None:  # noqa: ANN401
    async with raw_server({}) as (client, peer):
        with pytest.raises(TypeError, match=words):
            await client.request("PUT", "/", body=body)
        assert client.session.statistics().streams_opened == 0
        await peer.stream.aclose()


@pytest.mark.parametrize(
    "path",
    ["items", "", "/a b", "http://host/x", "/a#b", "/\u00fc", "/a\nb", "*"],
    ids=str.split("relative empty blank url fragment umlaut line star"),
)
@bounded()
async def test_a_path_that_cannot_be_sent(path: str) -> None:
    async with raw_server({}) as (client, peer):
        with pytest.raises(ValueError, match=r"a path (begins with /|is ASCII)"):
            await client.request("GET", path)
        await peer.stream.aclose()


@bounded()
async def test_port_0_is_none() -> None:
    with pytest.raises(ValueError, match="the URL begins with"):
        async with http.connect("http://127.0.0.1:0/"):
            pass


@bounded()
async def test_a_page_in_place_of_frames_is_an_http_server() -> None:
    near, far = pipe_pair()
    async with http.connect("http://a", stream=near) as client:
        await far.send_all(b"<!DOCTYPE HTML>\n<html>" + bytes(100))
        end = await client.session.wait()
    assert "this looks like an HTTP server's answer, not HTTP/2" in str(end)
