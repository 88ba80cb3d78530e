"""Servers that attack their client."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest
import trio
import trio.testing

import muxpy
from muxpy import http
from muxpy.http._session import parts_of
from tests.helpers.ids import word
from tests.helpers.memory import peak
from tests.helpers.pairs import tcp_pair

from . import wire
from .scene import Peer, Seen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

Clock = trio.testing.MockClock

pytestmark = pytest.mark.no_cover

CALM: Final = http.ErrorCode.ENHANCE_YOUR_CALM
PROTOCOL: Final = http.ErrorCode.PROTOCOL_ERROR
KIB: Final = 1024
BURST: Final = 100
FEW: Final = http.Config(reset_burst=BURST, reset_rate=0, linger_timeout=10)
OK: Final = b"\x88"
"""The block of a response with status 200."""
INFORMS: Final = wire.block([(b":status", b"103")])


class Server:
    """The client under attack, the attacking server, and what it has seen."""

    def __init__(self, client: http.Client, peer: Peer) -> None:
        self.client = client
        self.peer = peer
        self.seen: list[Seen] = []
        self.ended = trio.Event()
        self.news = trio.lowlevel.ParkingLot()
        self.pings = 0
        self.outcomes: dict[int, object] = {}

    async def read(self) -> None:
        preface = b""
        while len(preface) < len(wire.PREFACE):
            preface += await self.peer.stream.receive_some(len(wire.PREFACE) - len(preface))
        while (frame := await self.peer.receive()) is not None:
            self.pings += frame.name == "PING"
            if frame.name in ("HEADERS", "RST", "GOAWAY"):
                self.seen.append(frame)
            self.news.unpark_all()
        self.ended.set()
        await self.peer.stream.aclose()
        self.news.unpark_all()

    async def ask(self, path: str = "/") -> None:
        """One request, the outcome of which is kept."""
        number = len(self.outcomes)
        self.outcomes[number] = None
        try:
            response = await self.client.request("GET", path)
            self.outcomes[number] = await response.read()
        except Exception as error:
            self.outcomes[number] = error

    async def settle(self) -> None:
        """The client has acted on all that was sent, or has ended: it answers a PING."""
        for _ in range(2):
            due = self.pings + 1
            await self.peer.send(wire.ping())
            while self.pings < due and not self.ended.is_set():
                await self.news.park()

    def codes(self, name: str) -> list[object]:
        return [frame.value for frame in self.seen if frame.name == name]


@asynccontextmanager
async def attacked(config: http.Config = FEW, requests: int = 2) -> AsyncIterator[Server]:
    """A client with so many requests, the first of which is honest and is answered in the end."""
    near, far = await tcp_pair()
    async with (
        trio.open_nursery() as nursery,
        http.connect("http://here", stream=near, config=config) as client,
    ):
        server = Server(client, Peer(far))
        nursery.start_soon(server.read)
        await server.peer.send(wire.settings(), wire.settings_ack())
        for number in range(requests):
            nursery.start_soon(server.ask)
            while len(server.codes("HEADERS")) <= number:
                await server.news.park()
        yield server
        await check_the_rest(server)
        client.session.kill()
        await trio.aclose_forcefully(far)
        nursery.cancel_scope.cancel()


async def check_the_rest(server: Server) -> None:
    """Whoever waits has learned of the end; or the honest request gets its answer."""
    if server.ended.is_set():
        await server.client.session.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert all(isinstance(outcome, muxpy.SessionClosed) for outcome in server.outcomes.values())
        return
    await server.peer.send(wire.headers(1, OK), wire.data(1, b"fine", end=True))
    await server.settle()
    await trio.testing.wait_all_tasks_blocked()
    assert server.outcomes[0] == b"fine"
    assert None not in server.outcomes.values()
    assert not server.codes("GOAWAY")


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    sends: Callable[[], list[bytes]]
    goaway: http.ErrorCode | None = None
    words: str = ""
    reset: http.ErrorCode | None = None
    """Of the second request's stream, 3."""


LARGE: Final = wire.field(b"a", b"x" * 4000, 0x40)
NEWEST: Final = b"\xbe"

ROWS: Final = [
    Row("endless SETTINGS", lambda: [wire.settings((3, 100))] * (BURST + 1), CALM, "frames that do nothing"),
    Row("endless GOAWAY", lambda: [wire.goaway(2**31 - 1)] * (BURST + 2), CALM, "frames that do nothing"),
    Row("interim responses that nobody takes", lambda: [wire.headers(3, INFORMS) * 20], reset=CALM),
    Row("interim responses without an end", lambda: [wire.headers(3, INFORMS)] * (BURST + 1), CALM, "do nothing"),
    Row("an interim response that ends", lambda: [wire.headers(3, INFORMS, end=True)], reset=PROTOCOL),
    Row("101", lambda: [wire.headers(3, wire.block([(b":status", b"101")]))], reset=PROTOCOL),
    Row("DATA before the head", lambda: [wire.data(3, b"x")], reset=PROTOCOL),
    Row("DATA after an interim head", lambda: [wire.headers(3, INFORMS) + wire.data(3, b"x")], reset=PROTOCOL),
    Row("empty DATA", lambda: [wire.headers(3, OK)] + [wire.data(3)] * (BURST + 1), CALM, "frames that do nothing"),
    Row("a promise", lambda: [wire.push_promise(3, 2, wire.GET)], PROTOCOL, ""),
    Row("a pushed stream", lambda: [wire.headers(2, OK)], PROTOCOL, ""),
    Row("a request of the server", lambda: [wire.headers(5, wire.GET)], PROTOCOL, ""),
    Row("a large head", lambda: [wire.headers(3, OK + LARGE + NEWEST * 20)], reset=CALM),
    Row("a head of many fields", lambda: [wire.headers(3, OK + b"\xba" * 300)], reset=CALM),
    Row("a head beyond measure", lambda: [wire.headers(3, OK + b"\xba" * 16_000)], CALM, "a header block has"),
    Row(
        "a head without an end",
        lambda: [wire.headers(3, OK, whole=False)] + [wire.continuation(3)] * 9,
        CALM,
        "too many frames",
    ),
    Row("large trailers", lambda: [wire.headers(3, OK) + wire.headers(3, LARGE + NEWEST * 20, end=True)], reset=CALM),
    Row("a window lifted too far", lambda: [wire.window_update(3, 2**31 - 1)], reset=http.ErrorCode.FLOW_CONTROL_ERROR),
    Row("no window", lambda: [wire.window_update(3, 0)], reset=PROTOCOL),
    Row(
        "a body beyond the window",
        lambda: [wire.headers(3, OK) + wire.data(3, bytes(16_384)) * 5],
        reset=http.ErrorCode.FLOW_CONTROL_ERROR,
    ),
    Row(
        "a body longer than announced",
        lambda: [wire.headers(3, OK + wire.field(b"content-length", b"1")) + wire.data(3, b"xx")],
        reset=PROTOCOL,
    ),
    Row(
        "a body shorter than announced",
        lambda: [wire.headers(3, OK + wire.field(b"content-length", b"3")) + wire.data(3, b"xx", end=True)],
        reset=PROTOCOL,
    ),
    Row("an empty name", lambda: [wire.headers(3, OK + wire.field(b"", b"x"))], reset=PROTOCOL),
    Row("no status", lambda: [wire.headers(3, wire.field(b"a", b"x"))], reset=PROTOCOL),
    Row("a value with a line break", lambda: [wire.headers(3, OK + wire.field(b"a", b"x\r\ny: z"))], reset=PROTOCOL),
    Row("transfer-encoding", lambda: [wire.headers(3, OK + wire.field(b"transfer-encoding", b"x"))], reset=PROTOCOL),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: word(row.name))
async def test_what_a_server_does_is_answered(row: Row, mock_clock: Clock) -> None:
    async with attacked() as server:
        with peak() as figures:
            for part in row.sends():
                await server.peer.send(part)
            if row.goaway is None:
                await server.settle()
            else:
                await server.ended.wait()
        assert figures[0] <= 1024 * KIB
        if row.goaway is None:
            assert server.seen[2:] == [Seen("RST", 3, row.reset)]
        else:
            assert server.codes("GOAWAY") == [row.goaway]
            assert row.words in server.peer.text


async def test_a_server_that_sends_no_settings_is_given_up(mock_clock: Clock) -> None:
    near, far = await tcp_pair()
    peer = Peer(far)
    async with http.connect("http://here", stream=near, config=FEW) as client:
        for _ in range(4):
            mock_clock.jump(1)
            await trio.testing.wait_all_tasks_blocked()
        assert client.session.end is not None
        assert client.session.end.code == http.ErrorCode.SETTINGS_TIMEOUT
        client.session.kill()
    assert "the server sent no settings within 2 s" in str(client.session.end.error)
    await trio.aclose_forcefully(peer.stream)


async def test_a_limit_of_0_streams_holds_requests_and_costs_nothing(mock_clock: Clock) -> None:
    """They wait, and go when there is room: nobody is woken for nothing."""
    async with attacked() as server:
        await server.peer.send(wire.settings((3, 0)))
        await server.settle()
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(server.ask)
            await trio.testing.wait_all_tasks_blocked()
            assert len(server.codes("HEADERS")) == 2
            assert parts_of(server.client.session).engine.openers.waiting == 50
            await server.peer.send(wire.settings((3, 100)))
            while len(server.codes("HEADERS")) < 52:
                await server.news.park()
            for one in range(3, 3 + 2 * 51, 2):
                await server.peer.send(wire.headers(one, OK, end=True))
