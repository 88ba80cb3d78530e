"""One end of one stream: sends its piece, receives the other's, and looks at every byte by its hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from .plan import HEADER, Act, Pace, Piece, Plan

if TYPE_CHECKING:
    import muxpy

__all__ = ["Cut", "End", "Mismatch", "PlanReader", "Tally", "read_plan"]

SLOW_READ: Final = 4_096
"""Bytes that a slow reader takes at a time."""

SLOW_PAUSE: Final = 0.01
"""Seconds between its reads."""

Sink: TypeAlias = "muxpy.Stream | trio.SocketStream"


class Mismatch(Exception):
    """Bytes were lost, changed or passed for the whole: always a fault of the library."""


class Cut(Exception):
    """This end cut the stream short, as planned."""


@dataclass(slots=True)
class Tally:
    """What a process has done so far. Bytes are those of pieces."""

    opened: int = 0
    handled: int = 0
    whole: int = 0
    cut: int = 0
    lost: int = 0
    """Streams that ended with their session."""
    spliced: int = 0
    cancelled_opens: int = 0
    sessions: int = 0
    sent: int = 0
    received: int = 0
    failures: list[str] = field(default_factory=list)

    def fail(self, what: str) -> None:
        """Note a fault; many of them say no more than the first ones."""
        if len(self.failures) < 20:
            self.failures.append(what)


@dataclass(slots=True)
class End:
    """One end of a stream, or of the socket that a stream is spliced to."""

    stream: Sink
    plan: Plan
    tally: Tally
    opener: bool
    rest: bytes | bytearray = b""
    """What was received already."""
    rng: Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = Random(self.plan.seed + self.opener)

    @property
    def act(self) -> Act:
        return self.plan.opener if self.opener else self.plan.handler

    @property
    def other(self) -> Act:
        return self.plan.handler if self.opener else self.plan.opener

    async def run(self) -> None:
        """Do what the plan says. Raises Cut if that was to end it early, and what the stream raises."""
        if self.act is Act.RAISE and not self.plan.after:
            raise Cut
        if self.plan.pause:
            await trio.sleep(self.plan.pause)
        if self.plan.in_turn and not self.opener:
            await self._receive()
            await self._send()
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send)
            await self._receive()

    async def _send(self) -> None:
        piece = self.plan.there if self.opener else self.plan.back
        step = self.rng.choice([piece.size, piece.size, 65_536, 10_000, 1_000])
        step = max(step, piece.size // 64, 1)
        for start in range(0, piece.size, step):
            part = piece.first(piece.size)[start : start + step]
            await self.stream.send_all(part if self.rng.random() < 0.5 else bytes(part))
            self.tally.sent += len(part)
        await self.stream.send_eof()

    async def _receive(self) -> None:
        piece = self.plan.back if self.opener else self.plan.there
        hasher = hashlib.sha256()
        count = 0
        try:
            while True:
                if self.act in (Act.CLOSE, Act.RESET, Act.RAISE) and count >= self.plan.after:
                    await self._act_up()
                data = await self._read()
                if not data:
                    break
                hasher.update(data)
                count += len(data)
                self.tally.received += len(data)
        finally:  # what came of a stream that was cut is looked at too
            self._check(piece, count, hasher.digest())
        if count != piece.size and self.other is not Act.CLOSE:
            raise Mismatch(f"{count} of {piece.size} bytes came, and passed for the whole")

    def _check(self, piece: Piece, count: int, digest: bytes) -> None:
        if count > piece.size or hashlib.sha256(piece.first(count)).digest() != digest:
            raise Mismatch(f"{count} bytes of {piece.size} are not those that were sent")

    async def _act_up(self) -> None:
        if self.act is Act.CLOSE:
            await self.stream.aclose()
        elif self.act is Act.RESET:
            self.stream.reset(self.plan.seed % 11)  # type: ignore[union-attr]  # only streams have such a plan
        raise Cut

    async def _read(self) -> bytes | bytearray:
        if self.rest:
            data, self.rest = self.rest, b""
            return data
        if self.plan.pace is Pace.SLOW:
            await trio.sleep(SLOW_PAUSE)
            return await self.stream.receive_some(SLOW_READ)
        while self.plan.pace is Pace.NERVOUS:
            with trio.move_on_after(self.rng.choice([0.0, 0.0001, 0.001])):
                return await self.stream.receive_some()
            await trio.lowlevel.checkpoint()
        return await self.stream.receive_some()


async def read_plan(stream: muxpy.Stream) -> tuple[Plan, bytes] | None:
    """The plan, and what came after it. None if the stream ended before: its opener was cancelled."""
    reading = PlanReader()
    while (rest := reading(part := await stream.receive_some())) is None:
        if not part:
            return None
    assert reading.plan is not None
    return reading.plan, rest


class PlanReader:
    """Takes the plan from what comes on a stream: it is the `head` of a splice, too."""

    def __init__(self) -> None:
        self.plan: Plan | None = None
        self._data = b""

    def __call__(self, part: bytes) -> bytes | None:
        """What came after the plan; None if it is not whole yet, or if the stream ended before."""
        if not part and self._data:
            raise Mismatch("half a plan came, and passed for the whole")
        self._data += part
        end = HEADER + int.from_bytes(self._data[:HEADER], "big")
        if len(self._data) < max(HEADER + 1, end):
            return None
        self.plan = Plan.decode(self._data[HEADER:end])
        return self._data[end:]
