"""Quick figures: muxpy beside plain Trio TCP, client and server in separate processes on loopback, in one run.

    python benchmarks/quick.py [--rounds 3] [--seconds 1.0]

Each figure is a median over the rounds, and the two contenders take turns in each round, since the speed of a
shared machine drifts: the ratio is what counts. Bulk is timed until the receiver has said that it has all of it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from statistics import median

import trio

import muxpy

CHUNK = bytes(64 * 1024)
MESSAGE = b"m" * 100
HOST = "127.0.0.1"
CONFIG = muxpy.SessionConfig(max_streams=4096, accept_backlog=4096)

Opener = Callable[[], Awaitable[trio.abc.HalfCloseableStream]]
Measure = Callable[[Opener, float], Awaitable[float]]

# ---- the serving process: the first byte of a stream says what is wanted ----


async def serve(stream: trio.abc.HalfCloseableStream) -> None:
    """b"s": count bytes until EOF, then answer with the count. b"e": echo."""
    try:
        data = await stream.receive_some()
        if data[:1] == b"s":
            total = len(data) - 1
            while data := await stream.receive_some():
                total += len(data)
            await stream.send_all(total.to_bytes(8, "big"))
        elif data:
            data = data[1:] or await stream.receive_some()
            while data:
                await stream.send_all(data)
                data = await stream.receive_some()
    except trio.BrokenResourceError:
        pass


async def serve_session(session: muxpy.Session) -> None:
    await session.serve_streams(serve)


async def run_server(kind: str) -> None:
    async with trio.open_nursery() as nursery:
        if kind == "tcp":
            listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host=HOST))
        else:
            listeners = await nursery.start(
                partial(muxpy.serve_tcp_sessions, serve_session, 0, host=HOST, config=CONFIG)
            )
        print(listeners[0].socket.getsockname()[1], flush=True)
        await trio.sleep_forever()


@asynccontextmanager
async def contender(kind: str) -> AsyncIterator[Opener]:
    """A server process of this kind, and a function that opens a stream to it."""
    server = await trio.lowlevel.open_process([sys.executable, __file__, "--serve", kind], stdout=subprocess.PIPE)
    assert server.stdout is not None
    try:
        port = int(await server.stdout.receive_some())
        if kind == "tcp":
            yield partial(trio.open_tcp_stream, HOST, port)
        else:
            async with muxpy.open_tcp_session(HOST, port) as session:
                yield session.open_stream
    finally:
        server.kill()
        with trio.CancelScope(shield=True):
            await server.wait()


# ---- the measures ----


def bulk(streams: int, chunk: bytes = CHUNK) -> Measure:
    async def measure(opener: Opener, seconds: float) -> float:
        total = 0

        async def send() -> None:
            nonlocal total
            async with await opener() as stream:
                await stream.send_all(b"s")
                sent = 0
                while time.perf_counter() < deadline:
                    await stream.send_all(chunk)
                    sent += len(chunk)
                await stream.send_eof()
                reply = b""
                while len(reply) < 8:
                    reply += await stream.receive_some()
                assert int.from_bytes(reply, "big") == sent, "the receiver counted something else"
                total += sent

        start = time.perf_counter()
        deadline = start + seconds
        async with trio.open_nursery() as nursery:
            for _ in range(streams):
                nursery.start_soon(send)
        return total / (time.perf_counter() - start)

    return measure


def echo(streams: int) -> Measure:
    async def measure(opener: Opener, seconds: float) -> float:
        count = 0

        async def ping(stream: trio.abc.HalfCloseableStream) -> None:
            nonlocal count
            async with stream:
                await stream.send_all(b"e")
                while time.perf_counter() < deadline:
                    await round_trip(stream)
                    count += 1

        opened = [await opener() for _ in range(streams)]
        start = time.perf_counter()
        deadline = start + seconds
        async with trio.open_nursery() as nursery:
            for stream in opened:
                nursery.start_soon(ping, stream)
        return count / (time.perf_counter() - start)

    return measure


def open_close(at_once: int) -> Measure:
    async def measure(opener: Opener, seconds: float) -> float:
        count = 0

        async def cycle() -> None:
            nonlocal count
            while time.perf_counter() < deadline:
                async with await opener() as stream:
                    await stream.send_all(b"e" + MESSAGE)
                    await receive_exactly(stream, len(MESSAGE))
                count += 1

        start = time.perf_counter()
        deadline = start + seconds
        async with trio.open_nursery() as nursery:
            for _ in range(at_once):
                nursery.start_soon(cycle)
        return count / (time.perf_counter() - start)

    return measure


async def round_trip(stream: trio.abc.HalfCloseableStream) -> None:
    await stream.send_all(MESSAGE)
    await receive_exactly(stream, len(MESSAGE))


async def receive_exactly(stream: trio.abc.HalfCloseableStream, size: int) -> None:
    while size:
        data = await stream.receive_some()
        assert data, "the stream ended early"
        size -= len(data)


MEASURES: dict[str, tuple[Measure, float, str]] = {
    "bulk, 1 stream": (bulk(1), 1e9, "GB/s"),
    "bulk, 8 streams": (bulk(8), 1e9, "GB/s"),
    "1 KiB writes, 1 stream": (bulk(1, bytes(1024)), 1e6, "MB/s"),
    "1 KiB writes, 8 streams": (bulk(8, bytes(1024)), 1e6, "MB/s"),
    "100 B echo, 1 stream": (echo(1), 1, "/s"),
    "100 B echo, 100 streams": (echo(100), 1, "/s"),
    "100 B echo, 1,000 streams": (echo(1000), 1, "/s"),
    "open + echo + close, 100 at once": (open_close(100), 1, "/s"),
}


async def main(rounds: int, seconds: float, only: str) -> None:
    print(f"{'':34}{'muxpy':>14}{'Trio TCP':>14}{'ratio':>8}")
    for name, (measure, unit, label) in MEASURES.items():
        if only not in name:
            continue
        figures: dict[str, list[float]] = {"muxpy": [], "tcp": []}
        for _ in range(rounds):
            for kind, results in figures.items():
                async with contender(kind) as opener:
                    await measure(opener, seconds / 5)  # warm up
                    results.append(await measure(opener, seconds))
        ours, theirs = median(figures["muxpy"]), median(figures["tcp"])
        digits = 2 if unit == 1e9 else 0
        columns = [f"{figure / unit:>9,.{digits}f} {label:4}" for figure in (ours, theirs)]
        print(f"{name:34}{''.join(columns)}{ours / theirs:>7.2f}x", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--serve", choices=["muxpy", "tcp"], help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3, help="rounds to take the median of (3)")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one measurement (1.0)")
    parser.add_argument("--only", default="", help="only the measures whose name contains this")
    arguments = parser.parse_args()
    if arguments.serve:
        trio.run(run_server, arguments.serve)
    else:
        trio.run(main, arguments.rounds, arguments.seconds, arguments.only)
