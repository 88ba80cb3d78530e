"""What a peer may send on the streams of calls: messages that fit, and messages that break one rule."""

from __future__ import annotations

import logging
import math
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import msgspec
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from muxpy.rpc._wire import HEADER, IN_JSON, MAX_MESSAGE, Kind, StreamType, pack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    import muxpy

    from .script import Script

__all__ = ["GONE", "Peer", "play", "quiet"]

GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError)
TYPES: Final = (*StreamType, StreamType.SHARED, StreamType.CALL, 0, 7)
KINDS: Final = (*Kind, Kind.CALL, Kind.CALL | IN_JSON, 0, 9, Kind.RESULT | IN_JSON)
IDS: Final = (0, 1, 1, 2, 3, 4, 5, 100, 896, 0xFFFFFFFF)
TIMES: Final = (0.001, 1.0, 11.0)
CODES: Final = (0, 1, 6, 7)
MOST_STREAMS: Final = 12
PATIENCE: Final = 10_000.0
"""Seconds on Trio's clock, which jumps: whatever takes longer hangs."""


def requests() -> Iterator[bytes]:
    """Bodies of calls to the service that the targets serve."""
    for encode in (msgspec.msgpack.encode, msgspec.json.encode):
        for method, *arguments in (
            ("echo", b"abc"),
            ("echo", bytes(2000)),
            ("large", 5000),
            ("wait",),
            ("total",),
            ("count", 3),
            ("double",),
            ("read", 3),
            ("read", 5),
            ("give",),
            ("fail",),
            ("nothing",),
        ):
            yield encode([f"Service.{method}", arguments])
        yield encode(["Service.echo", {"data": b"abc"}, 0.5, {"user": "ann"}])
        yield encode(["Service.wait", [], 0])
        yield encode(["Service.wait", [], math.nan])
        yield encode([3, "InvalidArgument", "text", False, None])
        yield encode([14, "Unavailable", "text", True, [1]])
        yield encode(1)
        yield encode(b"abc")


BODIES: Final = (b"", *requests(), b"\x91" * 1500, b"[" * 1500, b"\xc1", b"\xdd\xff\xff\xff\xff", bytes(4088))


class Peer:
    """Does what a script says on the streams of a session, at the side that keeps no rule."""

    def __init__(self, session: muxpy.Session, script: Script) -> None:
        self.session = session
        self.script = script
        self.streams: list[muxpy.Stream] = []
        self.steps: list[Callable[[], Awaitable[None]]] = [
            self.message,
            self.open,
            self.message,
            self.settle,
            self.anything,
            self.read,
            self.end,
            self.reset,
            self.message,
            self.pass_time,
            self.too_large,
            self.half,
            self.many,
        ]

    async def step(self) -> None:
        """One byte says what."""
        await self.script.pick(self.steps)()

    def stream(self) -> muxpy.Stream | None:
        return self.streams[self.script.byte() % len(self.streams)] if self.streams else None

    async def send(self, data: bytes) -> None:
        """As far as there is window."""
        stream = self.stream()
        if stream is not None:
            with suppress(*GONE), trio.move_on_after(0.1):
                await stream.send_all(data)

    def a_message(self) -> bytes:
        kind, call_id, body = self.script.pick(KINDS), self.script.pick(IDS), self.script.pick(BODIES)
        change = self.script.byte()
        if change & 0x80 and body:
            place = (change & 0x7F) % len(body)
            body = body[:place] + bytes([self.script.byte()]) + body[place + 1 :]
        return pack(kind, call_id, body)

    async def message(self) -> None:
        await self.send(self.a_message())

    async def half(self) -> None:
        message = self.a_message()
        await self.send(message[: self.script.byte() % (len(message) + 1)])

    async def many(self) -> None:
        await self.send(self.a_message() * (self.script.byte() + 1))

    async def anything(self) -> None:
        await self.send(self.script.some(self.script.byte() % 16))

    async def too_large(self) -> None:
        await self.send(HEADER.pack(MAX_MESSAGE + (self.script.byte() & 1), self.script.pick(KINDS), 1) + bytes(3000))

    async def open(self) -> None:
        kind = self.script.pick(TYPES)
        if len(self.streams) < MOST_STREAMS:
            self.streams.append(await self.session.open_stream(stream_type=kind))

    async def settle(self) -> None:
        await wait_all_tasks_blocked()

    async def pass_time(self) -> None:
        await trio.sleep(self.script.pick(TIMES))

    async def read(self) -> None:
        stream = self.stream()
        if stream is not None:
            with suppress(trio.WouldBlock, *GONE):
                stream.receive_nowait()

    async def end(self) -> None:
        stream = self.stream()
        if stream is not None:
            with suppress(*GONE):
                await stream.send_eof()

    async def reset(self) -> None:
        stream = self.stream()
        if stream is not None:
            stream.reset(self.script.pick(CODES))

    async def leave(self) -> None:
        """Reset all that is open."""
        for stream in self.streams:
            stream.reset()
        await wait_all_tasks_blocked()


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing that a peer does may fill the log."""
    records, log = _Records(), logging.getLogger("muxpy")
    log.addHandler(records)
    propagates, log.propagate = log.propagate, False
    try:
        yield
    finally:
        log.removeHandler(records)
        log.propagate = propagates
    assert not records.records, records.records[0].getMessage()


def play(main: Callable[[Script], Awaitable[None]], script: Script) -> None:
    """Run a target on a clock that jumps; a hang is a failure."""

    async def limited() -> None:
        with quiet(), trio.fail_after(PATIENCE):
            await main(script)

    trio.run(limited, clock=MockClock(autojump_threshold=0))
