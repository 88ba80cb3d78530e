"""The Python of the guide does what the guide says: each block is run, and what it defines is used."""

from __future__ import annotations

import ast
import inspect
import logging
import re
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

import muxpy
from tests.cli.program import ENVIRONMENT, Server, free_port, receive_all
from tests.cli.program import echo as echo_socket
from tests.helpers.pairs import session_pair, transport_pair
from tests.helpers.processes import started
from tests.helpers.tasks import bounded, echo

from .blocks import PAGES, blocks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

GUIDE: Final = "docs/guide.md"
shown: Final[set[str]] = set()


def shows(heading: str) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., Awaitable[None]]]:
    """Decorator: the test runs all blocks below this heading."""
    shown.add(heading)
    return lambda test: test


def texts(heading: str, ports: dict[int, int] | None = None) -> list[str]:
    """The blocks below a heading, with other ports."""
    return [
        re.sub(r"\b(80|8080|4000)\b", lambda match: str((ports or {})[int(match[0])]), block.text)
        for block in blocks(GUIDE)
        if (block.heading, block.language) == (heading, "python")
    ]


async def run(heading: str, *, ports: dict[int, int] | None = None, **names: Any) -> dict[str, Any]:  # noqa: ANN401
    """Run the blocks below a heading, one after the other; all names that there are then."""
    for text in texts(heading, ports):
        code = compile(text, heading, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, names)
        if inspect.iscoroutine(result):
            await result
    return names


async def connect(port: int) -> trio.SocketStream:
    """As soon as somebody listens there."""
    while True:
        with suppress(OSError):
            return await trio.open_tcp_stream("127.0.0.1", port)
        await trio.sleep(0.01)


async def serve_echo(session: muxpy.Session) -> None:
    await session.serve_streams(echo)


def test_each_block_is_run() -> None:
    """Here, or in tests/adapters or, if it is a file, by a command of its page."""
    for page in set(PAGES) - {"docs/adapters.md"}:
        code = [block for block in blocks(page) if block.language == "python" and not block.file]
        assert {block.heading for block in code} == (shown if page == GUIDE else set()), page


@shows("Sessions")
@bounded()
async def test_sessions(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    names = await run("Sessions", ports={4000: port})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(names["server"])
        await (await connect(port)).aclose()
        await names["client"]()
        nursery.cancel_scope.cancel()
    assert capsys.readouterr().out == "b'hello'\n"


@shows("Streams")
@bounded()
async def test_streams() -> None:
    names = await run("Streams")
    types = []

    async def answer(stream: muxpy.Stream) -> None:
        types.append(stream.stream_type)
        await echo(stream)

    async with session_pair("memory") as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_streams, answer)
        assert await names["call"](client, b"why?") == b"why?"
        nursery.cancel_scope.cancel()
    assert types == [names["REQUEST"]]


@shows("Joining a stream to a socket")
@bounded()
async def test_splice() -> None:
    here = free_port()
    async with Server(echo_socket) as target, trio.open_nursery() as nursery:
        names: dict[str, Any] = {}

        async def serve(session: muxpy.Session) -> None:
            await names["serve"](session)

        (listener,) = await nursery.start(partial(muxpy.serve_tcp_sessions, serve, 0, host="127.0.0.1"))
        ports = {80: target.port, 8080: here, 4000: listener.socket.getsockname()[1]}
        names |= await run("Joining a stream to a socket", ports=ports)
        nursery.start_soon(names["connecting_end"])
        async with await connect(here) as connection:
            await connection.send_all(b"through both")
            await connection.send_eof()
            assert await receive_all(connection) == b"through both"
        nursery.cancel_scope.cancel()


@bounded()
async def test_a_target_that_refuses_is_no_failure_of_the_handler(caplog: pytest.LogCaptureFixture) -> None:
    ports = {80: free_port(), 8080: free_port(), 4000: free_port()}
    names = await run("Joining a stream to a socket", ports=ports)
    async with session_pair("tcp") as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(names["serve"], server)
        cut = await (await client.open_stream()).wait_ended()
        nursery.cancel_scope.cancel()
    assert isinstance(cut, muxpy.StreamReset)
    assert cut.retryable
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@shows("Errors, and what is safe to retry")
@bounded()
async def test_retrying() -> None:
    names = await run("Errors, and what is safe to retry")

    async def refuse(stream: muxpy.Stream) -> None:
        stream.reset(muxpy.ErrorCode.REFUSED_STREAM)

    async def fail(stream: muxpy.Stream) -> None:
        stream.reset(muxpy.ErrorCode.INTERNAL_ERROR)

    async with (
        session_pair("memory") as (refused, refusing),
        session_pair("memory") as (failed, failing),
        session_pair("memory") as (answered, answering),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(refusing.serve_streams, refuse)
        nursery.start_soon(failing.serve_streams, fail)
        nursery.start_soon(answering.serve_streams, echo)
        assert await names["ask"]([refused, answered], b"why?") == b"why?"
        with pytest.raises(muxpy.StreamReset):
            await names["ask"]([refused, failed, answered], b"why?")
        with pytest.raises(OSError, match="no session took the question"):
            await names["ask"]([refused], b"why?")
        nursery.cancel_scope.cancel()


@shows("Closing")
@bounded()
async def test_going_on_with_another_session() -> None:
    async with session_pair("memory") as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(partial(server.aclose, announce=True))
        await run("Closing", session=client)
        assert client.going_away
        end = await server.wait()
    assert end.error is None


@shows("Learning that nobody waits")
@bounded()
async def test_a_handler_that_nobody_waits_for() -> None:
    begun, cancelled = trio.Event(), trio.Event()

    async def handler(stream: muxpy.Stream) -> None:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with session_pair("memory") as (client, server):
        stream = await server.open_stream()
        (await client.accept_stream()).reset(muxpy.ErrorCode.CANCEL)

        async def give_up() -> None:
            asked = await client.open_stream()
            await asked.send_all(b"why?")
            await begun.wait()
            asked.reset()
            await cancelled.wait()
            await client.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_up)
            names = await run("Learning that nobody waits", session=server, handler=handler, stream=stream)
    assert isinstance(names["cut"], muxpy.StreamReset)


@shows("Shutting a server down")
@bounded()
async def test_a_server_that_is_shut_down() -> None:
    port = free_port()
    serve = (
        "async def echo(stream):\n    async for data in stream:\n        await stream.send_all(data)\n"
        "async def serve(session):\n    await session.serve_streams(echo)\n"
    )
    script = "\n".join([*texts("Shutting a server down", {4000: port}), serve, "trio.run(main)"])
    async with started([sys.executable, "-c", script], env=ENVIRONMENT) as process:
        await (await connect(port)).aclose()
        async with muxpy.open_tcp_session("127.0.0.1", port) as session, await session.open_stream() as stream:
            await stream.send_all(b"begun before, ")
            assert await stream.receive_some() == b"begun before, "
            process.terminate()
            await session.wait_going_away()
            await stream.send_all(b"finished after")
            await stream.send_eof()
            assert await receive_all(stream) == b"finished after"
        assert await process.wait() == 0


@shows("Authentication")
@bounded()
async def test_login() -> None:
    port = free_port()

    async def log_in(stream: muxpy.Stream) -> str:
        async with stream:
            return (await receive_all(stream)).decode()

    names = await run("Authentication", ports={4000: port}, trio=trio, muxpy=muxpy, log_in=log_in, handle=echo)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(names["server"])
        await (await connect(port)).aclose()
        async with muxpy.open_tcp_session("127.0.0.1", port) as session:
            async with await session.open_stream() as stream:
                await stream.send_all(b"alice")
                await stream.send_eof()
                assert await receive_all(stream) == b""
            async with await session.open_stream() as stream:
                await stream.send_all(b"let in")
                await stream.send_eof()
                assert await receive_all(stream) == b"let in"
        nursery.cancel_scope.cancel()
    assert list(names["users"]) == ["alice"]


@shows("Extensions")
@bounded()
async def test_an_extension() -> None:
    here, there = await transport_pair("memory")
    async with muxpy.open_session(there, client=False) as session:
        names = await run("Extensions", transport=here)
        assert (await session.wait()).error is None

    clock = names["Clock"]
    async with (
        session_pair("memory", client_extensions=[clock()]) as (_, server),
        await server.open_stream(stream_type=clock.stream_type) as stream,
    ):
        assert 0 < float(await receive_all(stream)) <= trio.current_time()


@shows("Statistics")
@bounded()
async def test_why_it_is_slow() -> None:
    why = (await run("Statistics"))["why_is_it_slow"]
    async with session_pair("memory") as (client, server), trio.open_nursery() as nursery:
        stream = await client.open_stream()
        assert why(stream) == "its sender has nothing to send"
        nursery.start_soon(stream.send_all, bytes(1 << 20))
        await trio.testing.wait_all_tasks_blocked()
        assert why(stream).startswith("it waits for the peer's window")
        assert why(await server.accept_stream()) == "this side does not read it"
        nursery.cancel_scope.cancel()


@shows("Adapters")
@bounded()
async def test_a_listener() -> None:
    async with session_pair("memory") as (client, server), trio.open_nursery() as nursery:
        names = await run("Adapters", trio=trio, muxpy=muxpy, handler=echo)
        nursery.start_soon(names["serve"], server)
        async with await client.open_stream() as stream:
            await stream.send_all(b"hello")
            await stream.send_eof()
            assert await receive_all(stream) == b"hello"
        await client.aclose()  # which ends it


@shows("Tracing")
@bounded()
async def test_a_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(muxpy.serve_tcp_sessions, serve_echo, 0, host="127.0.0.1"))
        names = await run("Tracing", ports={4000: listener.socket.getsockname()[1]})
        await names["client"]()
        nursery.cancel_scope.cancel()
    assert capsys.readouterr().out == "b'seen by its length only'\n"
    lines = (tmp_path / "session.jsonl").read_text().splitlines()
    assert any("SYN" in line for line in lines)
    assert not any("seen by" in line for line in lines)
