"""How the connecting end tells a server that cannot be used from one that is only busy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import muxpy
from muxpy_cli._errors import Failure, Unreachable
from muxpy_cli._options import ConnectOptions
from muxpy_cli.client import _session
from muxpy_cli.client._retrying import PATIENCE, telling_progress
from muxpy_cli.client._session import Credentials, log_in
from muxpy_cli.specs import Address
from muxpy_cli.wire import Purpose, pack, receive_message
from tests.helpers.tasks import LIMIT

from .program import Server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@pytest.mark.parametrize(("streams", "count"), [(None, 1024), (1500, 1500), (10**9, 2000), (10**100, 2000)])
async def test_it_takes_as_many_streams_as_the_listening_end_says(streams: int | None, count: int) -> None:
    """Connections to what the listening end has bound for us come over them."""
    opened = trio.Event()

    async def handle(stream: trio.SocketStream) -> None:
        async with muxpy.open_session(stream, client=False) as session:
            greeting = await session.accept_stream()
            await receive_message(greeting)
            await greeting.send_all(pack({"user": "u"} if streams is None else {"user": "u", "streams": streams}))
            kept = [await session.open_stream(stream_type=Purpose.FORWARDED) for _ in range(count)]
            opened.set()
            await session.wait()
            assert len(kept) == count

    with trio.fail_after(LIMIT):
        async with Server(handle) as server:
            options = ConnectOptions(address=Address("127.0.0.1", server.port))
            async with log_in(options, Credentials(options)) as session:
                await opened.wait()
                while (figures := session.statistics()).streams_accepted + figures.streams_refused < count:  # noqa: ASYNC110
                    await trio.sleep(0.01)
                session.kill()
                assert figures.streams_refused == 0


async def silent(stream: trio.SocketStream) -> None:
    """Reads, and says nothing."""
    async for _ in stream:
        pass


async def alive(stream: trio.SocketStream) -> None:
    """Answers heartbeats, and nothing else."""
    async with muxpy.open_session(stream, client=False) as session:
        await session.wait()


@pytest.mark.parametrize(("serve", "text"), [(silent, "nothing was received for 13 s"), (alive, "no answer in time")])
async def test_a_server_that_does_not_answer_may_answer_later(
    serve: Callable[[trio.SocketStream], Awaitable[None]], text: str, mock_clock: MockClock
) -> None:
    accepted, ended = trio.Event(), trio.Event()
    told: list[str] = []

    async def handle(stream: trio.SocketStream) -> None:
        accepted.set()
        await serve(stream)

    async def connect(port: int) -> None:
        options = ConnectOptions(address=Address("127.0.0.1", port))
        with pytest.raises(Unreachable, match=f"does not answer: {text}.*--tls"):
            async with log_in(options, Credentials(options), tell=told.append):
                pass
        ended.set()

    async with Server(handle) as server, trio.open_nursery() as nursery:
        nursery.start_soon(connect, server.port)
        await accepted.wait()
        while not ended.is_set():
            await wait_all_tasks_blocked(0.01)
            mock_clock.jump(1)
    assert len(told) == 1  # and long before it fails
    assert told[0].startswith(f"connected to 127.0.0.1:{server.port}; waiting for its first answer")
    assert "the token is wrong or missing" in told[0]  # which a listening end says after two seconds only
    assert "--tls" in told[0]


async def greeted(session: muxpy.Session) -> muxpy.Stream:
    """The stream on which the client has said who it is."""
    greeting = await session.accept_stream()
    await receive_message(greeting)
    return greeting


async def test_a_refused_client_leaves_immediately_and_in_order(mock_clock: MockClock) -> None:
    """And is not told what it waits for, after it was answered."""
    ends: list[muxpy.SessionEnd] = []
    told: list[str] = []

    async def handle(stream: trio.SocketStream) -> None:
        async with muxpy.open_session(stream, client=False) as session:
            greeting = await greeted(session)
            await greeting.send_all(pack({"error": "in use", "reason": "it has as many sessions as it may"}))
            assert await greeting.receive_some() == b""
            await greeting.aclose()
            ends.append(await session.wait())

    with trio.fail_after(LIMIT):
        async with Server(handle) as server:
            options = ConnectOptions(address=Address("127.0.0.1", server.port))
            with pytest.raises(Unreachable, match="as many sessions as it may"):
                async with log_in(options, Credentials(options), tell=told.append):
                    pass
            while not ends:
                await wait_all_tasks_blocked(0.01)
    assert ends[0].error is None
    assert told == []


async def test_an_echo_is_no_listening_end(autojump_clock: MockClock) -> None:
    async def handle(stream: trio.SocketStream) -> None:
        async def echo(stream: muxpy.Stream) -> None:
            async for data in stream:
                await stream.send_all(data)

        async with muxpy.open_session(stream, client=False) as session:
            await session.serve_streams(echo)

    async with Server(handle) as server:
        options = ConnectOptions(address=Address("127.0.0.1", server.port))
        with pytest.raises(Failure, match="does not answer as a muxpy: its answer names no user"):
            async with log_in(options, Credentials(options)):
                pass


async def never(*_: object) -> Any:  # noqa: ANN401 - it returns nothing
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("step", "text"),
    [
        ("resolve", "still looking up the name of there.example:4242"),
        ("connect_first", "still trying to connect to there.example:4242: nothing has answered at 192.0.2.1"),
    ],
)
async def test_whoever_waits_is_told_what_for_before_it_has_failed(
    step: str, text: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def found(_: str) -> list[str]:
        await trio.lowlevel.checkpoint()
        return ["192.0.2.1"]

    monkeypatch.setattr(_session, "resolve", found)
    monkeypatch.setattr(_session, step, never)
    told: list[tuple[float, str]] = []
    options = ConnectOptions(address=Address("there.example", 4242), insecure=True)
    begun = trio.current_time()
    with pytest.raises(Unreachable, match="no answer within 10 seconds"):
        async with log_in(
            options, Credentials(options), tell=lambda line: told.append((trio.current_time() - begun, line))
        ):
            pass
    assert told == [(PATIENCE, text)]


async def test_an_attempt_that_is_over_soon_tells_nothing(autojump_clock: MockClock) -> None:
    told: list[str] = []
    cause = ValueError("a cause")

    async def attempt() -> None:
        async with telling_progress(told.append) as progress:
            progress.step("waiting")
            progress.done()
            await trio.sleep(10 * PATIENCE)
            raise KeyError from cause

    with pytest.raises(KeyError) as caught:
        await attempt()
    assert (caught.value.__cause__, told) == (cause, [])
