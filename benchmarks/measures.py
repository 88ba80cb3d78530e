"""All measures, with what muxpy should reach in each. Times are in units of --seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .calls import LIBRARIES
from .link import Link
from .model import Entry, Figure, Job, Measure, Round, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["GO", "GO_HTTP", "GROUPS", "LINK_RTTS", "MEASURES", "OPEN_STREAMS"]

GO: Final = ("go-muxado", "go-yamux", "go-smux")
GO_HTTP: Final = "go-http2"
OTHERS: Final = ("tcp", *GO, "ssh", "asyncssh")

RATE: Final = (Figure("rate", "rate", "/s"),)
BYTE_RATE: Final = (Figure("rate", "rate", "B/s"),)

OPEN_STREAMS: Final = (1, 10, 100, 1_000, 10_000)
LINK_RTTS: Final = (0.02, 0.05, 0.1, 0.2)
GIGABIT: Final = 125e6
TUNNELS: Final = {"muxpy": "program", "muxpy-tls": "program-tls", "none": "none", "ssh": "ssh", "asyncssh": "asyncssh"}
"""The forwarders, by the name that they have in the tables."""
TUNNEL_MEMORY: Final = 60 * 2**20
"""Bytes that each end of a tunnel may take with its thousand connections."""

IDLE_STREAM: Final = 450
"""Bytes that an idle stream may take at each end."""

SETTLED: Final = 10
"""Round trips after which a stream should fill its link."""


def entries(job: Job, *contenders: str) -> tuple[Entry, ...]:
    """The same job for all."""
    return tuple(Entry(contender, contender, job) for contender in contenders)


def at_least(factor: float, *beside: str, figure: str = "rate", entry: str = "muxpy") -> Target:
    return Target(entry, figure, factor, beside)


def plural(streams: int) -> str:
    return f"{streams:,} stream{'s' if streams > 1 else ''}"


def bulk_job(streams: int, chunk: int) -> Job:
    return {"workload": "bulk", "streams": streams, "chunk": chunk, "seconds": 1, "warmup": 0.2}


def echo_job(streams: int, idle: int = 0) -> Job:
    return {"workload": "echo", "streams": streams, "size": 100, "seconds": 1, "warmup": 0.2, "idle": idle}


def bulk() -> Iterator[Measure]:
    for streams in (1, 8):
        targets = [at_least(0.8, "tcp"), at_least(1.2 if streams == 1 else 1, *GO)]
        if streams == 1:
            targets.append(at_least(4, "go-muxado"))
        name = f"bulk, 64 KiB writes, {plural(streams)}"
        yield Measure("bulk", name, entries(bulk_job(streams, 65536), "muxpy", *OTHERS), BYTE_RATE, targets)
    for size, targets in ((256, [at_least(0.7, "tcp")]), (1, [at_least(1.2, "tcp")])):
        for streams in (1, 8):
            name = f"bulk, {size} KiB writes, {plural(streams)}"
            job = bulk_job(streams, size * 1024)
            yield Measure("bulk", name, entries(job, "muxpy", "tcp"), BYTE_RATE, targets)


def echo() -> Iterator[Measure]:
    one = (at_least(0.85, "tcp"), at_least(1, "go-muxado"), at_least(1, "go-yamux"))
    many = (at_least(1.8, "tcp"), at_least(1.2, *GO))
    for streams in (1, 100, 1_000):
        takers = entries(echo_job(streams), "muxpy", "tcp", *GO)
        yield Measure("echo", f"100 B echo, {plural(streams)}", takers, RATE, one if streams == 1 else many)


def opening() -> Iterator[Measure]:
    job = {"workload": "open", "at_once": 100, "size": 100, "seconds": 1, "warmup": 0.2}
    takers = entries(job, "muxpy", "muxpy-accept", "tcp", *GO)
    targets = (at_least(4, "tcp"), at_least(1, *GO))
    yield Measure("open", "open + 100 B echo + close, 100 in parallel", takers, RATE, targets)


def many() -> Iterator[Measure]:
    takers = [
        Entry(f"{count:,} open", "muxpy", echo_job(min(count, 100), idle=max(count - 100, 0))) for count in OPEN_STREAMS
    ]
    target = at_least(0.8, "100 open", entry="10,000 open")
    yield Measure("many", "100 B echo on at most 100 of many open streams", takers, RATE, (target,))


def memory() -> Iterator[Measure]:
    figures = (Figure("client", "client, a stream", "B"), Figure("server", "server, a stream", "B"))
    for count in (10_000, 100_000):
        takers = entries({"workload": "memory", "streams": count}, "muxpy-held", "muxpy")
        limits = [Target("muxpy-held", figure.key, IDLE_STREAM, at_most=True) for figure in figures]
        yield Measure("memory", f"memory of {count:,} idle streams", takers, figures, limits, rounds=1)


def tls() -> Iterator[Measure]:
    takers = ("muxpy-tls", "trio-ssl")
    job = bulk_job(1, 65536)
    target = at_least(1.8, "trio-ssl", entry="muxpy-tls")
    yield Measure("tls", "TLS: bulk, 1 stream", entries(job, *takers), BYTE_RATE, (target,))
    for streams in (1, 100):
        targets = (at_least(0.85, "trio-ssl", entry="muxpy-tls"),)
        yield Measure("tls", f"TLS: 100 B echo, {plural(streams)}", entries(echo_job(streams), *takers), RATE, targets)


def link() -> Iterator[Measure]:
    figures = (Figure("steady", "steady rate", "B/s"), Figure("climb", "until 0.9 of tcp", "round trips"))
    targets = (
        at_least(0.9, "tcp", figure="steady"),
        Target("muxpy", "climb", SETTLED, at_most=True),
    )
    for rtt in LINK_RTTS:
        seconds = 10 if rtt == 0.1 else 5
        job = {"workload": "timeline", "chunk": 65536, "interval": rtt, "seconds": seconds, "least": 15 * rtt}
        takers = entries(job, "muxpy", "tcp", *(("go-muxado",) if rtt == 0.1 else ()))
        name = f"1 Gbit/s, round trip {rtt * 1000:.0f} ms, 1 stream"
        yield Measure("link", name, takers, figures, targets, rounds=1, link=Link(rtt, GIGABIT), derive=settle)


def settle(samples: Round, measure: Measure) -> None:
    """The rate after ten round trips, and how many had passed when a stream first had 0.9 of TCP's: all, if never."""
    interval = measure.entries[0].job["interval"]
    for sample in samples.values():
        settled = sample["intervals"][SETTLED:-1]  # the last is cut short
        sample["steady"] = sum(settled) / len(settled) / interval
    if "tcp" in samples:
        enough = 0.9 * samples["tcp"]["steady"] * interval
        for sample in samples.values():
            line = sample["intervals"]
            sample["climb"] = next((trips for trips, count in enumerate(line) if count >= enough), len(line))


def latency() -> Iterator[Measure]:
    figures = (
        Figure("idle_p50", "alone, median", "s"),
        Figure("idle_p99", "alone, p99", "s"),
        Figure("p50", "beside bulk, median", "s"),
        Figure("p99", "beside bulk, p99", "s"),
        Figure("tcp_p50", "own TCP beside bulk, median", "s"),
        Figure("tcp_p99", "own TCP beside bulk, p99", "s"),
    )
    targets = (
        Target("muxpy", "p99", 5, beside_figure="idle_p99", at_most=True),
        Target("muxpy", "p99", 1.5, beside_figure="tcp_p99", at_most=True),
    )
    job = {"workload": "latency", "size": 100, "every": 0.002, "streams": 8, "seconds": 2, "warmup": 0.5}
    yield Measure(
        "latency", "100 B echo beside 8 bulk streams", (Entry("muxpy", "muxpy-beside", job),), figures, targets
    )


def priority() -> Iterator[Measure]:
    figures = (
        Figure("share", "its share", "share"),
        Figure("expected", "by weight", "share"),
        Figure("error", "off by", "share"),
        Figure("least", "the others' least, of their mean", "share"),
    )
    targets = (Target("muxpy", "error", 0.15, at_most=True), Target("muxpy", "least", 0.001))
    job = {
        **{"workload": "priority", "priority": 2**31 - 1, "others": 32, "chunk": 65536},
        **{"seconds": 1, "warmup": 0.5},
    }
    name = "highest priority among 32 bulk streams of the lowest"
    yield Measure("priority", name, entries(job, "muxpy"), figures, targets)


def unread() -> Iterator[Measure]:
    figures = (
        Figure("growth", "receiver grew by", "B"),
        Figure("unread", "received and unread", "B"),
        Figure("bound", "bound", "B"),
    )
    target = Target("muxpy", "growth", 1, beside_figure="bound", at_most=True)
    job = {"workload": "unread", "streams": 1_000}
    yield Measure("unread", "1,000 streams that nobody reads", entries(job, "muxpy"), figures, (target,))


def updates() -> Iterator[Measure]:
    target = Target("muxpy", "share", 0.01, at_most=True)
    figures = (Figure("share", "of all bytes", "share"),)
    for streams in (1, 8):
        job = {**bulk_job(streams, 65536), "workload": "updates"}
        name = f"window updates in bulk, {plural(streams)}"
        yield Measure("updates", name, entries(job, "muxpy"), figures, (target,))


def tunnel() -> Iterator[Measure]:
    yield from tunnel_bulk()
    yield from tunnel_requests()
    figures = (Figure("near", "connecting end", "B"), Figure("far", "listening end", "B"))
    job = {"workload": "connections", "connections": 1_000, "size": 100}
    takers = tuple(Entry(name, contender, job) for name, contender in TUNNELS.items() if name != "none")
    limits = [
        Target(entry, figure.key, TUNNEL_MEMORY, at_most=True) for entry in ("muxpy", "muxpy-tls") for figure in figures
    ]
    yield Measure("tunnel", "memory with 1,000 idle connections", takers, figures, limits)


def tunnel_bulk() -> Iterator[Measure]:
    for streams, secure in ((1, 1.2), (8, 1.1)):
        for way in ("upload", "download"):
            job = {"workload": "iperf3", "streams": streams, "reverse": way == "download", "seconds": 1}
            beside_ssh = (at_least(1.8, "ssh"), at_least(secure, "ssh", entry="muxpy-tls"))
            targets = (*beside_ssh, *faster_than_asyncssh())
            name = f"iperf3: {plural(streams)}, {way}"
            yield Measure("tunnel", name, through_tunnels(job, "iperf3"), BYTE_RATE, targets)


def tunnel_requests() -> Iterator[Measure]:
    figures = (*RATE, Figure("p50", "median", "s"), Figure("p99", "p99", "s"))
    for name, keep, factor in (("50 connections, kept", True, 1), ("a connection for each request", False, 0.8)):
        job = {"workload": "wrk", "connections": 50, "keep": keep, "seconds": 1}
        targets = [at_least(factor, "ssh"), *faster_than_asyncssh()]
        if not keep:
            targets.append(Target("muxpy", "p99", 1.5, ("ssh",), at_most=True))
        yield Measure("tunnel", f"wrk: {name}", through_tunnels(job, "nginx"), figures, targets)


def through_tunnels(job: Job, target: str) -> tuple[Entry, ...]:
    """The same job for all forwarders, with this program behind them."""
    return tuple(Entry(name, f"{contender}-{target}", job) for name, contender in TUNNELS.items())


def faster_than_asyncssh() -> tuple[Target, ...]:
    return at_least(1, "asyncssh"), at_least(1, "asyncssh", entry="muxpy-tls")


def http() -> Iterator[Measure]:
    yield from http_requests()
    yield from http_bulk()
    yield from http_parts()


def http_requests() -> Iterator[Measure]:
    """Requests for each second of the server's processor time, which stands the noise of a shared machine better than
    the clock does."""
    figures = (
        Figure("rate", "for a second of processor time", "/s"),
        *(Figure("clock", "by the clock", "/s"), Figure("p50", "median", "s"), Figure("p99", "p99", "s")),
    )
    one = (*beside_python(20, 40), at_least(2, "go"), at_least(1, "granian"))
    ten = (*beside_python(15, 15), at_least(0.9, "granian"), at_least(0.9, "h2corn"), at_least(1.3, "go"))
    for connections, streams, targets in ((1, 100, one), (10, 10, ten), (1, 1, ())):
        job = {"workload": "h2load", "connections": connections, "streams": streams, "path": "/", "seconds": 1}
        name = f"GET, {connections} x {streams}"
        without = "uvicorn" if connections == 1 else None  # it breaks off a connection after 4,096 requests
        yield Measure("http", f"HTTP/2 server: {name}", of_servers(job, without), figures, targets)
    job = {"workload": "h2load", "connections": 1, "streams": 100, "path": "/", "upload": 4096, "seconds": 1}
    post = (*beside_python(12, 12), at_least(1, "granian"), at_least(1, "h2corn"), at_least(0.9, "go"))
    yield Measure("http", "HTTP/2 server: POST 4 KiB, 1 x 100", of_servers(job, "uvicorn"), figures, post)


def http_bulk() -> Iterator[Measure]:
    figures = (Figure("rate", "for a second of processor time", "B/s"), Figure("clock", "by the clock", "B/s"))
    targets = (*beside_python(6, 6), at_least(1, "granian"), at_least(0.7, "go"))
    for streams in (1, 8):
        size = 8 * 2**20
        job = {"connections": 1, "streams": streams, "path": "/bulk", "size": size, "seconds": 1}
        entries = of_servers({"workload": "h2load", **job})
        yield Measure("http", f"HTTP/2 server: 8 MiB bodies, {plural(streams)}", entries, figures, targets)
    size = 16 * 2**20
    job = {"connections": 1, "streams": 1, "path": "/", "upload": size, "size": size, "seconds": 1}
    upload = (*beside_python(5, 5), at_least(3, "granian"), at_least(0.8, "go"), at_least(0.8, "h2corn"))
    yield Measure("http", "HTTP/2 server: upload of 16 MiB", of_servers({"workload": "h2load", **job}), figures, upload)


def http_parts() -> Iterator[Measure]:
    job = {"workload": "requests", "at_once": 100, "path": "/", "seconds": 1}
    takers = tuple(Entry(name, f"nghttpd-{name}", {**job, "of": name}) for name in ("muxpy", "httpx"))
    figures = (Figure("rate", "for a second of processor time", "/s"), Figure("clock", "by the clock", "/s"))
    yield Measure("http", "HTTP/2 client: 100 GETs together", takers, figures, (at_least(15, "httpx"),))
    job = {"workload": "exchange", "seconds": 0.5}
    takers = alone(job, "h2")
    limits = (
        Target("muxpy", "exchange", 8e-6, at_most=True),
        Target("muxpy", "exchange", 1 / 20, ("h2",), at_most=True),
    )
    figure = Figure("exchange", "one exchange", "us")
    yield Measure("http", "HTTP/2: the rules of a server alone", takers, (figure,), limits)
    job = {"workload": "hpack", "seconds": 1}
    heads = (("same", "a head that comes again"), ("new", "one with a new path"))
    times = [Figure(f"{way}_{head}", f"{way} {what}", "us") for head, what in heads for way in ("encode", "decode")]
    yield Measure("http", "HPACK alone, a browser's request", alone(job, "hpack"), times)


HTTP_SERVERS: Final = {
    "muxpy": "muxpy-http",
    "nghttpd": "nghttpd",
    "go": GO_HTTP,
    **{name: name for name in ("granian", "h2corn", "uvicorn", "hypercorn", "hypercorn-trio")},
}
"""The servers, by the name that they have in the tables."""


def of_servers(job: Job, without: str | None = None) -> tuple[Entry, ...]:
    """The same job for all servers, but for one that cannot do it."""
    return tuple(Entry(name, contender, job) for name, contender in HTTP_SERVERS.items() if name != without)


def alone(job: Job, reference: str) -> tuple[Entry, ...]:
    """The same job for a part of muxpy and for what it is compared with, in a process of its own without a network."""
    return Entry("muxpy", "alone", {**job, "of": "muxpy"}), Entry(
        reference, f"alone-{reference}", {**job, "of": reference}
    )


def beside_python(asyncio: float, trio: float) -> tuple[Target, ...]:
    """Beside hypercorn, the reference in Python, with each of its workers."""
    return at_least(asyncio, "hypercorn"), at_least(trio, "hypercorn-trio")


def calls() -> Iterator[Measure]:
    times = (Figure("p50", "median", "s"), Figure("p99", "p99", "s"))
    for callers in (1, 100):
        figures = (*RATE, *times, Figure("processor", "processor time of both ends, a call", "us"))
        job = {"workload": "unary", "callers": callers, "seconds": 1, "warmup": 0.2}
        name = f"calls of 100 B, {callers} caller{'s' if callers > 1 else ''}"
        yield Measure("rpc", name, of_libraries(job), figures, ONE_CALLER if callers == 1 else MANY_CALLERS)
    both = (*RATE, Figure("processor", "processor time of both ends, a message", "us"))
    job = {"workload": "subscription", "seconds": 1, "warmup": 0.2}
    targets = (at_least(15, "grpcio-aio"), at_least(2, "grpclib"))
    yield Measure("rpc", "messages of 100 B, streamed", of_libraries(job, *WITHOUT_STREAMS), both, targets)


ONE_CALLER: Final = (at_least(1.4, "grpcio-aio"),)
MANY_CALLERS: Final = (
    *(at_least(5, "grpcio-aio"), at_least(2, "uvicorn"), at_least(1, "pycapnp")),
    Target("muxpy", "p99", 0.3, ("grpcio-aio",), at_most=True),
    Target("muxpy", "processor", 0.15, ("grpcio-aio",), at_most=True),
)
WITHOUT_STREAMS: Final = ("zmq", "rpyc")
"""Those that do not send many messages for one call, and hold up their sender while nobody reads them."""


def of_libraries(job: Job, *without: str) -> tuple[Entry, ...]:
    """The same job for all libraries for calls, but for those that cannot do it."""
    names = {contender.removeprefix("rpc-"): contender for contender in LIBRARIES}
    return tuple(Entry(name, contender, job) for name, contender in names.items() if name not in without)


MEASURES: Final = tuple(
    measure
    for group in (bulk, echo, opening, many, memory, tls, link, latency, priority, unread, updates, tunnel, http, calls)
    for measure in group()
)
GROUPS: Final = tuple(dict.fromkeys(measure.group for measure in MEASURES))
