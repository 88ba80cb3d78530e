"""Libraries that connect by `trio.open_tcp_stream` work with `session.dial` in its place, and those that want a
listener with `session.listener()`. Real clients and servers, over a real session over TCP."""

from __future__ import annotations

import inspect
import threading
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpcore
import pytest
import trio
import trio_websocket

import muxpy
from tests.helpers.content import named
from tests.helpers.pairs import session_pair
from tests.helpers.tasks import bounded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

connect = trio.open_tcp_stream  # as it is before a test puts another one in its place
PAGE = named("page", 256_000)


def test_dial_has_the_parameters_of_open_tcp_stream() -> None:
    def parameters(function: object) -> list[tuple[str, object]]:
        assert callable(function)
        return [(name, one.kind) for name, one in inspect.signature(function).parameters.items() if name != "self"]

    assert parameters(muxpy.Session.dial) == parameters(trio.open_tcp_stream)


# ---- HTTP: httpcore, and the server of the standard library behind a splice ----


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: ANN401 - as http.server has it
        pass


@contextmanager
def http_server() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@asynccontextmanager
async def http_behind_a_session() -> AsyncIterator[muxpy.Session]:
    async def reach(port: int, stream: muxpy.Stream) -> None:
        async with await connect("127.0.0.1", port) as connection:
            await stream.splice(connection)

    with http_server() as port:
        async with session_pair("tcp") as (client, server), trio.open_nursery() as nursery:
            nursery.start_soon(server.serve_streams, partial(reach, port))
            yield client
            await client.aclose()


async def post(pool: httpcore.AsyncConnectionPool, *headers: tuple[str, str]) -> None:
    response = await pool.request("POST", "http://device/page", headers=headers, content=PAGE)
    assert (response.status, response.content) == (200, PAGE)


@bounded()
async def test_httpcore_with_dial_in_the_place_of_open_tcp_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its backend asks a connection that it keeps for its socket, so it must not keep any."""
    async with http_behind_a_session() as session:
        monkeypatch.setattr("httpcore._backends.trio.trio.open_tcp_stream", session.dial)
        async with httpcore.AsyncConnectionPool() as pool, trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(post, pool, ("Connection", "close"))
        assert session.statistics().streams_opened >= 10


# ---- WebSockets: trio-websocket at both ends ----


async def echo_messages(request: trio_websocket.WebSocketRequest) -> None:
    socket = await request.accept()
    try:
        while True:
            await socket.send_message(await socket.get_message())
    except trio_websocket.ConnectionClosed:
        pass


@pytest.mark.parametrize("how", ["in the place of open_tcp_stream", "wrapped"])
@bounded()
async def test_websockets_over_dial_and_listener(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with session_pair("tcp") as (client, server), trio.open_nursery() as nursery:
        listener: Any = server.listener()  # more than its annotations say that it takes
        await nursery.start(trio_websocket.WebSocketServer(echo_messages, [listener]).run)
        if how == "wrapped":
            stream: Any = await client.dial()
            socket = await trio_websocket.wrap_client_stream(nursery, stream, "device", "/chat")
        else:
            monkeypatch.setattr("trio_websocket._impl.trio.open_tcp_stream", client.dial)
            socket = await trio_websocket.connect_websocket(nursery, "device", 80, "/chat", use_ssl=False)
        async with socket:
            for message in ("hello", b"\x00" * 100_000, "bye"):
                await socket.send_message(message)
                assert await socket.get_message() == message
        nursery.cancel_scope.cancel()
