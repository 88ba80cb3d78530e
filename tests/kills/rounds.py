"""Rounds in which one end of a tunnel is killed while connections of all kinds carry data.

What is killed cannot say anything any more, and its kernel closes its sockets. A client or a target that then reads an
orderly end takes a part for the whole: that is a short clean end, and there must be none.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import trio

from tests.cli.program import ADDRESS, Server
from tests.helpers.tasks import LIMIT

from .child import run_muxpy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["VICTIMS", "Result", "Victim", "play_round"]

Way: TypeAlias = Literal["-L", "-R", "-D", "reverse SOCKS", "HTTP proxy"]
Mode: TypeAlias = Literal["download", "upload", "both ways"]
Victim: TypeAlias = Literal["listening end", "connecting end"]

WAYS: Final[list[Way]] = ["-L", "-D", "HTTP proxy", "-R", "reverse SOCKS"]
"""In the order in which the connecting end says where they are bound."""
MODES: Final[list[Mode]] = ["download", "upload", "both ways"]
VICTIMS: Final[list[Victim]] = ["listening end", "connecting end"]

UNDER_WAY: Final = 128 * 1024
"""Bytes that each connection has carried before an end is killed."""
PIECE: Final = bytes(32 * 1024)


@dataclass
class Result:
    """How the sockets of one round ended."""

    seed: int
    victim: Victim
    resets: int = 0
    """Sockets that were told."""
    short: list[str] = field(default_factory=list)
    """Sockets that were not: those with a short clean end."""


# ---- the two ends ----

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["muxpy_cli._main"])
_runtime = tempfile.TemporaryDirectory(prefix="muxpy-kills-")  # killed processes leave their control sockets there


class _End:
    def __init__(self, *arguments: str) -> None:
        source, output = _context.Pipe(duplex=False)
        self.process = _context.Process(target=run_muxpy, args=(output, arguments, _runtime.name), daemon=True)
        self.process.start()
        output.close()
        self._output = trio.lowlevel.FdStream(os.dup(source.fileno()))
        source.close()
        self._text = b""

    async def port(self, text: str) -> int:
        """The first port in the next line with `text`."""
        while True:
            while b"\n" not in self._text:
                chunk = await self._output.receive_some()
                assert chunk, "an end has ended by itself"
                self._text += chunk
            line, _, self._text = self._text.partition(b"\n")
            if text.encode() in line and (match := ADDRESS.search(line.decode())):
                return int(match[2])

    async def aclose(self) -> None:
        self.process.kill()
        await self._output.aclose()
        await trio.to_thread.run_sync(self.process.join)


@asynccontextmanager
async def _tunnel(target: int, rate: bool) -> AsyncIterator[tuple[dict[Victim, _End], dict[Way, int]]]:
    listening = _End("listen", "127.0.0.1:0", *(["--rate", "1GiB"] if rate else []))
    ends: dict[Victim, _End] = {"listening end": listening}
    try:
        to_target = f"0:127.0.0.1:{target}"
        forwards = "-L", to_target, "-D", "0", "--http-proxy", "0", "-R", to_target, "-R", "0"
        connecting = _End("connect", f"127.0.0.1:{await listening.port('listening on')}", *forwards)
        ends["connecting end"] = connecting
        yield ends, {way: await connecting.port("forwarding") for way in WAYS}
    finally:
        with trio.CancelScope(shield=True):
            for end in ends.values():
                await end.aclose()


# ---- the connections ----


class _Round:
    """The clients and targets of one round."""

    def __init__(self, result: Result) -> None:
        self._result = result
        self._behind = 4 * len(WAYS)  # a download is read by its client, an upload by its target, the third by both
        self._open = 5 * len(WAYS)  # the client of an upload reads as well, though nothing comes
        self.under_way = trio.Event()
        """All connections have carried UNDER_WAY bytes."""
        self.all_ended = trio.Event()

    async def client(self, way: Way, mode: Mode, port: int, target: int) -> None:
        """A client of one way, until it has seen the end."""
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await _say_where_to(stream, way, target)
            await stream.send_all(mode[:1].encode())
            name = f"client of {way}, {mode}"
            if mode == "download":
                await stream.send_eof()
                await self._read(stream, name)
            else:
                await self._read_and_pour(stream, name)

    async def target(self, stream: trio.SocketStream) -> None:
        """What a client has reached."""
        first = await _receive_exactly(stream, 1)
        if first == b"d":
            await _pour(stream, trio.Event())
        elif first == b"u":
            await self._read(stream, "target of upload")
        else:
            await self._read_and_pour(stream, "target of both ways")

    async def _read_and_pour(self, stream: trio.SocketStream, name: str) -> None:
        told = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pour, stream, told)
            await self._read(stream, name, told)
            nursery.cancel_scope.cancel()

    async def _read(self, stream: trio.SocketStream, name: str, told: trio.Event | None = None) -> None:
        """Nobody who sends to this one comes to an end by himself, so it must not read one. The kernel tells of a reset
        once: whoever also sends may have been `told` there, and then reads an end."""
        received = 0
        try:
            while data := await stream.receive_some():
                self._note_progress(received, received + len(data))
                received += len(data)
        except trio.BrokenResourceError:
            self._result.resets += 1
        else:
            if told is not None and told.is_set():
                self._result.resets += 1
            else:
                self._result.short.append(f"{name}: after {received} bytes")
        self._open -= 1
        if not self._open:
            self.all_ended.set()

    def _note_progress(self, before: int, after: int) -> None:
        if before < UNDER_WAY <= after:
            self._behind -= 1
            if not self._behind:
                self.under_way.set()


async def _say_where_to(stream: trio.SocketStream, way: Way, target: int) -> None:
    if way in ("-D", "reverse SOCKS"):
        await stream.send_all(b"\5\1\0" + b"\5\1\0\1\x7f\0\0\1" + target.to_bytes(2, "big"))
        await _receive_exactly(stream, 12)
    elif way == "HTTP proxy":
        await stream.send_all(f"CONNECT 127.0.0.1:{target} HTTP/1.1\r\nHost: 127.0.0.1:{target}\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += await _receive_exactly(stream, 1)


async def _pour(stream: trio.SocketStream, told: trio.Event) -> None:
    """Send until it fails. Without Trio's `send`, which passes through the scheduler before it raises: the reader could
    be there first, and find that the kernel has told already."""
    while not told.is_set():
        await trio.lowlevel.wait_writable(stream.socket)
        try:
            os.write(stream.socket.fileno(), PIECE)
        except BlockingIOError:
            continue
        except OSError:
            told.set()


async def _receive_exactly(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = await stream.receive_some(count - len(data))
        assert chunk, "closed before anything was carried"
        data += chunk
    return data


# ---- a round ----


async def play_round(seed: int) -> Result:
    """Kill one end while every way carries in every mode. Raises trio.TooSlowError if a socket does not end."""
    chance = random.Random(seed)
    result = Result(seed, chance.choice(VICTIMS))
    played = _Round(result)
    with trio.fail_after(LIMIT):
        async with Server(played.target) as server, _tunnel(server.port, rate=chance.random() < 0.5) as (ends, ports):
            async with trio.open_nursery() as nursery:
                for way, port in ports.items():
                    for mode in MODES:
                        nursery.start_soon(played.client, way, mode, port, server.port)
                await played.under_way.wait()
                await trio.sleep(chance.uniform(0, 0.05))
                ends[result.victim].process.kill()
            await played.all_ended.wait()
    return result
