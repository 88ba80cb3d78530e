"""gRPC's own client and server, in a process of its own: it has threads.

    python grpc_peer.py ask ADDRESS [CA]       talks to the server, and prints what came of it as JSON
    python grpc_peer.py ask_on ADDRESS [CA]    the same until the server goes away
    python grpc_peer.py serve [CHAIN KEY]      prints the port; goes away gracefully when a line comes in

Messages are bytes as they are: both ends only echo them.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CONVERSATIONS, ASKING = 24, 16
SIZES = (0, 1, 5, 16_384, 65_536, 1_000_000)


def messages(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield bytes([number % 256]) * SIZES[number % len(SIZES)]


# ---- a client ----


def sha256(data: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(data)).hexdigest()


def upload(channel: Any, count: int) -> bool:  # noqa: ANN401 - grpc has no types
    """Whether the server has got all messages of a call as they were sent."""
    said: bytes = channel.stream_unary("/upload")(messages(count), timeout=300)
    return said.decode() == sha256(messages(count))


def download(channel: Any, count: int) -> bool:  # noqa: ANN401
    """Whether this end has."""
    call = channel.unary_stream("/download")(str(count).encode(), timeout=300)
    received = list(call)
    return len(received) == count and dict(call.trailing_metadata())["x-sha256"] == sha256(received)


def connected(address: str, authority: str | None) -> Any:  # noqa: ANN401
    options = [("grpc.max_receive_message_length", -1)]
    if authority is None:
        return grpc.insecure_channel(address, options)
    credentials = grpc.ssl_channel_credentials(Path(authority).read_bytes())
    return grpc.secure_channel(address, credentials, options)


def ask(address: str, authority: str | None = None) -> dict[str, Any]:
    with connected(address, authority) as channel:
        unary = channel.unary_unary("/unary")
        streaming = channel.stream_stream("/streaming")
        with ThreadPoolExecutor(20) as threads:
            replies = list(threads.map(lambda message: unary(message, timeout=300), messages(60)))
            uploads = list(threads.map(lambda number: upload(channel, number), range(20)))
            downloads = list(threads.map(lambda number: download(channel, number), range(20)))
        echoed = list(streaming(messages(60), timeout=300))
        failed = streaming(iter([b"one", b"fail", b"two"]), timeout=300)
        before = [next(failed)]
        try:
            next(failed)
        except grpc.RpcError as error:
            status = [error.code().name, error.details()]
        answer, call = unary.with_call(b"with metadata", metadata=[("x-told", "yes")], timeout=300)
        hanging = channel.unary_stream("/hang?name=1")(b"", timeout=300)
        hanging.cancel()
    return {
        "unary": replies == list(messages(60)),
        "streaming": echoed == list(messages(60)),
        "uploads": all(uploads),
        "downloads": all(downloads),
        "before": [message.decode() for message in before],
        "status": status,
        "answer": answer.decode(),
        "trailers": dict(call.trailing_metadata()),
    }


def ask_on(address: str, authority: str | None = None) -> dict[str, Any]:
    """Conversations that are under way when the server goes away, and calls that follow each other."""
    with connected(address, authority) as channel, ThreadPoolExecutor(CONVERSATIONS + ASKING) as threads:
        grpc.channel_ready_future(channel).result(timeout=300)
        leaving = threading.Event()

        def watch(state: Any) -> None:  # noqa: ANN401
            if state is not grpc.ChannelConnectivity.READY:
                leaving.set()

        channel.subscribe(watch)
        calls = [channel.stream_stream("/streaming")(words(leaving), timeout=300) for _ in range(CONVERSATIONS)]
        begun = [next(call) for call in calls]
        answered = threads.map(lambda _: call_on(channel), range(ASKING))
        ended = threads.map(lambda call: list(call) == list(messages(12)), calls)
        return {
            "begun": begun == [b"begun"] * CONVERSATIONS,
            "ended": all(ended),
            "answered": sum(answered),
        }


def words(leaving: threading.Event) -> Iterator[bytes]:
    yield b"begun"
    leaving.wait(300)
    yield from messages(12)


def call_on(channel: Any) -> int:  # noqa: ANN401
    """How many calls were answered before there was no server any more."""
    for answered in count():
        message = os.urandom(20_000)
        try:
            assert channel.unary_unary("/unary")(message, timeout=300) == message
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return answered
    raise AssertionError("it counts for ever")


# ---- a server ----


def echo(message: bytes, context: Any) -> bytes:  # noqa: ANN401
    context.set_trailing_metadata([("x-size", str(len(message)))])
    return message


def echo_each(incoming: Iterator[bytes], context: Any) -> Iterator[bytes]:  # noqa: ANN401
    for message in incoming:
        if message == b"fail":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as you wish")
        yield message


def serve(*files: str) -> None:
    server = grpc.server(ThreadPoolExecutor(CONVERSATIONS + 20), options=[("grpc.max_receive_message_length", -1)])
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(echo),
        "Streaming": grpc.stream_stream_rpc_method_handler(echo_each),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("Echo", handlers)])
    if files:
        chain, key = (Path(file).read_bytes() for file in files)
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print("listening at", port, flush=True)
    sys.stdin.readline()
    server.stop(300).wait()


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "serve":
        serve(*rest)
    else:
        print(json.dumps({"ask": ask, "ask_on": ask_on}[what](*rest)))
