"""Forwards between real processes: bytes, half-close, resets, refusals."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import threading
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

import muxpy
from muxpy_cli.net import Lookups, Policy, _connect, _resolve, connect_socket
from muxpy_cli.specs import Address
from muxpy_cli.wire import Purpose, Refused, pack, receive_message
from tests.helpers.tasks import LIMIT

from .program import Server, Tunnel, closed_port, echo, free_port, receive_all, reset, run, running, tunnel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

SIZE = 5_000_000
DRAIN = "--drain", "3600"
"""Longer than a test may take: what ends earlier has not waited for that."""
UNREAD = 12_000
"""Bytes that the kernel takes from a relay in any case, though the client reads nothing."""


async def exchange(stream: trio.SocketStream, size: int) -> None:
    """Send random bytes to an echo server, and check that they come back."""
    data = os.urandom(size)
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            await stream.send_all(data)
            await stream.send_eof()

        nursery.start_soon(send)
        received = await receive_all(stream)
    assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()
    stream.socket.close()


@pytest.mark.parametrize("option", ["-L", "-R"])
async def test_bytes_come_through_whole_on_many_connections(option: str) -> None:
    with trio.fail_after(LIMIT):
        async with (
            Server(echo) as target,
            tunnel(option, f"0:localhost:{target.port}") as ends,
            trio.open_nursery() as nursery,
        ):
            for size in (0, 1, 65_536, 1_000_000, SIZE):
                nursery.start_soon(exchange, await ends.client(), size)


async def test_many_forwards_share_a_session() -> None:
    with trio.fail_after(LIMIT):
        async with Server(echo) as one, Server(partial(answer, b"two")) as two:
            forwards = ("-L", f"0:127.0.0.1:{one.port}", "-L", f"0:[::1]:{one.port}", "-R", f"0:localhost:{two.port}")
            async with tunnel(*forwards) as ends:
                await exchange(await ends.client(0), 1000)
                assert await receive_all(await ends.client(2)) == b"two"


async def answer(text: bytes, stream: trio.SocketStream) -> None:
    await stream.send_all(text)
    await stream.send_eof()


async def test_half_close_passes_through_both_ways() -> None:
    async def target(stream: trio.SocketStream) -> None:
        await stream.send_all(b"first")
        assert await receive_all(stream) == b"request"  # until the client's half-close
        await stream.send_all(b" and last")

    with trio.fail_after(LIMIT):
        async with Server(target) as server, tunnel("-L", f"0:localhost:{server.port}") as ends:
            client = await ends.client()
            assert await client.receive_some() == b"first"
            await client.send_all(b"request")
            await client.send_eof()
            assert await receive_all(client) == b" and last"


async def test_a_target_that_ends_first_still_gets_the_rest() -> None:
    got = trio.Event()

    async def target(stream: trio.SocketStream) -> None:
        await stream.send_eof()
        assert await receive_all(stream) == b"late"
        got.set()

    with trio.fail_after(LIMIT):
        async with Server(target) as server, tunnel("-L", f"0:localhost:{server.port}") as ends:
            client = await ends.client()
            assert await client.receive_some() == b""
            await client.send_all(b"late")
            await client.send_eof()
            await got.wait()


@pytest.mark.parametrize(("option", "rate"), [("-L", ()), ("-R", ("--rate", "1GiB"))], ids=["-L", "-R_with_a_rate"])
async def test_what_is_unsent_when_both_have_ended_still_arrives(option: str, rate: tuple[str, ...]) -> None:
    """Until the end closing is a reset, and that would throw it away."""

    async def target(stream: trio.SocketStream) -> None:
        assert await receive_all(stream) == b"question"
        await answer(bytes(UNREAD), stream)

    with trio.fail_after(LIMIT):
        async with (
            Server(target) as server,
            tunnel(option, f"0:localhost:{server.port}", options=("-v",), listen=("-v", *rate)) as ends,
        ):
            with socket.socket() as client:  # whose kernel keeps little, so that most waits in the other one
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect(("127.0.0.1", ends.ports[0]))
                client.sendall(b"question")
                client.shutdown(socket.SHUT_WR)
                await (ends.connecting if option == "-L" else ends.listening).line("has ended")
                stream = trio.SocketStream(trio.socket.from_stdlib_socket(client))
                assert len(await receive_all(stream)) == UNREAD


async def expect_reset(ends: Tunnel) -> None:
    """Connect, and find the connection reset: when it is used, or so soon that connecting fails already."""
    try:
        client = await ends.client()
    except OSError:
        return
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_some()


@pytest.mark.parametrize("option", ["-L", "-R"])
async def test_a_refused_target_resets_the_caller(option: str) -> None:
    with trio.fail_after(LIMIT), closed_port() as port:
        async with tunnel(option, f"0:localhost:{port}") as ends:
            await expect_reset(ends)
            assert "connection refused" in await ends.connecting.line("cannot reach localhost")
            await expect_reset(ends)  # the session goes on


async def test_the_caller_learns_of_a_refusal_although_it_sends() -> None:
    with trio.fail_after(LIMIT), closed_port() as port:
        async with tunnel("-L", f"0:localhost:{port}") as ends:
            client = await ends.client()
            with pytest.raises(trio.BrokenResourceError):
                await client.send_all(bytes(100_000_000))
            assert "connection refused" in await ends.connecting.line("cannot reach localhost")


async def test_a_reset_by_the_target_is_a_reset_for_the_client() -> None:
    async def target(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        reset(stream)

    with trio.fail_after(LIMIT):
        async with Server(target) as server, tunnel("-L", f"0:localhost:{server.port}") as ends:
            client = await ends.client()
            await client.send_all(b"x")
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some()


async def test_a_reset_by_the_client_is_a_reset_for_the_target() -> None:
    was_reset = trio.Event()

    async def target(stream: trio.SocketStream) -> None:
        await stream.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        was_reset.set()

    with trio.fail_after(LIMIT):
        async with Server(target) as server, tunnel("-R", f"0:localhost:{server.port}") as ends:
            client = await ends.client()
            await client.receive_some()
            reset(client)
            await was_reset.wait()


async def test_only_loopback_targets_and_binds_are_served() -> None:
    with trio.fail_after(LIMIT):
        async with tunnel("-L", "0:0.0.0.0:80") as ends:
            await expect_reset(ends)
            assert "0.0.0.0:80 is not in allow = " in await ends.listening.line("refused")
        async with running("listen", "0") as listening:
            port = await listening.port("listening on")
            for bind in ("*", "0.0.0.0", "[::]", "192.0.2.1"):
                code, _, errors = await run("connect", f"localhost:{port}", "-R", f"{bind}:0:localhost:1")
                assert code == 3
                assert "is not in allow-bind = " in errors
                assert errors.count("\n") == 1


async def test_a_remote_port_is_free_again_when_the_session_has_ended() -> None:
    port = free_port()
    with trio.fail_after(LIMIT):
        async with running("listen", "0") as listening:
            address = f"localhost:{await listening.port('listening on')}"
            for _ in range(3):
                async with running("connect", address, "-R", f"{port}:localhost:1") as connecting:
                    await connecting.line("forwarding")
                    assert await connecting.end() == 0
                await listening.line("has ended")


async def test_a_stream_that_speaks_nonsense_harms_only_itself() -> None:
    with trio.fail_after(LIMIT):
        async with running("listen", "0") as listening:
            port = await listening.port("listening on")
            async with muxpy.open_tcp_session("127.0.0.1", port) as session:
                await say_hello(session)
                for stream_type, data in ((Purpose.CONNECT, b"\xff\xff"), (Purpose.LISTEN, pack({"host": 7}))):
                    stream = await session.open_stream(stream_type=stream_type)
                    await stream.send_all(data)
                    with pytest.raises(muxpy.StreamReset):
                        await stream.receive_some()
                stream = await session.open_stream(stream_type=77)
                await stream.send_all(pack({}))
                assert (await receive_message(stream))[0]["error"] == "unknown"
                await stream.aclose()
                # And it goes on.
                stream = await session.open_stream(stream_type=Purpose.LISTEN)
                await stream.send_all(pack({"host": "127.0.0.1", "port": 0, "forward": 0}))
                assert "port" in (await receive_message(stream))[0]
                await stream.aclose()


async def say_hello(session: muxpy.Session) -> None:
    """What comes first in each session."""
    stream = await session.open_stream(stream_type=Purpose.HELLO)
    await stream.send_all(pack({}))
    assert "program" in (await receive_message(stream))[0]
    await stream.aclose()


async def test_draining_lets_open_connections_finish(tmp_path: Path) -> None:
    started, release = trio.Event(), trio.Event()
    control = str(tmp_path / "control")

    async def target(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        started.set()
        await release.wait()
        await stream.send_all(b"x" * SIZE)

    with trio.fail_after(LIMIT):
        async with (
            Server(target) as server,
            tunnel(
                "-L", f"0:localhost:{server.port}", "-D", "0", "-R", "0:localhost:1", options=("--control", control)
            ) as ends,
        ):
            client = await ends.client()
            await client.send_all(b"go")
            await started.wait()
            assert await forward_states(control) == ["bound"] * 3
            ends.connecting.send(signal.SIGINT)
            await ends.connecting.line("finishing")
            assert await forward_states(control) == ["draining"] * 3
            release.set()
            assert len(await receive_all(client)) == SIZE
            client.socket.close()
            assert await ends.connecting.process.wait() == 0
            assert "ended" in await ends.listening.line("ended")


async def forward_states(control: str) -> list[str]:
    _, output, _ = await run("status", "--json", control)
    return [forward["state"] for forward in json.loads(output)["forwards"]]


async def test_draining_does_not_wait_for_datagrams() -> None:
    with trio.fail_after(LIMIT), trio.socket.socket(type=socket.SOCK_DGRAM) as target:
        await target.bind(("127.0.0.1", 0))
        forward = f"0:127.0.0.1:{target.getsockname()[1]}/udp"
        async with tunnel("-L", forward, options=DRAIN) as ends:
            with trio.socket.socket(type=socket.SOCK_DGRAM) as client:
                await client.sendto(b"ping", ("127.0.0.1", ends.ports[0]))
                assert await target.recv(100) == b"ping"
                assert await ends.connecting.end(signal.SIGINT) == 0


@pytest.mark.parametrize(("option", "who"), [("-L", "listening"), ("-R", "connecting")])
async def test_draining_loses_nothing_for_a_slow_reader(option: str, who: str) -> None:
    """The last bytes leave the session long before the reader has them."""
    finishing, done = trio.Event(), trio.Event()
    received: list[int] = []

    async def write(stream: trio.SocketStream) -> None:
        await stream.send_all(bytes(SIZE))
        await stream.send_eof()
        await stream.receive_some()

    async def read_slowly(stream: trio.SocketStream) -> None:
        await stream.send_eof()
        await finishing.wait()
        with suppress(trio.BrokenResourceError):
            while data := await stream.receive_some(SIZE // 20):
                received.append(len(data))
                await trio.sleep(0.05)
        stream.socket.close()
        done.set()

    # Bytes flow towards the end that is being ended.
    reader_is_client = (option == "-L") == (who == "connecting")
    at_target, at_client = (write, read_slowly) if reader_is_client else (read_slowly, write)
    with trio.fail_after(LIMIT):
        async with (
            Server(at_target) as server,
            tunnel(option, f"0:localhost:{server.port}", options=DRAIN, listen=DRAIN) as ends,
        ):
            program = ends.connecting if who == "connecting" else ends.listening
            async with trio.open_nursery() as nursery:
                nursery.start_soon(at_client, await ends.client())
                await trio.sleep(0.5)  # until the buffers on the way are full
                program.send(signal.SIGINT)
                await program.line("finishing")
                finishing.set()
                assert await program.process.wait() == 0
            await done.wait()
            assert sum(received) == SIZE


async def test_a_listening_end_with_an_idle_remote_forward_ends_immediately() -> None:
    with trio.fail_after(LIMIT):
        async with tunnel("-R", "0:localhost:1", listen=DRAIN) as ends:
            assert await ends.listening.end() == 0
            await ends.connecting.line("is ending the session")


async def test_a_user_may_have_so_many_remote_forwards() -> None:
    with trio.fail_after(LIMIT):
        async with running("listen", "0", "--max-forwards", "3") as listening:
            port = await listening.port("listening on")
            async with muxpy.open_tcp_session("127.0.0.1", port) as session:
                await say_hello(session)
                streams = []
                for number in range(4):
                    streams.append(await session.open_stream(stream_type=Purpose.LISTEN))
                    await streams[-1].send_all(pack({"host": "127.0.0.1", "port": 0, "forward": number}))
                    answer, _ = await receive_message(streams[-1])
                    assert ("port" in answer) == (number < 3)
                assert answer["error"] == "limit"
                assert "max-forwards = 3" in answer["reason"]
                session.kill()


@asynccontextmanager
async def listening_end(
    handler: Callable[[muxpy.Stream], Awaitable[None]], config: muxpy.SessionConfig | None = None
) -> AsyncIterator[str]:
    """A listening end in this process that says hello, and does with other streams what the test wants."""

    async def handle(stream: muxpy.Stream) -> None:
        await receive_message(stream)
        if stream.stream_type == Purpose.HELLO:
            await stream.send_all(pack({"user": "somebody"}))
        else:
            await handler(stream)

    async def serve(session: muxpy.Session) -> None:
        with suppress(muxpy.SessionClosed):
            await session.serve_streams(handle)

    async with trio.open_nursery() as nursery:
        start = partial(muxpy.serve_tcp_sessions, serve, 0, host="127.0.0.1", config=config)
        listeners = await nursery.start(start)
        yield f"localhost:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def test_a_forward_that_the_other_end_has_ended_is_asked_for_again() -> None:
    async def listen_shortly(stream: muxpy.Stream) -> None:
        await stream.send_all(pack({"port": 1}))

    with trio.fail_after(LIMIT):
        async with listening_end(listen_shortly) as address, running("connect", address, "-R", "0:a:1") as connecting:
            assert "forwarding 127.0.0.1:1 at" in await connecting.line("forwarding")
            assert "trying again" in await connecting.line("no longer forwards 127.0.0.1:1")
            assert "again" in await connecting.line("forwarding 127.0.0.1:1 at")
            assert await connecting.end() == 0


async def test_a_forward_that_another_run_has_taken_over_is_left_alone() -> None:
    async def take_over(stream: muxpy.Stream) -> None:
        await stream.send_all(pack({"port": 1}) + pack({"error": "taken over", "reason": "it was taken over"}))
        await stream.receive_some()

    with trio.fail_after(LIMIT):
        async with listening_end(take_over) as address:
            code, output, errors = await run("connect", address, "-R", "0:a:1")
            assert (code, errors) == (1, "muxpy: no forward is left\n")
            assert output.count("it was taken over") == 1


async def test_too_many_connections_are_complained_about() -> None:
    async def accept(stream: muxpy.Stream) -> None:
        await stream.send_all(pack({}))
        await stream.receive_some()

    with trio.fail_after(LIMIT):
        async with (
            listening_end(accept, muxpy.SessionConfig(max_streams=1)) as address,
            running("connect", address, "-L", "0:localhost:80") as connecting,
        ):
            port = await connecting.port("forwarding")
            clients = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(3)]
            line = await connecting.line("connection to localhost:80: ")
            assert "the other end takes no more connections over this session" in line
            assert "(--max-streams of muxpy listen raises that)" in line
            for client in clients:
                await client.aclose()


async def test_whose_limit_was_reached_and_what_would_help_is_said_at_both_ends() -> None:
    many = "as many connections are open as max-streams = 1 at the listening end allows; raise it there, or close some"
    with trio.fail_after(LIMIT):
        async with (
            Server(echo) as target,
            tunnel("-L", f"0:localhost:{target.port}", listen=("--max-streams", "1")) as ends,
        ):
            client = await ends.client()
            await client.send_all(b"x")
            assert await client.receive_some() == b"x"
            await expect_reset(ends)
            assert (await ends.connecting.line("takes no more")).endswith(f" the other end takes no more: {many}")
            assert (await ends.listening.line("refused")).endswith(f": {many}")


async def test_a_refusal_without_a_reason_is_still_a_sentence() -> None:
    async def refuse(stream: muxpy.Stream) -> None:
        await stream.send_all(pack({"error": "failed"}))

    with trio.fail_after(LIMIT):
        async with listening_end(refuse) as address, running("connect", address, "-L", "0:localhost:80") as connecting:
            client = await trio.open_tcp_stream("127.0.0.1", await connecting.port("forwarding"))
            line = await connecting.line("cannot reach")
            assert line.endswith("the other end cannot reach localhost:80, and did not say why")
            await client.aclose()


async def test_looking_a_name_up_counts_for_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def lookup(*_: object, **__: object) -> list[object]:
        answered.wait(LIMIT)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(_connect, "CONNECT_TIMEOUT", 0.1)
    monkeypatch.setattr(_resolve, "SHARE", 2)
    policy = Policy(Lookups())
    try:
        for _ in range(4):  # the last two wait for a free thread, and no longer than the others
            with trio.fail_after(LIMIT), pytest.raises(Refused) as caught:
                await connect_socket(Address("slow.example", 80), policy)
            assert caught.value.error == "timeout"
        assert policy.lookups._share.borrowed_tokens == 2
    finally:
        answered.set()
    while policy.lookups._share.borrowed_tokens:  # noqa: ASYNC110 - threads give them back
        await trio.sleep(0.01)


async def test_a_client_that_reads_nothing_does_not_outlive_the_session() -> None:
    async def target(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            while True:
                await stream.send_all(bytes(100_000))

    with trio.fail_after(LIMIT):
        async with Server(target) as server, tunnel("-L", f"0:localhost:{server.port}") as ends:
            client = await ends.client()
            assert await client.receive_some(1)
            ends.listening.process.kill()
            with pytest.raises(trio.BrokenResourceError):
                await receive_all(client)


async def test_a_client_that_gives_up_ends_its_session_in_order_and_a_target_that_is_not_there_is_no_refusal() -> None:
    with trio.fail_after(LIMIT), closed_port() as nowhere:
        async with running("listen", "0", "--log-format", "json") as listening:
            port = await listening.port("listening on")
            for option, spec, event in (
                ("-W", f"localhost:{nowhere}", "connection_failed"),
                ("-R", f"{port}:localhost:1", "refused"),  # which is in use
                ("-R", "nothing.invalid:0:localhost:1", "refused"),  # a name, but not of a target
            ):
                code, _, errors = await run("connect", f"localhost:{port}", option, spec)
                assert code == 1, errors
                failed = json.loads(await listening.line(f'"event": "{event}"'))
                assert ("cannot reach" in failed["message"]) == (option == "-W")
                ended = json.loads(await listening.line("session_closed"))
                assert ended["message"].endswith("has ended")  # and was not lost
