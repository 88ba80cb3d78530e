"""What the process keeps to save time has a bound in entries and in bytes, and nobody drives out what others need
(CVE-2021-44716)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
import trio.testing

from muxpy import http
from muxpy.frame.http2 import _primitives
from muxpy.frame.http2._huffman import huffman_decode, huffman_encode
from muxpy.http import _exchange, _headers
from muxpy.http._session import parts_of
from muxpy.proto.http2 import _heads, check_trailers
from muxpy.proto.http2._heads import Malformed, check_fields
from tests.helpers.instructions import instructions
from tests.helpers.memory import peak

from . import wire
from .scene import stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muxpy.proto import Fields

Clock = trio.testing.MockClock

pytestmark = pytest.mark.no_cover

KIB: Final = 1024

HONEST: Final[Fields] = tuple(
    (name, b"x") for name in (b"user-agent", b"accept", b"accept-encoding", b"cookie", b"referer", b"sec-fetch-mode")
)
"""What every browser sends."""


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Other tests see none of this."""
    caches = (_primitives._decoded, _primitives._encoded, _headers._known, _exchange._heads)
    yield
    for cache in caches:
        cache.clear()
    _heads._plain_names.intersection_update(_heads._ORDINARY)


def flood(count: int, size: int) -> Iterator[bytes]:
    """Blocks with names and values that nobody has sent before, in Huffman code."""
    for number in range(count):
        name = huffman_encode(b"n%d" % number + b"a" * size)
        value = huffman_encode(b"v%d" % number + b"a" * size)
        yield (wire.GET + b"\0" + wire.integer(len(name), 7, 0x80) + name + wire.integer(len(value), 7, 0x80) + value)


@pytest.mark.parametrize("size", [1, 50, 8000])
async def test_the_process_keeps_little_of_what_peers_send(size: int, mock_clock: Clock) -> None:
    count = 3000 if size < 100 else 200
    async with stage() as scene:
        scene.keeps = False
        waves = [wire.headers(3 + 2 * n, block, end=True) for n, block in enumerate(flood(count, size))]
        with peak() as figures:
            for first in range(0, count, 50):
                await scene.send(*waves[first : first + 50])
                await scene.settle()
        assert len(_primitives._decoded) <= 1024
        assert len(_heads._plain_names) <= 1024
        longest = max(len(key) for key in (*_primitives._decoded, *_heads._plain_names))
        assert longest <= 64
        assert figures[0] <= 2048 * KIB
        await scene.check_that_it_lives()


def test_who_thinks_up_names_slows_down_nobody() -> None:
    """The names of ordinary requests stay known, in whatever order they come."""
    before = instructions(lambda: check_fields(HONEST))
    for number in range(5000):
        check_fields(((b"x-%d" % number, b"x"),))
    assert instructions(lambda: check_fields(HONEST)) == before
    assert len(_heads._plain_names) <= 1024


def test_who_thinks_up_strings_costs_others_less_than_itself() -> None:
    """They drive out what others have had decoded: at most all of it once for each thousand of theirs."""
    honest = [huffman_encode(b"honest-%d" % number) for number in range(100)]
    strings = [wire.integer(len(each), 7, 0x80) + each for each in honest]
    decoded = 0

    def counted(text: bytes) -> bytes | None:
        nonlocal decoded
        decoded += 1
        return huffman_decode(text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_primitives, "huffman_decode", counted)
        for number in range(10_000):
            hostile = huffman_encode(b"hostile-%d" % number)
            _primitives.read_string(wire.integer(len(hostile), 7, 0x80) + hostile, 0)
            _primitives.read_string(strings[number % 100], 0)
    assert decoded <= 10_000 + 100 * 12


def test_a_name_that_is_known_is_no_excuse_where_it_is_forbidden() -> None:
    """Names that may stand in a head, and not in trailers, are asked for each time."""
    check_fields(((b"trailer", b"x-sum"), (b"host", b"here"), (b"content-length", b"1")))
    for name in (b"trailer", b"host", b"content-length"):
        with pytest.raises(Malformed):
            check_trailers(((name, b"1"),))


def test_large_heads_are_not_kept() -> None:
    """What an application sends may be the peer's choice: a location, an echo."""
    _headers._known.clear()  # of what was sent before, in this process
    _exchange._heads.clear()
    with peak() as figures:
        for number in range(300):
            _exchange._head_of(http.Config(), 302, {"location": f"/{number}" + "x" * 20_000}, None)
    assert figures[0] <= 512 * KIB
    assert not _headers._known
    assert not _exchange._heads


def test_many_heads_are_not_kept() -> None:
    for number in range(3000):
        _exchange._head_of(http.Config(), 200, {"etag": str(number)}, number)
        assert len(_exchange._heads) <= 256
        assert len(_headers._known) <= 256


async def test_a_connection_keeps_little_of_blocks_that_come_again(mock_clock: Clock) -> None:
    """Each block twice, as large as a block that is kept can be, with as many references as can be in it."""
    async with stage() as scene:
        scene.keeps = False
        await scene.play([wire.headers(3, wire.GET + wire.field(b"a", b"b" * 4000, 0x40), end=True)])
        stream_ids = iter(range(5, 10_000, 2))
        blocks = [wire.GET + wire.field(b"n", b"%d" % n) * 40 + wire.field(b"m", b"m" * 100) for n in range(600)]
        with peak() as figures:
            for block in blocks:
                await scene.send(*[wire.headers(next(stream_ids), block, end=True) for _ in range(2)])
                if block is blocks[-1] or blocks.index(block) % 20 == 0:
                    await scene.settle()
        assert 0 < len(parts_of(scene.session).core.patience._messages._hpack._known) <= 256
        assert figures[0] <= 3072 * KIB
        await scene.check_that_it_lives()
