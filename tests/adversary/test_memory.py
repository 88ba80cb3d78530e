"""One bound for the memory of a session, whatever its peer does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest
import trio.testing

import muxpy
from muxpy.proto._limits import MAX_REASON, RECENT_RESETS
from tests.frame import wire
from tests.helpers.ids import word
from tests.helpers.inside import connection_of
from tests.helpers.load import until
from tests.helpers.memory import peak

from .scene import HOLDS, stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Clock = trio.testing.MockClock

pytestmark = pytest.mark.no_cover  # bulk

KIB: Final = 1024
MIB: Final = 1024 * KIB
STREAMS: Final = 64
CONFIG: Final = muxpy.SessionConfig(max_streams=STREAMS, receive_budget=MIB)
BOUND: Final = STREAMS * (64 * KIB + 4 * KIB) + CONFIG.receive_budget + 2 * MIB
"""A window and a stream's own state for each stream, what windows may grow by, and what a session has anyway."""
LITTLE: Final = 2 * MIB
"""For attacks that leave nothing to hold but what is remembered and what waits to be written."""
CRUMBS: Final = STREAMS * 12 * KIB
"""For attacks that leave next to nothing: some KiB for each stream."""
ONE_READ: Final = 8 * MIB
"""Views of the frames of one read, if they are as small as can be: until it was looked at, so once for all sessions."""
WAVE: Final = 32 * KIB


@dataclass(frozen=True, slots=True)
class Case:
    """Waves of frames for these streams of the peer; how much memory the session may take at the worst moment."""

    name: str
    sends: Callable[[Sequence[int]], bytes | list[bytes]]
    bound: int = BOUND
    serves: bool = True
    deaf: bool = False
    ends: bool = False


def opened(ids: Sequence[int]) -> bytes:
    return b"".join(wire.syn(stream_id, stream_type=HOLDS) for stream_id in ids[: STREAMS - 1])


def filled(ids: Sequence[int], size: int, count: int = STREAMS - 1) -> bytes:
    """So many windows, in frames of this size."""
    whole, left = divmod(wire.WINDOW, size)
    return opened(ids) + b"".join(
        wire.data(stream_id, bytes(size)) * whole + wire.data(stream_id, bytes(left)) for stream_id in ids[:count]
    )


def full_but_for_crumbs(ids: Sequence[int]) -> list[bytes]:
    """A view of each frame of a read is held until all of it was looked at."""
    waves = [filled(ids, 16_383, STREAMS - 2)]
    return [
        *(waves[0][pos : pos + WAVE] for pos in range(0, len(waves[0]), WAVE)),
        wire.data(ids[STREAMS - 2], b"x") * wire.WINDOW,
    ]


def byte_by_byte(ids: Sequence[int]) -> list[bytes]:
    """A byte for each stream in each read: an object for each would be fifty times that."""
    wave = b"".join(wire.data(stream_id, b"x") for stream_id in ids[: STREAMS - 1])
    return [opened(ids), *[wave] * 300]


def bodies_in_parts(_: Sequence[int]) -> list[bytes]:
    """A GOAWAY of the largest size, whose body never comes whole."""
    goaway = wire.goaway(1000, 0, bytes(16_000))
    return [goaway[start : start + 100] for start in range(0, 16_000, 100)]


CASES = [
    Case("windows full, in frames of the largest size", lambda ids: filled(ids, 16_383)),
    Case("windows full, in frames of 100 bytes", lambda ids: filled(ids, 100)),
    Case("windows full, of streams that nobody accepts", lambda ids: filled(ids, 8192), serves=False),
    Case("windows full, the last one byte by byte in one read", full_but_for_crumbs, BOUND + ONE_READ),
    Case("byte by byte", byte_by_byte, CRUMBS),
    Case("streams that are reset", lambda ids: b"".join(wire.syn(each) + wire.rst(each, 7) for each in ids), LITTLE),
    Case(
        "streams that are reset at us",
        lambda ids: b"".join(wire.syn(each) + wire.wnd_inc(each, 0) for each in ids),
        LITTLE,
    ),
    Case("streams past the limit", lambda ids: b"".join(map(wire.syn, ids)), LITTLE),
    Case("the same, deaf", lambda ids: b"".join(map(wire.syn, ids)), 2 * MIB, deaf=True),
    Case(
        "streams that are filled and reset in turns",
        lambda ids: b"".join(
            wire.syn(each) + wire.data(each, bytes(16_000)) * 4 + wire.rst(each, 7) for each in ids[:500]
        ),
    ),
    Case("GOAWAYs with long texts", lambda _: wire.goaway(1000, 5, b"x" * 16_000) * 100, LITTLE),
    Case("GOAWAY in parts", bodies_in_parts, LITTLE),
    Case("window updates", lambda ids: wire.syn(ids[0]) + wire.wnd_inc(ids[0], 1) * 20_000, LITTLE),
    Case("empty DATA", lambda ids: wire.syn(ids[0]) + wire.data(ids[0]) * 20_000, LITTLE, ends=True),
    Case(
        "DATA for one forgotten stream",
        lambda ids: wire.syn(ids[0]) + wire.rst(ids[0], 7) + wire.data(ids[0], bytes(16_000)) * 200,
        LITTLE,
    ),
    Case(
        "heartbeats, deaf",
        lambda ids: wire.syn(ids[0], stream_type=wire.EXTENSION) + wire.data(ids[0], bytes(4)) * 16_000,
        LITTLE,
        deaf=True,
    ),
]

OVER_TLS: Final = {"windows full, in frames of 100 bytes", "the same, deaf", "GOAWAY in parts", "window updates"}
"""Much, with nobody who reads, a little at a time, and the smallest: what TLS holds does not depend on the frames."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: word(case.name))
async def test_memory_is_bounded(case: Case, mock_clock: Clock) -> None:
    assert await most_memory(case, "tcp") <= case.bound


@pytest.mark.parametrize("case", [case for case in CASES if case.name in OVER_TLS], ids=lambda case: word(case.name))
async def test_memory_is_bounded_over_tls(case: Case, mock_clock: Clock) -> None:
    assert await most_memory(case, "tls") <= case.bound


async def most_memory(case: Case, kind: str) -> int:
    """Carry out the attack, see what it leaves, and how many bytes the session took at the worst moment."""
    async with stage(kind, client=False, config=CONFIG, serves=case.serves, narrow=case.deaf) as scene:
        ids = [next(scene.ids) for _ in range(5000)]
        sent = case.sends(ids)
        waves = sent if isinstance(sent, list) else [sent[pos : pos + WAVE] for pos in range(0, len(sent), WAVE)]
        scene.keeps = False
        if case.deaf:
            await scene.go_deaf()
        due = scene.session.statistics().bytes_received
        with peak() as figures:
            for wave in waves:
                due += len(wave)
                await scene.send(wave)
                await until(lambda due=due: scene.over or scene.session.statistics().bytes_received >= due)  # type: ignore[misc]
        assert scene.over == case.ends
        assert len(connection_of(scene.session)._table.recent_resets) <= RECENT_RESETS
        statistics = scene.session.statistics()
        assert statistics.streams_open <= STREAMS + 3  # heartbeats, and what made the peer's deafness felt
        remote = scene.session._engine.core.remote_goaway
        assert remote is None or len(remote.debug) <= MAX_REASON
        if not case.deaf and not case.ends and case.name != "GOAWAY in parts":
            await scene.exchange()
    return figures[0]
