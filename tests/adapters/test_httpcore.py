"""Connections of httpcore and httpx as streams, and the same for httpcore2 and httpx2, which have the same names."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import httpcore
import httpcore2
import httpx
import httpx2
import pytest
import trio

import muxpy
import muxpy.adapters.httpcore
import muxpy.adapters.httpcore2
from muxpy.adapters._http import Raw
from tests.helpers.content import named
from tests.helpers.load import nothing_left
from tests.helpers.pairs import client_context, server_context, session_pair, stream_pair
from tests.helpers.splices import QUIET
from tests.helpers.tasks import bounded, cancel_at, moments

from .page import run, shows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

PAGE: Final = named("page", 300_000)
FAMILIES: Final[dict[str, tuple[Any, Any, Any]]] = {
    "httpcore": (muxpy.adapters.httpcore, httpcore, httpx),
    "httpcore2": (muxpy.adapters.httpcore2, httpcore2, httpx2),
}

pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning")
"""Bodies that these libraries have not sent to their end."""

families = pytest.mark.parametrize("family", FAMILIES)


async def answer(stream: trio.abc.Stream, *, times: int = 1000) -> None:
    """Send the body of each request back, and close after so many of them, without having said so."""
    received = b""
    for _ in range(times):
        while b"\r\n\r\n" not in received:
            if not (part := await stream.receive_some()):
                return
            received += part
        head, _, body = received.partition(b"\r\n\r\n")
        [size] = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")] or [0]
        while len(body) < size:
            body += await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body[:size])
        received = body[size:]


async def serve(session: muxpy.Session, handler: Callable[[muxpy.Stream], Awaitable[object]]) -> None:
    with suppress(muxpy.SessionClosed):
        await session.serve_streams(handler)


@asynccontextmanager
async def answering(
    handler: Callable[[muxpy.Stream], Awaitable[object]] = answer,
) -> AsyncIterator[muxpy.Session]:
    """A session whose peer answers; its streams are counted from 0."""
    async with (
        nothing_left(),
        session_pair("tcp", client_config=QUIET, server_config=QUIET) as (client, server),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(serve, server, handler)
        yield client
        nursery.cancel_scope.cancel()


@shows("httpx")
@bounded()
async def test_httpx() -> None:
    async with answering() as session:
        assert (await run("httpx", session=session, image=PAGE))["response"].content == PAGE


@shows("httpx2")
@bounded()
async def test_httpx2() -> None:
    async with answering() as session:
        assert (await run("httpx2", session=session, image=PAGE))["response"].content == PAGE


@shows("httpcore")
@bounded()
async def test_httpcore() -> None:
    async with answering() as session:
        assert (await run("httpcore", session=session, httpcore=httpcore, image=PAGE))["response"].content == PAGE


@families
@bounded()
async def test_connections_are_kept_and_as_many_as_are_needed(family: str) -> None:
    adapter, _, _ = FAMILIES[family]

    async def post(http: httpx.AsyncClient, number: int) -> None:
        body = named(number, 10_000)
        assert (await http.post("http://device/", content=body)).content == body

    async with answering() as session, adapter.client(session) as http:
        for number in range(10):
            await post(http, number)
        assert session.statistics().streams_opened == 1
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(post, http, number)
        assert 1 < session.statistics().streams_opened <= 50


@families
@bounded()
async def test_a_kept_connection_that_has_ended_is_noticed(family: str) -> None:
    """Otherwise each second request would fail."""
    adapter, _, _ = FAMILIES[family]
    async with answering(partial(answer, times=1)) as session, adapter.client(session) as http:
        for number in range(1, 4):
            assert (await http.post("http://device/", content=PAGE)).content == PAGE
            await trio.testing.wait_all_tasks_blocked()
            assert session.statistics().streams_opened == number


@families
@bounded()
async def test_tls_inside_the_stream(family: str) -> None:
    adapter, _, _ = FAMILIES[family]

    async def secure(stream: muxpy.Stream) -> None:
        await answer(trio.SSLStream(stream, server_context(), server_side=True, https_compatible=True))

    async with answering(secure) as session, adapter.client(session, verify=client_context()) as http:
        for _ in range(3):  # the session tickets that come with the first answer do not count as its end
            response = await http.post("https://localhost/", content=PAGE)
            assert response.content == PAGE
        assert session.statistics().streams_opened == 1
        stream = response.extensions["network_stream"]
        assert stream.get_extra_info("ssl_object").selected_alpn_protocol() in (None, "http/1.1")
        assert stream.get_extra_info("server_addr") == session.remote_address
        assert stream.get_extra_info("client_addr") == session.local_address
        assert stream.get_extra_info("socket") is None


@families
@bounded()
async def test_a_tls_handshake_that_fails(family: str) -> None:
    adapter, _, x = FAMILIES[family]

    async def hang_up(stream: muxpy.Stream) -> None:
        await stream.receive_some()

    async with answering(hang_up) as session, adapter.client(session) as http:
        with pytest.raises(x.ConnectError):
            await http.get("https://device/")


async def reset(stream: muxpy.Stream) -> None:
    await stream.receive_some()
    stream.reset()


async def refuse(stream: muxpy.Stream) -> None:
    stream.reset(muxpy.ErrorCode.REFUSED_STREAM)


async def say_nothing(_: muxpy.Stream) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("handler", "error"), [(reset, "ReadError"), (refuse, "NetworkError"), (say_nothing, "ReadTimeout")]
)
@families
@bounded()
async def test_what_fails_is_an_error_of_the_library(family: str, handler: Any, error: str) -> None:  # noqa: ANN401
    adapter, _, x = FAMILIES[family]
    async with answering(handler) as session, adapter.client(session, timeout=0.05) as http:
        with pytest.raises(getattr(x, error)):
            await http.get("http://device/")


@families
@bounded()
async def test_a_body_that_nobody_reads_is_too_slow(family: str) -> None:
    adapter, _, x = FAMILIES[family]
    async with answering(say_nothing) as session, adapter.client(session, timeout=0.05) as http:
        with pytest.raises(x.WriteTimeout):
            await http.post("http://device/", content=PAGE)


@families
@bounded()
async def test_a_session_that_has_ended_cannot_be_connected_to(family: str) -> None:
    adapter, core, x = FAMILIES[family]
    async with answering() as session:
        async with adapter.client(session) as http:
            await http.get("http://device/")
            session.kill()
            with pytest.raises(x.ConnectError):
                await http.get("http://device/")
        async with core.AsyncConnectionPool(network_backend=adapter.backend(session), uds="/any", retries=1) as pool:
            with pytest.raises(core.ConnectError):
                await pool.request("GET", "http://device/")


@bounded()
async def test_what_has_come_early_is_not_lost() -> None:
    async with session_pair("memory") as (client, server):
        near, far = await stream_pair(client, server)
        raw = Raw(near)
        assert not raw.is_readable()
        await far.send_all(b"early", end=True)
        await trio.testing.wait_all_tasks_blocked()
        assert raw.is_readable()
        assert raw.is_readable()
        assert await raw.receive_some(2) == b"ea"
        assert await raw.receive_some() == b"rly"
        assert raw.is_readable()
        assert await raw.receive_some() == b""
        await raw.wait_send_all_might_not_block()
        await raw.aclose()
        await far.aclose()
        assert raw.is_readable()


@families
@bounded()
async def test_cancelled_anywhere_it_leaves_nothing(family: str) -> None:
    adapter, _, _ = FAMILIES[family]

    async def use(session: muxpy.Session) -> None:
        async with adapter.client(session) as http:
            assert (await http.post("http://device/", content=b"x")).content == b"x"

    for nth in moments():
        async with answering() as session:
            cancelled = await cancel_at(nth, partial(use, session))
        if not cancelled:
            return
