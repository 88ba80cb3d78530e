"""One end of sessions as a process of its own, for tests that kill, stop and starve it.

    python -m tests.chaos.end [options] serve           listen on a free port of 127.0.0.1
    python -m tests.chaos.end [options] connect PORT    one session to that port

It sends back whatever comes on a stream, and says on stdout what happens, an object a line: {"port": ...},
{"begin": true}, {"end": the reason, "error": the name of its type or null}.

With --http2 it serves HTTP/2 instead, and at SIGUSR1 says what there is: {"tasks": ..., "descriptors": ...,
"sessions": ..., "streams": ..., "exchanges": ..., "asked": requests so far}.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import signal
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

import trio

import muxpy
from muxpy import http
from muxpy.proto.http2 import HttpStream
from tests.helpers.tasks import echo

__all__ = ["HOST"]

HOST = "127.0.0.1"


def main() -> None:
    """Run until the end of the session, or for ever."""
    options = _parser().parse_args()
    if options.log is not None:
        logging.basicConfig(filename=options.log, level=logging.DEBUG)
    trace = muxpy.TraceFile(options.trace) if options.trace is not None else None
    config = muxpy.SessionConfig(
        heartbeat_interval=options.interval, heartbeat_tolerance=options.tolerance, linger_timeout=0.2, trace=trace
    )
    if options.http2:
        trio.run(_serve_http)
    elif options.port is None:
        trio.run(_serve, config)
    else:
        trio.run(_connect, config, options.port)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.end")
    parser.add_argument("--interval", type=float, default=3.0, help="heartbeat_interval")
    parser.add_argument("--tolerance", type=float, default=10.0, help="heartbeat_tolerance")
    parser.add_argument("--log", type=Path, help="the file of the log, with everything in it")
    parser.add_argument("--trace", type=Path, help="the file of the trace")
    parser.add_argument("--http2", action="store_true", help="serve HTTP/2")
    roles = parser.add_subparsers(required=True)
    roles.add_parser("serve").set_defaults(port=None)
    roles.add_parser("connect").add_argument("port", type=int)
    return parser


async def _serve(config: muxpy.SessionConfig) -> None:
    async with trio.open_nursery() as nursery:
        serve = partial(muxpy.serve_tcp_sessions, _answer, 0, host=HOST, config=config)
        (listener,) = await nursery.start(serve)
        _say(port=listener.socket.getsockname()[1])


async def _serve_http() -> None:
    asked = 0

    async def answer(exchange: http.Exchange) -> None:
        nonlocal asked
        asked += 1
        if exchange.request.method == "GET":
            await exchange.respond(200, {}, bytes(100_000))
            return
        await exchange.start(200)
        await echo(exchange)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(http.serve, answer, 0, host=HOST))
        with trio.open_signal_receiver(signal.SIGUSR1) as signals:
            _say(port=listener.socket.getsockname()[1])
            async for _ in signals:
                _say(**_held(), asked=asked)


def _held() -> dict[str, int]:
    gc.collect()
    kinds = Counter(type(one) for one in gc.get_objects())
    return {
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "sessions": kinds[http.HttpSession],
        "streams": kinds[HttpStream],
        "exchanges": kinds[http.Exchange],
    }


async def _connect(config: muxpy.SessionConfig, port: int) -> None:
    async with muxpy.open_tcp_session(HOST, port, config=config) as session:
        await _answer(session)


async def _answer(session: muxpy.Session) -> None:
    _say(begin=True)
    with suppress(muxpy.SessionClosed):  # its end says the same
        await session.serve_streams(echo)
    end = await session.wait()
    _say(end=str(end), error=type(end.error).__name__ if end.error is not None else None)


def _say(**what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
