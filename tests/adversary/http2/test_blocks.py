"""Header blocks: floods of CONTINUATION, compression that expands, and what takes more time than it has bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
import trio.testing

from muxpy import http
from muxpy._codes import ProtocolError
from muxpy.frame.http2 import HpackDecoder
from muxpy.proto.http2 import Connection
from tests.helpers.instructions import instructions
from tests.helpers.load import until
from tests.helpers.memory import peak

from . import wire
from .scene import QUICK, Seen, stage

if TYPE_CHECKING:
    from collections.abc import Callable

Clock = trio.testing.MockClock

pytestmark = pytest.mark.no_cover  # bulk

CALM: Final = http.ErrorCode.ENHANCE_YOUR_CALM
COMPRESSION: Final = http.ErrorCode.COMPRESSION_ERROR
KIB: Final = 1024
BOTH: Final = pytest.mark.parametrize("kind", ["tcp", "tls"])

FULL: Final = 16_384
"""Bytes of the largest frame."""

LARGE: Final = wire.field(b"a", b"x" * 4000, 0x40)
"""A field that fills the table."""
NEWEST: Final = b"\xbe"
"""A reference to it."""


def request_of(stream_id: int, encoded: bytes, *, end: bool = True) -> bytes:
    """A request with this block, in as few frames as can be."""
    parts = [encoded[first : first + FULL] for first in range(0, len(encoded), FULL)]
    frames = [wire.headers(stream_id, parts[0], end=end, whole=len(parts) == 1)]
    frames += [wire.continuation(stream_id, part) for part in parts[1:-1]]
    return b"".join(frames) + (wire.continuation(stream_id, parts[-1], whole=True) if parts[1:] else b"")


# ---- CONTINUATION (CVE-2023-45288) ----


CONTINUATIONS: Final = {
    "empty": b"",
    "single bytes": b"\x82",
    "full frames": b"\x82" * FULL,
}


@BOTH
@pytest.mark.parametrize("part", CONTINUATIONS)
async def test_a_block_without_an_end_ends_the_session(part: str, kind: str, mock_clock: Clock) -> None:
    frame = wire.continuation(3, CONTINUATIONS[part])
    async with stage(kind) as scene:
        with peak() as figures:
            await scene.send(wire.headers(3, wire.GET, whole=False))
            for _ in range(100):
                await scene.send(frame)
            await until(lambda: scene.over)
        await scene.check_that_it_ends(CALM, "a header block is too large, or comes in too many frames")
        assert figures[0] <= 1024 * KIB  # a read, and a block
        assert scene.handled == 0


async def test_a_block_in_as_many_frames_as_allowed(mock_clock: Clock) -> None:
    async with stage() as scene:
        last = [*[wire.continuation(3)] * 7, wire.continuation(3, whole=True)]
        await scene.play([wire.headers(3, wire.block(wire.head("/read")), end=True, whole=False) + b"".join(last)])
        assert [frame.value for frame in scene.seen] == [200, b"done"]
        await scene.check_that_it_lives()


# ---- bombs (CVE-2026-49975) ----

BOMBS: Final[dict[str, bytes]] = {
    "references to a large entry": wire.GET + LARGE + NEWEST * 20,
    "many fields": wire.GET + wire.field(b"a", b"b", 0x40) + NEWEST * 300,
    "4,000 crumbs of a cookie": wire.GET + wire.field(b"cookie", b"a=b", 0x40) + NEWEST * 4000,
    "one long field": wire.GET + wire.field(b"a", bytes(65_600 - 200)),
}


@BOTH
@pytest.mark.parametrize("bomb", BOMBS)
async def test_a_head_that_expands_is_answered_by_431(bomb: str, kind: str, mock_clock: Clock) -> None:
    async with stage(kind) as scene:
        with peak() as figures:
            await scene.play([request_of(one, BOMBS[bomb]) for one in range(3, 23, 2)])
        assert scene.seen == [Seen("HEADERS", one, 431, end=True) for one in range(3, 23, 2)]
        assert scene.handled == 0
        assert figures[0] <= 1024 * KIB
        await scene.check_that_it_lives()


async def test_the_rest_of_a_request_that_is_too_large_is_refused(mock_clock: Clock) -> None:
    async with stage() as scene:
        await scene.play([request_of(3, BOMBS["many fields"], end=False) + wire.data(3, b"x") * 10])
        assert scene.seen == [Seen("HEADERS", 3, 431, end=True), Seen("RST", 3, http.ErrorCode.NO_ERROR)]
        await scene.check_that_it_lives()


async def test_trailers_that_expand_are_reset(mock_clock: Clock) -> None:
    async with stage() as scene:
        opened = wire.request(3, "/read", method="POST")
        await scene.play([opened + wire.headers(3, LARGE + NEWEST * 20, end=True)])
        assert scene.seen == [Seen("RST", 3, CALM)]
        await scene.check_that_it_lives()


@BOTH
async def test_a_head_that_expands_beyond_measure_ends_the_session(kind: str, mock_clock: Clock) -> None:
    async with stage(kind) as scene:
        with peak() as figures:
            await scene.play([request_of(3, wire.GET + b"\x82" * 60_000)])
        await scene.check_that_it_ends(CALM, "a header block has")
        assert figures[0] <= 768 * KIB


@BOTH
async def test_heads_held_by_windows_of_0_cost_a_pointer_a_field(kind: str, mock_clock: Clock) -> None:
    """Each of 240 streams keeps a head of 60 KB, by its own count, and its response has no window."""
    async with stage(kind) as scene:
        await scene.play([wire.settings((4, 0)), request_of(3, wire.GET + LARGE)])
        repeated = wire.GET + NEWEST * 14
        waves = [request_of(one, repeated + wire.field(b"n", b"%d" % one)) for one in range(5, 485, 2)]
        with peak() as figures:
            await scene.send(*waves)
            await scene.settle()
        assert scene.handled >= 240
        assert figures[0] <= 240 * 16 * KIB  # copied, they would be 60; a process that measures coverage needs some too
        mock_clock.jump(31)
        await scene.settle()


# ---- time (CVE-2022-41723) ----


def opened_hpack() -> HpackDecoder:
    decoder = HpackDecoder()
    decoder.decode(LARGE)
    return decoder


LINEAR: Final[dict[str, Callable[[int], bytes]]] = {
    "references": lambda n: b"\x82" * n,
    "literals": lambda n: wire.field(b"a", b"b") * n,
    "entries of the table": lambda n: wire.field(b"a", b"b", 0x40) * n,
    "entries that evict everything": lambda n: (LARGE + wire.field(b"b", bytes(4000), 0x40)) * (n // 50),
    "empty entries": lambda n: wire.field(b"", b"", 0x40) * n,
    "a name in Huffman code": lambda n: b"\0" + wire.integer(n, 7, 0x80) + b"\x1f" * n + b"\0",
    "a value in Huffman code": lambda n: b"\0\x01a" + wire.integer(n, 7, 0x80) + b"\x1f" * n,
    "long symbols in Huffman code": lambda n: b"\0\x01a" + wire.integer(4 * n, 7, 0x80) + b"\xff\xff\xff\xe8" * n,
    "one long value": lambda n: wire.field(b"a", bytes(n)),
}


@pytest.mark.parametrize("shape", LINEAR)
def test_decoding_takes_time_by_the_bytes(shape: str) -> None:
    def cost(n: int) -> int:
        block = LINEAR[shape](n)
        decoder = HpackDecoder(max_fields_bytes=1 << 30)
        return instructions(lambda: decoder.decode(block))

    small, large = cost(1000), cost(4000)
    assert large <= 4.2 * small


def test_a_block_takes_so_many_instructions_and_no_more() -> None:
    decoder = HpackDecoder()

    def decode() -> None:
        with pytest.raises(ProtocolError):
            decoder.decode(b"\x82" * 65_536)

    fields = 4 * 65_536 // 42
    assert instructions(decode) <= 60 * fields


ENDLESS: Final = {
    "an index": b"\xff" + b"\x80" * 10_000,
    "a length": b"\0\x7f" + b"\x80" * 10_000,
    "a size of the table": b"\x3f" + b"\x80" * 10_000,
    "an index with zeros": b"\xff" + b"\x80" * 9 + b"\x01",
    "a length beyond the block": b"\0\x7f\xff\xff\xff\x7f" + b"a" * 10_000,
}


@pytest.mark.parametrize("number", ENDLESS)
async def test_integers_have_an_end(number: str, mock_clock: Clock) -> None:
    encoded = wire.GET + ENDLESS[number]
    async with stage() as scene:
        await scene.play([wire.headers(3, encoded, end=True)])
        await scene.check_that_it_ends(COMPRESSION, "a header block")

    def decode() -> None:
        with pytest.raises(ProtocolError):
            HpackDecoder().decode(encoded)

    assert instructions(decode) <= 2000


GAMES: Final = {
    "larger than allowed": b"\x3f\xe2\x1f",
    "three changes": b"\x20\x20\x20",
    "a change after a field": b"\x82\x20",
}


@pytest.mark.parametrize("game", GAMES)
async def test_games_with_the_size_of_the_table_end_the_session(game: str, mock_clock: Clock) -> None:
    async with stage() as scene:
        await scene.play([wire.headers(3, GAMES[game] + wire.GET, end=True)])
        await scene.check_that_it_ends(COMPRESSION, "a header block")


async def test_a_table_that_is_emptied_and_filled_again_costs_little(mock_clock: Clock) -> None:
    """As often as the peer likes, within what a frame of settings may hold; the next block says it once."""
    async with stage() as scene:
        await scene.play([wire.settings(*[(1, 0), (1, 4096)] * 50) * 20])
        await scene.play([wire.request(one, "/read", end=True) for one in (3, 5, 7)])
        assert [frame.value for frame in scene.seen if frame.name == "HEADERS"] == [200, 200, 200]
        await scene.check_that_it_lives()


# ---- turns ----


def test_large_blocks_are_acted_on_in_turns() -> None:
    """A unit of work is a frame, or 32 bytes of a block: what others wait for is what is decoded."""
    core = Connection(QUICK, client=False, clock=lambda: 0.0)
    core.receive(wire.BEGIN)
    block = wire.GET + b"\x82" * 6_000
    data = b"".join(wire.headers(one, block, end=True) for one in range(1, 81, 2))
    turns = 0
    while data:
        frames = core.counters.frames_received
        data = bytes(core.receive(data, 512).rest)
        assert core.counters.frames_received - frames <= 512 * 32 // len(block) + 1
        turns += 1
    assert turns >= 10
    assert core.error is None
