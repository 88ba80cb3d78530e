"""Half-closes and resets through every way that a connection can take, with a rate and without: one matrix."""

from __future__ import annotations

import select
import subprocess
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import pytest
import trio

from tests.helpers import processes
from tests.helpers.tasks import LIMIT

from ..program import COMMAND, ENVIRONMENT, Server, receive_all, reset
from .ends import Ends, tunnel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

WAYS: Final = ("-L", "-L from a Unix socket", "-D", "HTTP proxy", "-R", "reverse SOCKS", "-R from a Unix socket", "-W")
LATE: Final = b"a late answer"

Client = trio.SocketStream | trio.StapledStream[trio.abc.SendStream, trio.abc.ReceiveStream]


class Scene:
    """A client and its target for each way."""

    def __init__(self) -> None:
        self._over = trio.Event()
        self.begin()

    def begin(self) -> None:
        """Let go of the targets that there are: others will come."""
        self._over.set()
        self._over = trio.Event()
        self._targets = {way: trio.Event() for way in WAYS}
        self._streams: dict[str, trio.SocketStream] = {}

    async def serve(self, stream: trio.SocketStream) -> None:
        """A target: its client says first which way it has come."""
        way = (await _receive(stream, b"\n")).strip().decode()
        self._streams[way] = stream
        self._targets[way].set()
        await self._over.wait()

    async def target(self, way: str, client: Client) -> trio.SocketStream:
        """What the client of that way has reached; one round of bytes is done."""
        await client.send_all(f"{way}\n".encode())
        await self._targets[way].wait()
        stream = self._streams[way]
        await stream.send_all(b"welcome\n")
        await _receive(client, b"welcome\n")
        return stream


async def _receive(stream: trio.abc.ReceiveStream, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        chunk = await stream.receive_some(1)
        assert chunk, data
        data += chunk
    return data


async def connect(way: str, ends: Ends, folder: Path, target: int) -> Client:
    """A client of that way, past the proxy's handshake."""
    if way.endswith("a Unix socket"):
        return await trio.open_unix_socket(str(folder / way[1]))
    port = ends.ports[WAYS.index(way)]
    client = await trio.open_tcp_stream("127.0.0.1", port)
    if way in ("-D", "reverse SOCKS"):
        await client.send_all(b"\5\1\0\5\1\0\1\x7f\0\0\1" + target.to_bytes(2, "big"))
        for _ in range(12):
            assert await client.receive_some(1)
    elif way == "HTTP proxy":
        where = f"127.0.0.1:{target}"
        await client.send_all(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode())
        await _receive(client, b"\r\n\r\n")
    return client


@asynccontextmanager
async def stdio(ends: Ends, target: int) -> AsyncIterator[Client]:
    """A client of -W."""
    command = [*COMMAND, "connect", f"127.0.0.1:{ends.port}", "-W", f"127.0.0.1:{target}"]
    options = {"stdin": subprocess.PIPE, "stderr": subprocess.DEVNULL, "env": ENVIRONMENT}
    async with processes.started(command, **options) as process:
        assert process.stdio is not None
        yield process.stdio


# ---- what is done ----


async def half_close_of_the_client(client: Client, target: trio.SocketStream) -> None:
    await client.send_eof()
    assert not await receive_all(target)
    await target.send_all(LATE)
    await target.send_eof()
    assert await receive_all(client) == LATE


async def half_close_of_the_target(client: Client, target: trio.SocketStream) -> None:
    await target.send_eof()
    assert not await receive_all(client)
    await client.send_all(LATE)
    await client.send_eof()
    assert await receive_all(target) == LATE


async def reset_of_the_client_after_its_end(client: Client, target: trio.SocketStream) -> None:
    await client.send_eof()
    assert not await receive_all(target)
    if isinstance(client, trio.SocketStream) and client.socket.family != trio.socket.AF_UNIX:
        reset(client)
        await told(target)
    else:  # it has no resets: that it has gone shows when it is sent something
        await trio.aclose_forcefully(client)
        await broken(target)


async def reset_of_the_target_after_its_end(client: Client, target: trio.SocketStream) -> None:
    await target.send_eof()
    assert not await receive_all(client)
    reset(target)
    if isinstance(client, trio.SocketStream):
        await told(client)
    else:  # nothing can tell a program that only reads; what it sends then ends it
        await client.send_all(b"x")


async def told(stream: trio.SocketStream) -> None:
    """Wait until it has been reset, although it had come to its end, and nothing is sent."""
    poll = select.poll()
    poll.register(stream.socket, 0)  # which leaves errors
    while not poll.poll(0):  # noqa: ASYNC110 - Trio waits for no errors
        await trio.sleep(0.02)


async def broken(stream: trio.SocketStream) -> None:
    """Send until it fails."""
    with suppress(trio.BrokenResourceError):
        while True:
            await stream.send_all(b"x")
            await trio.sleep(0.02)


CASES = (
    half_close_of_the_client,
    half_close_of_the_target,
    reset_of_the_client_after_its_end,
    reset_of_the_target_after_its_end,
)


@pytest.mark.parametrize("rate", ["with_a_rate", "without"])
async def test_every_way(rate: str) -> None:
    scene = Scene()
    with trio.fail_after(LIMIT), TemporaryDirectory(prefix="mux") as name:
        folder = Path(name)
        allowed = "--allow-bind", f"unix:{folder / 'R'}", "--allow-bind", "localhost:*"
        async with Server(scene.serve) as server:
            to = f"127.0.0.1:{server.port}"
            local = "-L", f"0:{to}", "-L", f"{folder / 'L'}:{to}", "-D", "0", "--http-proxy", "0"
            remote = "-R", f"0:{to}", "-R", "0", "-R", f"{folder / 'R'}:{to}"
            listen = (*allowed, *(("--rate", "1GiB") if rate == "with_a_rate" else ()))
            async with tunnel(*local, *remote, listen=listen) as ends:
                for case in CASES:
                    async with stdio(ends, server.port) as standard:
                        clients = {way: await connect(way, ends, folder, server.port) for way in WAYS[:-1]}
                        await play(case, scene, {**clients, "-W": standard})
                        await ends.listening.until(nothing_is_open)
                    scene.begin()


async def play(
    case: Callable[[Client, trio.SocketStream], Awaitable[None]], scene: Scene, clients: dict[str, Client]
) -> None:
    """Do it on all ways together."""
    left = set(clients)

    async def one(way: str, client: Client) -> None:
        async with client:
            await case(client, await scene.target(way, client))
        left.remove(way)

    with trio.move_on_after(LIMIT / 2):
        async with trio.open_nursery() as nursery:
            for way, client in clients.items():
                nursery.start_soon(one, way, client)
    assert not left, f"{case.__name__}: {left}"


def nothing_is_open(found: dict[str, list[dict[str, int]]]) -> bool:
    return not any(session["streams"] for session in found["sessions"])
