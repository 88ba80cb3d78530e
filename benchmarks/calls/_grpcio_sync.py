"""grpcio with threads, over one channel. Handlers and stubs take bytes as they are, without protobuf."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import grpc
from grpc.experimental import ChannelOptions

from ._base import HOST, MESSAGE, announce, callers_of, with_threads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._base import Figures, Job

WORKERS: Final = 10
"""The number of threads in grpcio's examples."""

OPTIONS: Final = ((ChannelOptions.SingleThreadedUnaryStream, 1),)
"""Faster for streams, say its authors."""


def _echo(request: bytes, context: object) -> bytes:
    return request


def _subscribe(request: bytes, context: object) -> Iterator[bytes]:
    for _ in range(int(request)):
        yield MESSAGE


def serve() -> None:
    server = grpc.server(ThreadPoolExecutor(WORKERS))
    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(_echo),
        "Subscribe": grpc.unary_stream_rpc_method_handler(_subscribe),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Bench", handlers),))
    port = server.add_insecure_port(f"{HOST}:0")
    server.start()
    announce(port)
    server.wait_for_termination()


def run(port: int, job: Job) -> Figures:
    with grpc.insecure_channel(f"{HOST}:{port}", OPTIONS) as channel:
        echo, subscribe = channel.unary_unary("/Bench/Echo"), channel.unary_stream("/Bench/Subscribe")
        return with_threads(job, [echo] * callers_of(job), lambda count: subscribe(b"%d" % count))
