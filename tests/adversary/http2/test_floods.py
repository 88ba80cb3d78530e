"""Floods: of control frames, of streams that are opened and reset, of resets that the peer provokes, and of frames that
do nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest
import trio
import trio.testing

from muxpy import http
from muxpy.http._session import parts_of
from tests.frame.http2.wire import DATA, padded
from tests.helpers.ids import word
from tests.helpers.load import until

from . import wire
from .scene import Scene, read_in, stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Clock = trio.testing.MockClock

pytestmark = pytest.mark.no_cover  # bulk

CALM: Final = http.ErrorCode.ENHANCE_YOUR_CALM
BURST: Final = 100
WAVE: Final = 50
OWN: Final = "the peer resets its own streams too fast: more than 100 together"
USELESS: Final = "the peer sends frames that do nothing too fast: more than 100 together"
PROVOKED: Final = "the peer makes this side reset streams too fast: more than 100 together"
FEW: Final = http.Config(reset_burst=BURST, reset_rate=0, linger_timeout=10)

BOTH: Final = pytest.mark.parametrize("kind", ["tcp", "tls"])

FIRST: Final = 3
"""The attacker's first stream; 1 is the honest one."""


def ids(count: int) -> range:
    return range(FIRST, FIRST + 2 * count, 2)


@dataclass(frozen=True, slots=True)
class Row:
    """Something that costs a token, how it is done to one stream, and why the session ends."""

    name: str
    frames: Callable[[int], bytes]
    words: str
    opens: bytes = b""
    """What comes once, before that."""


def opened(stream_id: int, *, end: bool = False, path: str = "/hold") -> bytes:
    return wire.request(stream_id, path, method="POST", end=end)


LAST: Final = 2**31 - 1

ROWS: Final = [
    # Rapid reset (CVE-2023-44487).
    Row("a stream opened and reset", lambda one: opened(one) + wire.rst(one), OWN),
    Row("a stream opened whole and reset", lambda one: opened(one, end=True) + wire.rst(one), OWN),
    # MadeYouReset (CVE-2025-8671), in its six forms.
    Row("WINDOW_UPDATE by 0", lambda one: opened(one, end=True) + wire.window_update(one, 0), PROVOKED),
    Row("a window that overflows", lambda one: opened(one, end=True) + wire.window_update(one, LAST), PROVOKED),
    Row("PRIORITY of a wrong length", lambda one: opened(one, end=True) + wire.priority(one, bytes(4)), PROVOKED),
    Row(
        "PRIORITY on itself",
        lambda one: opened(one, end=True) + wire.priority(one, one.to_bytes(4, "big") + b"\0"),
        PROVOKED,
    ),
    Row("HEADERS after the end", lambda one: opened(one, end=True) * 2, PROVOKED),
    Row("DATA after the end", lambda one: opened(one, end=True) + wire.data(one, b"x"), PROVOKED),
    # And its other forms.
    Row("DATA beyond the window", lambda one: opened(one) + wire.data(one, bytes(16_384)) * 5, PROVOKED),
    Row("trailers with pseudo fields", lambda one: opened(one) + opened(one, end=True), PROVOKED),
    Row("trailers that end nothing", lambda one: opened(one) + wire.headers(one, wire.field(b"a", b"b")), PROVOKED),
    Row(
        "a body longer than announced",
        lambda one: wire.request(one, "/hold", (b"content-length", b"1"), method="POST") + wire.data(one, b"xx"),
        PROVOKED,
    ),
    Row(
        "a body shorter than announced",
        lambda one: wire.request(one, "/hold", (b"content-length", b"1"), method="POST") + wire.data(one, end=True),
        PROVOKED,
    ),
    Row("a malformed request", lambda one: wire.headers(one, b"", end=True), PROVOKED),
    Row("an empty name", lambda one: wire.request(one, "/hold", (b"", b""), end=True), PROVOKED),
    Row(
        "a head that is too large",
        lambda one: wire.request(one, "/hold", *[(b"a", b"b")] * 300, end=True),
        PROVOKED,
    ),
    # Frames that do nothing.
    Row("empty DATA", lambda _: wire.data(FIRST), USELESS, opened(FIRST)),
    Row("padding alone", lambda _: padded(DATA, FIRST, b"", 8), USELESS, opened(FIRST)),
    Row("SETTINGS", lambda _: wire.settings((3, 100)), USELESS),
    Row("GOAWAY", lambda _: wire.goaway(0), USELESS, wire.goaway(0)),
]


async def play(row: Row, count: int, kind: str) -> None:
    async with stage(kind, config=FEW) as scene:
        await scene.play([row.opens, *_waves(row.frames(one) for one in ids(count))])
        if count > BURST:
            await scene.check_that_it_ends(CALM, row.words)
            assert scene.handled <= BURST + WAVE
        else:
            await scene.check_that_it_lives()


def _waves(each: Iterable[bytes]) -> list[bytes]:
    frames = list(each)
    return [b"".join(frames[first : first + WAVE]) for first in range(0, len(frames), WAVE)]


@BOTH
@pytest.mark.parametrize("row", ROWS, ids=lambda row: word(row.name))
async def test_a_flood_ends_the_session(row: Row, kind: str, mock_clock: Clock) -> None:
    await play(row, BURST + 1, kind)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: word(row.name))
async def test_as_many_as_that_are_allowed(row: Row, mock_clock: Clock) -> None:
    await play(row, BURST, "tcp")


@pytest.mark.parametrize("row", ROWS[:2], ids=lambda row: word(row.name))
async def test_the_bucket_fills_up_again(row: Row, mock_clock: Clock) -> None:
    config = http.Config(reset_burst=BURST, reset_rate=10, linger_timeout=10, heartbeat_interval=None)
    async with stage(config=config) as scene:
        streams = iter(ids(2 * BURST))
        for _ in range(2):
            await scene.play([b"".join(row.frames(next(streams)) for _ in range(BURST))])
            await scene.check_that_it_lives()
            mock_clock.jump(10)
        assert scene.handled == 0 or scene.handled == 2 * BURST


# ---- what a place is ----


@BOTH
async def test_a_reset_frees_no_place_while_its_handler_runs(kind: str, mock_clock: Clock) -> None:
    """Rapid reset: what runs together has a bound, whatever is opened and reset."""
    most = 20
    async with stage(kind, config=http.Config(max_streams=most, linger_timeout=10)) as scene:
        await scene.play([b"".join(opened(one) + wire.rst(one) for one in ids(5 * most))])
        assert scene.running == scene.handled == most
        assert {frame.value for frame in scene.seen} == {http.ErrorCode.REFUSED_STREAM}
        assert len(scene.seen) == 4 * most
        scene.let_go.set()
        await scene.check_that_it_lives()
        assert scene.running == 0
        await scene.play([opened(601, end=True)])
        assert [frame.name for frame in scene.seen] == ["HEADERS", "DATA"]


# ---- answers that nobody reads ----

FEW_FRAMES: Final = http.Config(max_control_frames=500, max_streams=100, linger_timeout=10)
LARGE: Final = 64 * 1024 * 1024
UNREAD: Final = "the peer does not read its answers"


def asked_for_its_body(stream_id: int) -> bytes:
    """A request whose handler asks for the body, and the end of one in the wave before."""
    before = stream_id - 2 * WAVE
    request = wire.request(stream_id, "/read", (b"expect", b"100-continue"), method="POST")
    return request + (wire.rst(before) if before > 100 else b"")


UNANSWERED: Final[list[tuple[str, Callable[[int], bytes]]]] = [
    ("PING", lambda _: wire.ping()),
    ("empty SETTINGS", lambda _: wire.settings()),
    ("requests past the limit", lambda one: wire.request(one, "/hold", end=True)),
    ("malformed requests", lambda one: wire.headers(one, b"", end=True)),
    ("heads that are too large", lambda one: wire.request(one, "/hold", *[(b"a", b"b")] * 257, end=True)),
    ("bodies that wait for 100", asked_for_its_body),
]


@BOTH
@pytest.mark.parametrize("row", UNANSWERED, ids=lambda row: word(row[0]))
async def test_answers_that_nobody_reads_end_the_session(
    row: tuple[str, Callable[[int], bytes]], kind: str, mock_clock: Clock
) -> None:
    """What waits to be written is bounded, also beside a response that fills the kernel."""
    _, frames = row
    async with stage(kind, config=FEW_FRAMES, narrow=True) as scene:
        await scene.play([wire.request(FIRST, "/hold", end=True) + wire.rst(FIRST)])
        await plug(scene)
        most = 0
        for wave in _waves(frames(one) for one in range(101, 4101, 2)):
            await scene.send(wave)
            await read_in(scene, scene.sent)
            for _ in range(10):  # the handlers have their turns
                await trio.lowlevel.checkpoint()
            most = max(most, scene.session.statistics().control_frames_waiting)
            if scene.over:
                break
        assert scene.over
        assert most <= 500 + 3 * WAVE
        end = scene.session.end
        assert end is not None
        assert end.code == CALM
        assert UNREAD in str(end.error)
        await scene.check_neighbour()


async def plug(scene: Scene) -> None:
    """Read nothing more, and have a response fill the kernel, so that everything else waits in the session."""
    scene.go_deaf()
    await scene.send(wire.request(51, "/plug", end=True), wire.window_update(51, LARGE))
    await until(lambda: parts_of(scene.session).engine.writer._batch is not None)
    for _ in range(10):
        await trio.lowlevel.checkpoint()
    assert parts_of(scene.session).engine.writer._batch is not None
