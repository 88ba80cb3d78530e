"""A connection from its begin to its end: settings, keepalive, limits of time, shutdown, and what the log says."""

from __future__ import annotations

import logging
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy import http
from muxpy.ext import HeartbeatLost
from muxpy.frame.http2 import (
    CONTINUATION,
    HEADERS,
    MAX_ID,
    PREFACE,
    Setting,
    encode_header,
    encode_ping,
    encode_settings,
    encode_window_update,
    parse_goaway,
)
from muxpy.http._session import retire
from tests.helpers.links import Channel, delayed_pair, pipe_pair
from tests.helpers.tasks import bounded, read_all

from .ends import GET, POST, RawPeer, joined, raw_client, raw_server, served, tcp_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

Clock = trio.testing.MockClock


async def hello(exchange: http.Exchange) -> None:
    await exchange.respond(200, {}, b"hello")


def messages(caplog: pytest.LogCaptureFixture, least: int = logging.INFO) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= least]


@bounded()
async def test_the_end_waits_for_a_handler_whose_response_is_whole() -> None:
    go_on = trio.Event()

    async def slow(exchange: http.Exchange) -> None:
        await exchange.respond(200, {}, b"hello")
        exchange.session.go_away()
        await go_on.wait()

    async with served(slow) as client:
        assert await (await client.request("GET")).read() == b"hello"
        await wait_all_tasks_blocked()
        assert client.session.going_away
        assert client.session.end is None
        go_on.set()
        assert (await client.session.wait()).error is None


# ---- figures ----


@bounded()
async def test_statistics_and_ping(autojump_clock: Clock) -> None:
    async with joined(hello, *delayed_pair(0.2)) as client:
        assert await client.session.ping() == pytest.approx(0.2)
        for _ in range(5):
            await (await client.request("GET")).read()
        figures = client.session.statistics()
        assert figures.streams_opened == 5
        assert figures.streams_open == 0
        assert figures.data_received == 25
        assert figures.rtt == pytest.approx(0.2)
        assert client.session.end is None
        assert not client.session.going_away


@bounded()
async def test_a_ping_ends_with_the_session() -> None:
    async with raw_server({}) as (client, peer), trio.open_nursery() as nursery:
        errors: list[muxpy.SessionClosed] = []

        async def ping() -> None:
            with pytest.raises(muxpy.SessionClosed) as caught:
                await client.session.ping()
            errors.append(caught.value)

        nursery.start_soon(ping)
        await wait_all_tasks_blocked()
        await peer.stream.aclose()
        await wait_all_tasks_blocked()
        assert errors
        with pytest.raises(muxpy.SessionClosed):
            await client.session.ping()


@bounded()
async def test_what_both_sides_say_of_themselves() -> None:
    async with raw_client(hello, config=http.Config(max_streams=7, extended_connect=True)) as peer:
        peer.everything = True
        frame = await peer.expect("SETTINGS", 0)
        body = frame.body
        entries = [body[start : start + 6] for start in range(0, len(body), 6)]
        said = {int.from_bytes(entry[:2], "big"): int.from_bytes(entry[2:], "big") for entry in entries}
        assert said == {
            Setting.MAX_CONCURRENT_STREAMS: 7,
            Setting.INITIAL_WINDOW_SIZE: 65536,
            Setting.MAX_HEADER_LIST_SIZE: 65536,
            Setting.NO_RFC7540_PRIORITIES: 1,
            Setting.ENABLE_CONNECT_PROTOCOL: 1,
        }
        update = await peer.expect("WINDOW_UPDATE", 0)
        assert int.from_bytes(update.body, "big") == 2**31 - 1 - 65535
        await peer.expect("SETTINGS", 0)  # the acknowledgement


# ---- keepalive ----


@bounded()
async def test_keepalive_finds_a_server_that_is_gone(autojump_clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    config = http.Config(heartbeat_interval=5, heartbeat_tolerance=7)
    async with raw_server({}, config) as (client, peer):
        stream = await client.open("GET", end=True)
        begun = trio.current_time()
        with pytest.raises(muxpy.SessionClosed, match="the peer is dead: nothing was received for 12 s") as caught:
            await stream.started()
        assert 12 <= trio.current_time() - begun < 14
        assert isinstance(caught.value.__cause__, HeartbeatLost)
        peer.everything = True
        kinds = []
        while (frame := await peer.receive()) is not None:
            kinds.append(frame.name)
        assert 1 <= kinds.count("PING") <= 3
    assert len([message for message in messages(caplog) if "the peer is dead" in message]) == 1


@bounded()
async def test_keepalive_keeps_an_idle_connection(autojump_clock: Clock) -> None:
    config = http.Config(heartbeat_interval=5, heartbeat_tolerance=7)
    async with served(hello, client_config=config, config=config) as client:
        await trio.sleep(100)
        assert (await client.request("GET")).status == 200


# ---- limits of time ----


@bounded()
async def test_an_idle_connection_ends_and_a_ping_is_no_activity(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with raw_client(hello, config=http.Config(idle_timeout=10)) as peer:
        await peer.send(peer.head(1, GET, end=True))
        await peer.until_end(1)
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:

            async def ping() -> None:
                while True:
                    await trio.sleep(1)
                    await peer.send(encode_ping(b"12345678", ack=False))

            nursery.start_soon(ping)
            goaway = await peer.expect("GOAWAY")
            nursery.cancel_scope.cancel()
        assert trio.current_time() - begun == pytest.approx(10, abs=0.1)
        assert goaway.code is http.ErrorCode.NO_ERROR
        assert parse_goaway(goaway.body)[2] == b"idle"
    assert messages(caplog, logging.WARNING) == []


@bounded()
async def test_a_long_request_is_not_idle(autojump_clock: Clock) -> None:
    async def slow(exchange: http.Exchange) -> None:
        await trio.sleep(100)
        await exchange.respond(200)

    async with served(slow, config=http.Config(idle_timeout=10)) as client:
        assert (await client.request("GET")).status == 200
        await trio.sleep(11)
        with pytest.raises(muxpy.SessionClosed):
            await client.request("GET")


@bounded()
async def test_a_server_without_settings(autojump_clock: Clock) -> None:
    async with raw_server(None) as (client, peer):
        begun = trio.current_time()
        stream = await client.open("GET", end=True)
        with pytest.raises(muxpy.SessionClosed, match="SETTINGS_TIMEOUT: the server sent no settings within 2 s"):
            await stream.started()
        assert 2 <= trio.current_time() - begun <= 3.1
        await peer.expect("HEADERS")
        goaway = await peer.expect("GOAWAY")
        assert goaway.code is http.ErrorCode.SETTINGS_TIMEOUT


@pytest.mark.parametrize("said", [b"", PREFACE[:10], PREFACE], ids=["nothing", "part", "preface"])
@bounded()
async def test_a_client_without_preface_or_settings(said: bytes, autojump_clock: Clock) -> None:
    near, far = pipe_pair()
    begun = trio.current_time()
    await far.send_all(said)
    with pytest.raises(muxpy.SessionClosed, match="no frame was received within 10 s"):
        await http.serve_stream(hello, near)
    assert 10 <= trio.current_time() - begun <= 12


@bounded()
async def test_a_header_block_that_never_ends(autojump_clock: Clock) -> None:
    async with raw_client(hello) as peer:
        await peer.settled()
        begun = trio.current_time()
        await peer.send(encode_header(1, HEADERS, 0, 1), b"\x82")
        await trio.sleep(5)
        await peer.send(encode_header(1, CONTINUATION, 0, 1), b"\x84")
        goaway = await peer.expect("GOAWAY")
        assert goaway.code is http.ErrorCode.ENHANCE_YOUR_CALM
        assert b"a header block was not whole within 10 s" in goaway.body
        assert 10 <= trio.current_time() - begun <= 11.1


@bounded()
async def test_a_client_that_gives_no_window(autojump_clock: Clock) -> None:
    outcome: list[muxpy.StreamReset] = []

    async def large(exchange: http.Exchange) -> None:
        with pytest.raises(muxpy.StreamReset) as caught:
            await exchange.respond(200, {}, bytes(100))
        outcome.append(caught.value)

    async with raw_client(large, {Setting.INITIAL_WINDOW_SIZE: 0}) as peer:
        begun = trio.current_time()
        await peer.send(peer.head(1, GET, end=True))
        await peer.expect("HEADERS", 1)
        reset = await peer.expect("RST_STREAM", 1)
        assert reset.code is http.ErrorCode.CANCEL
        assert 30 <= trio.current_time() - begun <= 31.1
        await wait_all_tasks_blocked()
    assert outcome[0].code is http.ErrorCode.CANCEL
    assert not outcome[0].by_peer


@bounded()
async def test_progress_is_no_standstill(autojump_clock: Clock) -> None:
    async def large(exchange: http.Exchange) -> None:
        await exchange.respond(200, {}, bytes(25_000))

    async with raw_client(large, {Setting.INITIAL_WINDOW_SIZE: 0}) as peer:
        await peer.send(peer.head(1, GET, end=True))
        for _ in range(5):
            await trio.sleep(20)
            await peer.send(encode_window_update(1, 5000))
        frames = await peer.until_end(1)
        assert sum(len(frame.body) for frame in frames if frame.name == "DATA") == 25_000


# ---- ends ----


@asynccontextmanager
async def stoppable(
    handler: Callable[[http.Exchange], Awaitable[None]],
) -> AsyncIterator[tuple[int, trio.Event, trio.Event]]:
    """A server on a port, what stops it, and what is set when it has ended."""
    stop, over = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
            await http.serve(handler, 0, host="127.0.0.1", stop=stop, task_status=task_status)
            over.set()

        (listener,) = await nursery.start(serve)
        yield listener.socket.getsockname()[1], stop, over
        nursery.cancel_scope.cancel()


@bounded()
async def test_stopping_a_server_loses_no_request() -> None:
    """Requests that were begun are answered; those that come later are retryable, and none fails otherwise."""
    begun = trio.Event()
    finish = trio.Event()
    answered = refused = 0

    async def handler(exchange: http.Exchange) -> None:
        begun.set()
        if exchange.request.path == "/slow":
            await finish.wait()
        await exchange.respond(200, {}, b"whole")

    async with stoppable(handler) as (port, stop, over):
        async with http.connect(f"http://127.0.0.1:{port}") as client, trio.open_nursery() as nursery:

            async def slow() -> None:
                nonlocal answered
                assert await (await client.request("GET", "/slow")).read() == b"whole"
                answered += 1

            async def ask_on() -> None:
                nonlocal refused, answered
                while True:
                    try:
                        assert await (await client.request("GET", "/")).read() == b"whole"
                    except (muxpy.SessionGoingAway, muxpy.StreamReset) as error:
                        refused += error.retryable
                        break
                    answered += 1

            for _ in range(5):
                nursery.start_soon(slow)
            await begun.wait()
            for _ in range(5):
                nursery.start_soon(ask_on)
            while answered < 20:
                await trio.lowlevel.checkpoint()
            stop.set()
            while refused < 5:
                await trio.lowlevel.checkpoint()
            assert client.session.going_away
            assert not over.is_set()
            finish.set()
        await over.wait()
    assert answered >= 25


@bounded()
async def test_the_two_steps_on_the_wire(autojump_clock: Clock) -> None:
    finish = trio.Event()

    async def handler(exchange: http.Exchange) -> None:
        assert isinstance(exchange.session, http.HttpSession)
        if exchange.request.path == "/stop":
            retiring.start_soon(retire, exchange.session)
        await finish.wait()
        await exchange.respond(200)

    async with trio.open_nursery() as retiring, raw_client(handler) as peer:
        peer.everything = True
        await peer.send(peer.head(1, (*GET[:3], (b":path", b"/stop")), end=True))
        while (frame := await peer.receive()) is not None and frame.name != "GOAWAY":
            pass
        assert frame is not None
        last_id, code, _ = parse_goaway(frame.body)
        assert (last_id, code) == (MAX_ID, 0)
        ping = await peer.expect("PING")
        await peer.send(peer.head(3, GET, end=True))  # sent before the client has read the GOAWAY
        await peer.send(encode_ping(ping.body, ack=True))
        last = await peer.expect("GOAWAY")
        assert parse_goaway(last.body)[:2] == (3, 0)
        await peer.send(peer.head(5, GET, end=True))
        refused = await peer.expect("RST_STREAM", 5)
        assert refused.code is http.ErrorCode.REFUSED_STREAM
        peer.everything = False
        finish.set()
        assert {(await peer.expect("HEADERS")).stream_id for _ in range(2)} == {1, 3}
        assert await peer.receive() is None


@bounded()
async def test_trailers_of_open_streams_arrive_while_going_away(autojump_clock: Clock) -> None:
    async def handler(exchange: http.Exchange) -> None:
        exchange.session.go_away()
        body = await read_all(exchange)
        assert exchange.trailers is not None
        await exchange.respond(200, exchange.trailers, body)

    async with raw_client(handler) as peer:
        await peer.send(peer.head(1, POST))
        await peer.expect("GOAWAY")
        await peer.send(peer.head(3, GET, end=True))
        await peer.send(peer.data(1, b"abc"), peer.head(1, ((b"x-sum", b"1"),), end=True))
        assert (await peer.expect("RST_STREAM", 3)).code is http.ErrorCode.REFUSED_STREAM
        head = await peer.expect("HEADERS", 1)
        assert dict(head.fields)[b"x-sum"] == b"1"


@pytest.mark.parametrize("before", ["nothing", "request"])
@bounded()
async def test_a_client_that_closes_without_goaway_is_no_error(
    before: str, autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with raw_client(hello) as peer:
        if before == "request":
            await peer.send(peer.head(1, GET, end=True))
            await peer.until_end(1)
        await peer.settled()
        await peer.stream.aclose()
        await wait_all_tasks_blocked()
        assert peer.served is None
    assert messages(caplog, logging.WARNING) == []
    ends = [message for message in messages(caplog) if "begins" not in message]
    assert len(ends) == 1
    assert ends[0].endswith(": the peer closed it")


@bounded()
async def test_one_that_closes_in_the_middle_of_a_request_is(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def handler(exchange: http.Exchange) -> None:
        await read_all(exchange)

    async with raw_client(handler) as peer:
        await peer.send(peer.head(1, POST))
        await peer.settled()
        await peer.stream.aclose()
        await wait_all_tasks_blocked()
        assert peer.served is not None
    assert any("the peer closed the connection without saying GOAWAY" in message for message in messages(caplog))


@bounded()
async def test_settings_of_a_client_wait_for_nothing() -> None:
    """A request goes with the preface: no round trip is spent on settings."""
    near, far = pipe_pair(Channel())
    peer = RawPeer(far, preface=PREFACE)
    async with http.connect("http://a", stream=near) as client:
        await client.open("GET", end=True)
        assert (await peer.expect("HEADERS", 1)).end
        await peer.send(encode_settings({}))
        await peer.stream.aclose()


@bounded()
async def test_a_client_that_answers_no_ping_holds_up_the_end_for_a_second(autojump_clock: Clock) -> None:
    async def handler(exchange: http.Exchange) -> None:
        assert isinstance(exchange.session, http.HttpSession)
        begun = trio.current_time()
        await retire(exchange.session)
        assert trio.current_time() - begun == pytest.approx(1)
        await exchange.respond(200)

    async with raw_client(handler) as peer:
        await peer.send(peer.head(1, GET, end=True))
        goaways = [await peer.expect("GOAWAY") for _ in range(2)]
        assert [parse_goaway(goaway.body)[0] for goaway in goaways] == [MAX_ID, 1]
        assert (await peer.expect("HEADERS", 1)).status == b"200"


@bounded()
async def test_a_client_that_resets_its_idle_connection_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with tcp_port(hello) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        peer = RawPeer(stream)
        await peer.send(PREFACE, encode_settings({}), peer.head(1, GET, end=True))
        await peer.until_end(1)
        await peer.settled()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await stream.aclose()
        while not any("the peer closed it" in message for message in messages(caplog)):
            await trio.lowlevel.checkpoint()
    assert messages(caplog, logging.WARNING) == []


@pytest.mark.parametrize("name", ["settings_timeout", "header_timeout", "send_timeout", "idle_timeout"])
def test_times_of_0_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be more than 0; None switches it off"):
        http.Config(**{name: 0})  # type: ignore[arg-type]
    assert getattr(http.Config(**{name: None}), name) is None  # type: ignore[arg-type]


@bounded()
async def test_two_steps_lose_no_request_that_is_under_way(autojump_clock: Clock) -> None:
    """With a long way between, requests are sent before the client can know: none of them is even refused."""
    sessions: list[http.HttpSession] = []
    answered = 0

    async def handler(exchange: http.Exchange) -> None:
        assert isinstance(exchange.session, http.HttpSession)
        sessions.append(exchange.session)
        await trio.sleep(0.5)
        await exchange.respond(200)

    async with joined(handler, *delayed_pair(0.4)) as client, trio.open_nursery() as nursery:

        async def ask() -> None:
            nonlocal answered
            assert (await client.request("GET")).status == 200
            answered += 1

        async def stop() -> None:
            await trio.sleep(1)
            await retire(sessions[0])

        nursery.start_soon(stop)
        asked = 0
        while not client.session.going_away:
            nursery.start_soon(ask)
            asked += 1
            await trio.sleep(0.01)
        with pytest.raises(muxpy.SessionGoingAway):
            await client.request("GET")
    assert answered == asked > 100


@bounded()
async def test_after_so_many_requests_a_client_is_asked_for_another_connection(autojump_clock: Clock) -> None:
    """And none is lost: what it sends before it knows of that is answered."""
    async with served(hello, config=http.Config(max_requests=5)) as client:
        statuses = []

        async def ask() -> None:
            statuses.append((await client.request("GET")).status)

        for _ in range(4):
            await ask()
        assert not client.session.going_away
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask)
        assert statuses == [200] * 14
        await client.session.wait_going_away()
        with pytest.raises(muxpy.SessionGoingAway) as caught:
            await client.request("GET")
        assert caught.value.retryable
