"""One bound for the memory of a session of HTTP/2, whatever its peer does: docs/security.md states it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest
import trio.testing

from muxpy import http
from muxpy.http._session import parts_of
from muxpy.proto._limits import RECENT_RESETS
from tests.helpers.ids import word
from tests.helpers.memory import peak

from . import wire
from .scene import read_in, stage

if TYPE_CHECKING:
    from collections.abc import Callable

Clock = trio.testing.MockClock

pytestmark = pytest.mark.no_cover  # bulk

KIB: Final = 1024
MIB: Final = 1024 * KIB
STREAMS: Final = 32
HEAD: Final = 64 * KIB
CONFIG: Final = http.Config(max_streams=STREAMS, receive_budget=0, max_header_bytes=HEAD)
STATE: Final = 4 * KIB
LITTLE: Final = 2 * MIB
"""For attacks that leave nothing to hold but what is remembered and what waits to be written."""
WINDOWS: Final = STREAMS * (64 * KIB * 3 // 2 + STATE) + LITTLE
HEADS: Final = 3 * HEAD * STREAMS + STREAMS * STATE + LITTLE
WAVE: Final = 32 * KIB
IDS: Final = range(3, 3 + 2 * 5000, 2)
OTHERS: Final = IDS[: STREAMS - 1]


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent, and how much memory the session may take at the worst moment."""

    name: str
    sends: Callable[[], bytes]
    bound: int = LITTLE


def opened() -> bytes:
    return b"".join(wire.request(one, "/hold", method="POST") for one in OTHERS)


def filled(size: int) -> bytes:
    whole, left = divmod(65_536, size)
    return opened() + b"".join(wire.data(one, bytes(size)) * whole + wire.data(one, bytes(left)) for one in OTHERS)


def head_of(stream_id: int, fields: int, *, end: bool = False) -> bytes:
    """A request whose head comes to 64 KiB in so many fields, each of which is of its own."""
    size = (HEAD - 400) // fields - 32 - 6
    block = wire.block(wire.head("/hold", method="POST"))
    block += b"".join(wire.field(b"n%05d" % (n * 100_003 % 99_991), b"A" * size) for n in range(fields))
    parts = [block[first : first + 16_384] for first in range(0, len(block), 16_384)]
    frames = [wire.headers(stream_id, parts[0], end=end, whole=len(parts) == 1)]
    frames += [wire.continuation(stream_id, part, whole=part is parts[-1]) for part in parts[1:]]
    return b"".join(frames)


def trailers_of(stream_id: int) -> bytes:
    block = b"".join(wire.field(b"t%05d" % n, b"x" * 210) for n in range(250))
    parts = [block[first : first + 16_384] for first in range(0, len(block), 16_384)]
    frames = [wire.headers(stream_id, parts[0], end=True, whole=False)]
    frames += [wire.continuation(stream_id, part, whole=part is parts[-1]) for part in parts[1:]]
    return b"".join(frames)


CASES: Final = [
    Case("windows full in frames of the largest size", lambda: filled(16_384), WINDOWS),
    Case("windows full in frames of 100 bytes", lambda: filled(100), WINDOWS),
    Case("windows full with padding", lambda: opened() + _padded(), WINDOWS),
    Case("byte by byte", lambda: opened() + b"".join(wire.data(one, b"x") for one in OTHERS) * 500),
    Case("heads of long fields", lambda: b"".join(head_of(one, 10) for one in OTHERS), HEADS),
    Case("heads of many fields", lambda: b"".join(head_of(one, 250) for one in OTHERS), HEADS),
    Case(
        "heads and trailers",
        lambda: b"".join(head_of(one, 250) + trailers_of(one) for one in OTHERS),
        HEADS,
    ),
    Case(
        "heads of streams that are reset while their handlers run",
        lambda: b"".join(head_of(one, 250) + wire.rst(one) for one in IDS[:80]),
        HEADS,
    ),
    Case("streams that are reset", lambda: b"".join(_reset(one) for one in IDS)),
    Case("streams past the limit", lambda: b"".join(wire.request(one, "/hold") for one in IDS)),
    Case("ids that are skipped", lambda: b"".join(wire.request(3 + 10 * n, "/read", end=True) for n in range(2000))),
    Case("priorities of streams to come", lambda: b"".join(wire.priority_update(one, b"u=1") for one in IDS)),
    Case("long priorities", lambda: b"".join(wire.priority_update(1, b"u=1," * 4000) for _ in range(100))),
    Case("long GOAWAYs", lambda: wire.goaway(0, 0, b"x" * 16_000) * 100),
    Case("PING", lambda: wire.ping() * 10_000),
    Case("SETTINGS", lambda: wire.settings(*[(4, 70_000)] * 100) * 500),
    Case("window updates", lambda: wire.window_update(1, 1) * 20_000),
    Case("unknown frames", lambda: (b"\x00\x40\x00\xee" + bytes(5) + bytes(16_384)) * 200),
    Case("half a frame", lambda: wire.headers(3, bytes(16_384), whole=True)[:-1]),
]

OVER_TLS: Final = CASES[1:2] + CASES[5:6] + CASES[8:9] + CASES[-1:]
"""What TLS holds does not depend on the frames."""


def _padded() -> bytes:
    frame = bytes([255]) + b"x" + bytes(255)
    return b"".join(wire.frame_of_data(one, frame, padded=True) * 250 for one in OTHERS)


def _reset(stream_id: int) -> bytes:
    return wire.request(stream_id, "/read", method="POST") + wire.rst(stream_id)


@pytest.mark.parametrize("case", CASES, ids=lambda case: word(case.name))
async def test_memory_is_bounded(case: Case, mock_clock: Clock) -> None:
    await hold(case, "tcp")


@pytest.mark.parametrize("case", OVER_TLS, ids=lambda case: word(case.name))
async def test_memory_is_bounded_over_tls(case: Case, mock_clock: Clock) -> None:
    await hold(case, "tls")


async def hold(case: Case, kind: str) -> None:
    """Carry out the attack, and see how much memory it takes and what it leaves."""
    async with stage(kind, config=CONFIG) as scene:
        scene.keeps = False
        sent = case.sends()
        with peak() as figures:
            for first in range(0, len(sent), WAVE):
                await scene.send(sent[first : first + WAVE])
                await read_in(scene, scene.sent)
        assert figures[0] <= case.bound
        assert len(parts_of(scene.session).core._table.recent_resets) <= RECENT_RESETS
        assert len(parts_of(scene.session).core._table.reset_there) <= RECENT_RESETS
        assert scene.running <= 2 * STREAMS
        assert not scene.over
        if case.name != "half a frame":  # in which the honest stream cannot go on
            await scene.check_that_it_lives()
