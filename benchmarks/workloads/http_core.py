"""HTTP/2 without a network: the rules of a server alone, and header compression alone."""

from __future__ import annotations

import time
from functools import partial
from math import inf
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from muxpy.frame.http2 import HpackDecoder, HpackEncoder
from muxpy.http import Config
from muxpy.proto import Opening
from muxpy.proto.http2 import Connection

from ._base import Figures, Job, WorkloadError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.contenders import Client
    from muxpy.proto import Fields

__all__ = ["exchange", "hpack"]

TOGETHER: Final = 32
"""Requests in one read."""

EXCHANGES: Final = 100 * TOGETHER

HEAD: Final = (
    *((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"localhost:8000"), (b":path", b"/")),
    *((b"user-agent", b"bench/1"), (b"accept", b"*/*")),
)
ANSWER: Final = (
    *((b":status", b"200"), (b"content-length", b"6"), (b"date", b"Mon, 30 Nov 2026 17:00:00 GMT")),
    (b"content-type", b"text/plain"),
)
BODY: Final = b"hello\n"

BROWSER: Final = (
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"accept-language", b"en-US,en;q=0.5"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"referer", b"https://www.example.org/app"),
    (b"cookie", b"session=0123456789abcdef0123456789abcdef"),
    (b"sec-fetch-dest", b"document"),
    (b"sec-fetch-mode", b"navigate"),
    (b"sec-fetch-site", b"same-origin"),
    (b"upgrade-insecure-requests", b"1"),
    (b"priority", b"u=0, i"),
    (b"te", b"trailers"),
)
BLOCKS: Final = 2_000


# ---- the rules ----


async def exchange(client: Client, job: Job) -> Figures:
    """Seconds for one small request and its answer at a server, with all rules on and no network; `of` whose rules."""
    serve = {"muxpy": _serve, "h2": _serve_with_h2}[job["of"]]
    return {"exchange": _typical(lambda: serve(_requests()), job["seconds"]) / EXCHANGES}


def _requests() -> list[bytes]:
    """What a client sends, cut into reads."""
    client = Connection(Config(), client=True, clock=time.monotonic)
    reads = [_output(client)]
    for _ in range(EXCHANGES // TOGETHER):
        for _ in range(TOGETHER):
            client.open(Opening(head=HEAD), fin=True)
        reads.append(_output(client))
    return reads


def _output(core: Connection) -> bytes:
    batch = core.sending.next_batch(2**20)
    return b"" if batch is None else b"".join(batch.chunks)


def _serve(reads: Sequence[bytes]) -> float:
    core = Connection(Config(), client=False, clock=time.monotonic)
    core.receive(reads[0], inf)
    start = time.process_time()
    for data in reads[1:]:
        opened: list[Any] = core.receive(data, inf).opened
        for stream in opened:
            core.accepted(stream, hold=True)
            core.send_head(stream, ANSWER, length=len(BODY))
            core.sending.submit_small(stream, BODY, True)
            core.finish(stream)
            core.close(stream)
            core.let_go(stream)
        core.sending.next_batch(2**20)
    spent = time.process_time() - start
    if core.error is not None or core.counters.accepted != EXCHANGES:
        raise WorkloadError("not all requests were answered")
    return spent


def _serve_with_h2(reads: Sequence[bytes]) -> float:
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.events import RequestReceived

    core = H2Connection(H2Configuration(client_side=False, header_encoding=None))
    core.initiate_connection()
    core.receive_data(reads[0])
    answered = 0
    start = time.process_time()
    for data in reads[1:]:
        for event in core.receive_data(data):
            if isinstance(event, RequestReceived):
                core.send_headers(event.stream_id, ANSWER)
                core.send_data(event.stream_id, BODY, end_stream=True)
                answered += 1
        core.data_to_send()
    spent = time.process_time() - start
    if answered != EXCHANGES:
        raise WorkloadError("not all requests were answered")
    return spent


# ---- header compression ----


async def hpack(client: Client, job: Job) -> Figures:
    """Seconds to encode and to decode the head of a browser's request: one that comes again, and one with a new path.
    `of`: whose compression."""
    encode, decode = (_encode, _decode) if job["of"] == "muxpy" else (_encode_with_hpack, _decode_with_hpack)
    figures = {}
    for name, paths in (("same", ["/"] * BLOCKS), ("new", [f"/items/{number}?page=7" for number in range(BLOCKS)])):
        heads = [_browser_head(path) for path in paths]
        coder = HpackEncoder()
        # Bytes of a read are never the same objects.
        blocks = [bytes(bytearray(coder.encode(head))) for head in heads]
        seconds = job["seconds"] / 4
        figures[f"encode_{name}"] = _typical(partial(encode, heads), seconds) / BLOCKS
        figures[f"decode_{name}"] = _typical(partial(decode, blocks), seconds) / BLOCKS
    return figures


def _browser_head(path: str) -> Fields:
    pseudo = ((b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"www.example.org"))
    return (*pseudo, (b":path", path.encode()), *BROWSER)


def _encode(heads: Sequence[Fields]) -> float:
    return _each(HpackEncoder().encode, heads)


def _decode(blocks: Sequence[bytes]) -> float:
    return _each(HpackDecoder().decode, blocks)


def _encode_with_hpack(heads: Sequence[Fields]) -> float:
    from hpack import Encoder

    return _each(Encoder().encode, heads)


def _decode_with_hpack(blocks: Sequence[bytes]) -> float:
    from hpack import Decoder

    return _each(partial(Decoder().decode, raw=True), blocks)


def _each(function: Callable[[Any], object], values: Sequence[Any]) -> float:
    start = time.process_time()
    for value in values:
        function(value)
    return time.process_time() - start


def _typical(measured: Callable[[], float], seconds: float) -> float:
    """The median of what it returns, called for so many seconds, and thrice at least."""
    samples: list[float] = []
    deadline = time.perf_counter() + seconds
    while len(samples) < 3 or time.perf_counter() < deadline:
        samples.append(measured())
    return median(samples)
