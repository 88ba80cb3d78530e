"""Monitoring over HTTP: every value is the snapshot's, and no client can hold the server up."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from muxpy_cli._errors import Failure
from muxpy_cli.specs import Address
from muxpy_cli.view import Snapshot, Unlisted, serve_metrics
from muxpy_cli.view._http import HEAD_LIMIT, MAX_CONNECTIONS, MAX_HEAD
from muxpy_cli.view._metrics import MAX_SERIES

from .view_helpers import STARTED, forward, session, snapshot, taking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@asynccontextmanager
async def serving(
    source: Callable[[], Snapshot] = snapshot, ready: Callable[[], bool] = lambda: True
) -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        address = await nursery.start(partial(serve_metrics, Address("127.0.0.1", 0), taking(source), ready))
        assert address.host == "127.0.0.1"
        yield address.port
        nursery.cancel_scope.cancel()


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: str


async def exchange(port: int, request: bytes) -> Response:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(request)
        data = b"".join([bytes(chunk) async for chunk in stream])
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Response(int(first.split()[1]), headers, body.decode())


async def get(port: int, path: str = "/metrics", method: str = "GET", **headers: str) -> Response:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return await exchange(port, f"{method} {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())


_Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str, parse: Callable[..., object] = parse_text) -> _Samples:
    found: _Samples = {}
    for family in parse(text):  # type: ignore[attr-defined]
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def value(found: _Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


@pytest.mark.parametrize(("accept", "parse"), [("", parse_text), (OPENMETRICS, parse_openmetrics)])
async def test_every_value_is_the_snapshot_s(accept: str, parse: Callable[..., object]) -> None:
    sessions = [
        session(peer="192.0.2.1:1000", rtt=0.5),
        session(peer="192.0.2.1:1001", rtt=0.25),
        session(peer="[2001:db8::1]:5", user=None, rtt=None, state="draining", streams=2),
    ]
    forwards = [forward(), forward(1, state="failed", user="bob", kind="udp", direction="remote", connections=6)]
    async with serving(lambda: snapshot(sessions, forwards)) as port:
        response = await get(port, accept=accept)
    assert response.status == 200
    assert response.headers["content-type"].startswith("application/openmetrics-text" if accept else "text/plain")
    found = samples(response.body, parse)
    assert value(found, "muxpy_build_info", version="1.2.3", role="listen") == 1
    assert value(found, "muxpy_ready") == 1
    assert value(found, "muxpy_draining") == 0
    assert value(found, "muxpy_start_time_seconds") == STARTED
    for state, count in {"connected": 2, "draining": 1, "waiting": 0, "connecting": 0}.items():
        assert value(found, "muxpy_sessions", state=state) == count
    assert value(found, "muxpy_session_streams", peer="192.0.2.1", user="alice") == 14
    assert value(found, "muxpy_session_streams", peer="[2001:db8::1]", user="") == 2
    assert value(found, "muxpy_session_rtt_seconds", peer="192.0.2.1", user="alice") == 0.5
    assert ("muxpy_session_rtt_seconds", frozenset({"peer": "[2001:db8::1]", "user": ""}.items())) not in found
    for name, count in {
        "received_bytes": 2**30,
        "sent_bytes": 3 * 2**30,
        "sessions_established": 11,
        "connections": 5000,
        "connections_failed": 33,
        "refused": 22,
        "auth_failures": 44,
        "reconnects": 55,
    }.items():
        assert value(found, f"muxpy_{name}_total") == count
    first = {"forward": forwards[0].name, "direction": "local", "kind": "tcp", "bind": "127.0.0.1:8000", "user": ""}
    second = {
        "forward": forwards[1].name,
        "direction": "remote",
        "kind": "udp",
        "bind": "127.0.0.1:8001",
        "user": "bob",
    }
    for labels, bound, still in ((first, 1, 4), (second, 0, 6)):
        assert value(found, "muxpy_forward_bound", **labels) == bound
        assert value(found, "muxpy_forward_open_connections", **labels) == still
        assert value(found, "muxpy_forward_connections_total", **labels) == 1234
        assert value(found, "muxpy_forward_failed_total", **labels) == 3
        assert value(found, "muxpy_forward_received_bytes_total", **labels) == 7 * 2**20
        assert value(found, "muxpy_forward_sent_bytes_total", **labels) == 9 * 2**10
    assert value(found, "process_resident_memory_bytes") > 0
    assert not any(name.startswith("python_") for name, _ in found)


async def test_each_scrape_asks_anew() -> None:
    states = iter([snapshot(ready=True), snapshot(ready=False)])
    async with serving(lambda: next(states)) as port:
        assert value(samples((await get(port)).body), "muxpy_ready") == 1
        assert value(samples((await get(port)).body), "muxpy_ready") == 0


async def test_the_number_of_series_is_bounded_and_what_is_left_out_is_said() -> None:
    sessions = [session(user=f"user {number}") for number in range(MAX_SERIES + 7)]
    forwards = [forward(number) for number in range(1000)]
    async with serving(lambda: snapshot(sessions, forwards)) as port:
        found = samples((await get(port)).body)
    for name in ("muxpy_session_streams", "muxpy_forward_connections_total"):
        assert sum(found_name == name for found_name, _ in found) == MAX_SERIES
    assert value(found, "muxpy_omitted", what="sessions") == 7
    assert value(found, "muxpy_omitted", what="forwards") == 900
    assert value(found, "muxpy_sessions", state="connected") == MAX_SERIES + 7


async def test_forwards_that_are_alike_are_one_series_and_labels_may_be_anything() -> None:
    evil = 'x"\n\\\x1b\ud800'
    forwards = [forward(name=evil, user=evil), forward(name=evil, user=evil)]
    async with serving(lambda: snapshot([session(user=evil)], forwards)) as port:
        for accept, parse in (("", parse_text), (OPENMETRICS, parse_openmetrics)):
            found = samples((await get(port, accept=accept)).body, parse)
            [(_, count)] = [item for item in found.items() if item[0][0] == "muxpy_forward_connections_total"]
            assert count == 2 * 1234


async def test_a_connecting_end_s_peer_keeps_its_port() -> None:
    async with serving(lambda: snapshot([session(peer="example.org:4242")], role="connect")) as port:
        found = samples((await get(port)).body)
    assert value(found, "muxpy_session_streams", peer="example.org:4242", user="alice") == 7


@pytest.mark.parametrize("ready", [True, False])
async def test_readiness_and_health(*, ready: bool) -> None:
    async with serving(ready=lambda: ready) as port:
        for path in ("/readyz", "/readyz?verbose"):
            assert (await get(port, path)).status == (200 if ready else 503)
        assert (await get(port, "/healthz")).status == 200


@pytest.mark.parametrize(
    ("changes", "ready"),
    [({}, 1), ({"ready": False}, 0), ({"draining": True}, 0)],
    ids=["up", "not", "draining"],
)
async def test_readiness_as_a_series(changes: dict[str, Any], ready: int) -> None:
    async with serving(lambda: snapshot(**changes)) as port:
        assert value(samples((await get(port)).body), "muxpy_ready") == ready


async def test_sessions_that_are_not_told_one_by_one_are_counted() -> None:
    unlisted = Unlisted(sessions=9000, draining=5, forwards=7000)
    async with serving(lambda: snapshot([session()], unlisted=unlisted)) as port:
        found = samples((await get(port)).body)
    assert value(found, "muxpy_sessions", state="connected") == 1 + 8995
    assert value(found, "muxpy_sessions", state="draining") == 5
    assert value(found, "muxpy_omitted", what="sessions") == 9000
    assert value(found, "muxpy_omitted", what="forwards") == 7000


async def test_other_paths_and_methods(mock_clock: trio.testing.MockClock) -> None:
    """Time stands still: so much takes a slow machine longer than a request may."""
    async with serving() as port:
        assert (await get(port, "/")).status == 404
        assert (await get(port, "/metrics/x")).status == 404
        answer = await exchange(
            port, b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 5_000_000
        )
        assert answer.status == 405
        assert answer.headers["allow"] == "get, head"
        whole, head = await get(port), await get(port, method="HEAD")
        assert (head.status, head.body) == (200, "")
        assert head.headers["content-type"] == whole.headers["content-type"]
        assert int(whole.headers["content-length"]) == len(whole.body.encode())
        assert head.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"x" * (MAX_HEAD + 1), 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),  # TLS
    ],
)
async def test_what_is_no_request_is_refused(request_: bytes, status: int) -> None:
    async with serving() as port:
        assert (await exchange(port, request_)).status == status
        assert (await get(port, "/healthz")).status == 200


@pytest.mark.parametrize("accept", [b"version=1.x", b"version=\xe9; escaping=\xff", b"version="])
async def test_what_nobody_understands_is_answered_as_text(accept: bytes) -> None:
    async with serving() as port:
        request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text; " + accept + b"\r\n\r\n"
        assert samples((await exchange(port, request)).body)
        assert (await get(port)).status == 200


async def test_a_failure_here_is_an_answer_and_no_end(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> bool:
        raise RuntimeError("a bug")

    async with serving(ready=fail) as port:
        assert (await get(port, "/readyz")).status == 500
        assert (await get(port, "/healthz")).status == 200
    assert "no answer to a request" in caplog.text


async def test_a_client_that_says_nothing_is_cut_off(autojump_clock: trio.testing.MockClock) -> None:
    async with serving() as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"GET /metr")
        started = trio.current_time()
        assert await stream.receive_some() == b""
        assert trio.current_time() - started == pytest.approx(HEAD_LIMIT)


async def test_clients_that_reset_do_no_harm() -> None:
    async with serving() as port:
        for sent in (b"", b"GET /metrics", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(sent)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await stream.aclose()
        assert (await get(port, "/healthz")).status == 200


async def test_silent_connections_make_room_the_longest_first(mock_clock: trio.testing.MockClock) -> None:
    async with serving() as port:  # where no time passes, so nobody goes because of a time limit
        silent = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(MAX_CONNECTIONS)]
        await trio.testing.wait_all_tasks_blocked()
        assert (await get(port, "/healthz")).status == 200
        assert await silent[0].receive_some() == b""
        silent.append(await trio.open_tcp_stream("127.0.0.1", port))
        await trio.testing.wait_all_tasks_blocked()
        await silent[2].send_all(b"GET /healthz HTTP/1.0\r\n\r\n")  # nobody else had to go
        assert (await silent[2].receive_some()).startswith(b"HTTP/1.1 200 ")
        for stream in silent:
            await stream.aclose()


async def test_a_client_that_has_asked_makes_room_after_silent_ones(mock_clock: trio.testing.MockClock) -> None:
    async with serving() as port:
        asking = await trio.open_tcp_stream("127.0.0.1", port)
        silent = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(MAX_CONNECTIONS - 1)]
        await asking.send_all(b"GET /healthz HTTP/1.0\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        silent.append(await trio.open_tcp_stream("127.0.0.1", port))
        await trio.testing.wait_all_tasks_blocked()
        assert await silent[0].receive_some() == b""
        for stream in (asking, *silent):
            await stream.aclose()


async def test_an_address_in_use_is_a_failure_in_words() -> None:
    async with serving() as port:
        with pytest.raises(Failure, match=rf"cannot serve metrics on 127.0.0.1:{port}: address already in use"):
            await serve_metrics(Address("127.0.0.1", port), taking(snapshot), lambda: True)
