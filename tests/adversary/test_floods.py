"""Floods: of streams, of resets, of what must be answered; and the same from a peer that does not read."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
import trio

import muxpy
from muxpy import ErrorCode
from tests.frame import wire
from tests.helpers.ids import word
from tests.helpers.load import until
from tests.helpers.pairs import session_pair
from tests.helpers.tasks import echo

from .attack import Attack, Ends, Ids, Lives, play
from .scene import CLOSES, EITHER, FAILS, READS, Seen, stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Clock = trio.testing.MockClock

pytestmark = pytest.mark.no_cover  # bulk

PROTOCOL_ERROR = ErrorCode.PROTOCOL_ERROR
BURST = 100
WAVE = 100
OWN = "the peer resets its own streams too fast: more than 100 together"
USELESS = "the peer sends frames that do nothing too fast: more than 100 together"
PROVOKED = "the peer makes this side reset streams too fast: more than 100 together"
UNREAD = "the peer does not read its answers"
FEW = muxpy.SessionConfig(reset_burst=BURST, reset_rate=0)
FULL = muxpy.SessionConfig(reset_burst=BURST, reset_rate=0, max_streams=1)
FEW_FRAMES = muxpy.SessionConfig(max_control_frames=500, max_streams=100)
FEW_BYTES = muxpy.SessionConfig(max_control_bytes=4096, max_streams=100)
"""Of frames that are as small as this, a few hundred."""

# What one stream of the peer can be used for.


def cancelled(stream_id: int) -> bytes:
    return wire.syn(stream_id) + wire.rst(stream_id, ErrorCode.CANCEL)


def no_window(stream_id: int) -> bytes:
    return wire.syn(stream_id) + wire.wnd_inc(stream_id, 0)


def too_much_window(stream_id: int) -> bytes:
    return wire.syn(stream_id) + wire.wnd_inc(stream_id, 2**31 - 1)


def data_after_fin(stream_id: int) -> bytes:
    return wire.syn(stream_id, fin=True) + wire.data(stream_id, b"x")


def beyond_the_window(stream_id: int) -> bytes:
    return wire.syn(stream_id) + wire.data(stream_id, bytes(16_383)) * 5


def unknown_extension(stream_id: int) -> bytes:
    return wire.syn(stream_id, stream_type=wire.EXTENSION + 5)


def ended_in_order(stream_id: int) -> bytes:
    return wire.syn(stream_id, stream_type=READS, fin=True)


def closed_by_the_session(stream_id: int) -> bytes:
    return wire.syn(stream_id, stream_type=CLOSES)


def heartbeat(stream_id: int) -> bytes:
    return wire.syn(stream_id, stream_type=wire.EXTENSION)


def of_each(make: Callable[[int], bytes], count: int) -> Callable[[Ids], Iterable[bytes]]:
    """`count` streams, each used like that, many in a wave."""
    return lambda ids: (
        b"".join(map(make, ids.theirs[first : min(first + WAVE, count)])) for first in range(0, count, WAVE)
    )


def empty_data(count: int) -> Callable[[Ids], Sequence[bytes]]:
    return lambda ids: [wire.syn(ids.theirs[0]), wire.data(ids.theirs[0]) * count]


def data_for_forgotten(count: int) -> Callable[[Ids], Iterable[bytes]]:
    """Of the session's own streams: the peer's would also use up what it may reset."""

    def waves(ids: Ids) -> Iterable[bytes]:
        yield b"".join(wire.rst(stream_id, 7) for stream_id in ids.ours)
        for first in range(0, count, WAVE):
            yield b"".join(wire.data(stream_id, b"x") for stream_id in ids.ours[first : min(first + WAVE, count)])

    return waves


RESETS: list[tuple[str, Callable[[int], Callable[[Ids], Iterable[bytes]]], str, muxpy.SessionConfig]] = [
    ("streams that are reset", lambda n: of_each(cancelled, n), OWN, FEW),
    ("empty DATA", empty_data, USELESS, FEW),
    ("window updates of 0", lambda n: of_each(no_window, n), PROVOKED, FEW),
    ("windows lifted too far", lambda n: of_each(too_much_window, n), PROVOKED, FEW),
    ("DATA after FIN", lambda n: of_each(data_after_fin, n), PROVOKED, FEW),
    ("DATA beyond the window", lambda n: of_each(beyond_the_window, n), PROVOKED, FEW),
    ("unknown extensions", lambda n: of_each(unknown_extension, n), PROVOKED, FEW),
]
HARMLESS: list[tuple[str, Callable[[int], Callable[[Ids], Iterable[bytes]]]]] = [
    ("streams past the limit", lambda n: of_each(wire.syn, n)),
    ("streams past the limit, reset", lambda n: of_each(cancelled, n)),
]


@pytest.mark.parametrize("row", RESETS, ids=lambda row: word(row[0]))
@EITHER
@pytest.mark.parametrize("too_many", [False, True], ids=["as_many_as_allowed", "one_more"])
async def test_resets_are_counted(
    row: tuple[str, Callable[[int], Callable[[Ids], Iterable[bytes]]], str, muxpy.SessionConfig],
    kind: str,
    client: bool,
    too_many: bool,
    mock_clock: Clock,
) -> None:
    name, make, words, config = row
    outcome = Ends(PROTOCOL_ERROR, words, None) if too_many else Lives(None, None)
    await play(Attack(name, make(BURST + too_many), outcome, config), kind, client=client)


@pytest.mark.parametrize("row", HARMLESS, ids=lambda row: word(row[0]))
@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_what_starts_no_work_and_breaks_no_rule_is_not_counted(
    row: tuple[str, Callable[[int], Callable[[Ids], Iterable[bytes]]]], kind: str, mock_clock: Clock
) -> None:
    name, make = row
    await play(Attack(name, make(5 * BURST), Lives(None, None), FULL), kind, client=False)


@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_data_for_forgotten_streams_is_not_counted(kind: str, mock_clock: Clock) -> None:
    """It may have been on its way when the application reset them."""
    count = 5 * BURST
    await play(Attack("", data_for_forgotten(count), Lives(None), FEW, opens=count), kind, client=False)


@pytest.mark.parametrize("make", [cancelled, no_window], ids=["own", "provoked"])
async def test_what_was_reset_is_forgiven_with_time(make: Callable[[int], bytes], mock_clock: Clock) -> None:
    config = muxpy.SessionConfig(reset_burst=BURST, reset_rate=50, heartbeat_interval=None)
    async with stage("tcp", client=False, config=config) as scene:
        await scene.send(*(make(next(scene.ids)) for _ in range(BURST)))
        await scene.settle()
        for _ in range(5):
            mock_clock.jump(1)
            await scene.send(*(make(next(scene.ids)) for _ in range(50)))
            await scene.settle()
            assert not scene.over
        mock_clock.jump(1000)  # no more than there was at first
        await scene.send(*(make(next(scene.ids)) for _ in range(BURST)))
        await scene.settle()
        assert not scene.over
        mock_clock.jump(0.98)
        await scene.send(*(make(next(scene.ids)) for _ in range(50)))
        await scene.settle()
        assert scene.over
        await scene.ended.wait()
        assert scene.goaway is not None
        assert "too fast" in scene.goaway.debug


async def test_a_client_that_gives_up_five_thousand_streams_in_a_row_is_not_hurt(mock_clock: Clock) -> None:
    echoed = 0
    async with session_pair("tls") as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_streams, echo)
        for _ in range(50):
            streams = [await client.open_stream() for _ in range(100)]
            for stream in streams:
                await stream.send_all(b"never mind")
                stream.reset()
            async with await client.open_stream() as stream:
                await stream.send_all(b"but this")
                echoed += await stream.receive_some() == b"but this"
        assert echoed == 50
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("kind", ["tcp", "tls"])
@pytest.mark.parametrize("client", [True, False], ids=["client", "server"])
async def test_a_reset_does_not_free_a_place_while_the_handler_runs(kind: str, client: bool, mock_clock: Clock) -> None:
    config = muxpy.SessionConfig(max_streams=6)
    async with stage(kind, client=client, config=config) as scene:
        await scene.send(*(cancelled(next(scene.ids)) for _ in range(500)))
        await scene.settle()
        assert scene.handled == scene.running == 6
        assert Counter((answer.name, answer.value) for answer in scene.seen) == {("RST", ErrorCode.REFUSED_STREAM): 495}
        await scene.send(wire.syn(next(scene.ids)))
        await scene.settle()
        assert scene.seen[-1].value == ErrorCode.REFUSED_STREAM
        assert scene.handled == 6
        scene.let_go.set()
        await until(lambda: scene.running == 1)
        await scene.send(wire.syn(next(scene.ids), stream_type=CLOSES))
        await scene.settle()
        assert scene.handled == 7


async def test_handlers_that_fail_reset_their_streams_and_no_more(
    caplog: pytest.LogCaptureFixture, mock_clock: Clock
) -> None:
    async with stage("tls", client=False) as scene:
        ids = [next(scene.ids) for _ in range(20)]
        await scene.send(*(wire.syn(stream_id, stream_type=FAILS) for stream_id in ids))
        await scene.settle()
        assert sorted(answer.stream_id for answer in scene.seen) == ids
        assert {(answer.name, answer.value) for answer in scene.seen} == {("RST", ErrorCode.INTERNAL_ERROR)}
        assert scene.session.statistics().streams_open == 2  # the honest one, and the heartbeat
        failures = [record for record in caplog.records if "handler failed" in record.getMessage()]
        assert len(failures) == 20
        assert all(record.exc_info and "a handler that fails" in str(record.exc_info[1]) for record in failures)
    caplog.clear()


DEAF = [
    Attack("resets", of_each(no_window, 5000), Ends(PROTOCOL_ERROR, UNREAD, None), FEW_FRAMES, deaf=True),
    Attack(
        "resets, by their bytes",
        of_each(no_window, 5000),
        Ends(PROTOCOL_ERROR, f"4096 bytes of control frames wait to be written: {UNREAD}", None),
        FEW_BYTES,
        deaf=True,
    ),
    Attack(
        "refusals",
        of_each(wire.syn, 5000),
        Ends(PROTOCOL_ERROR, UNREAD, None),
        muxpy.SessionConfig(max_control_frames=500, max_streams=10),
        deaf=True,
    ),
    Attack(
        "streams that are reset while their handlers run",
        of_each(cancelled, 5000),
        Ends(PROTOCOL_ERROR, UNREAD, None),
        muxpy.SessionConfig(max_control_frames=500, max_streams=10),
        deaf=True,
    ),
    Attack(
        "unknown extensions",
        of_each(unknown_extension, 5000),
        Ends(PROTOCOL_ERROR, UNREAD, None),
        FEW_FRAMES,
        deaf=True,
    ),
    Attack("heartbeat streams", of_each(heartbeat, 5000), Ends(PROTOCOL_ERROR, UNREAD, None), FEW_FRAMES, deaf=True),
    Attack(
        "streams that end in order",
        of_each(ended_in_order, 5000),
        Ends(PROTOCOL_ERROR, UNREAD, None),
        FEW_FRAMES,
        deaf=True,
    ),
    Attack(
        "streams that the session closes",
        of_each(closed_by_the_session, 5000),
        Ends(PROTOCOL_ERROR, UNREAD, None),
        FEW_FRAMES,
        deaf=True,
    ),
    Attack(
        "DATA for forgotten streams",
        data_for_forgotten(3000),
        Ends(PROTOCOL_ERROR, UNREAD, None),
        FEW_FRAMES,
        opens=3000,
        deaf=True,
    ),
    Attack(
        "empty DATA",
        lambda i: [wire.syn(i.theirs[0]), *[wire.data(i.theirs[0]) * 1000] * 20],
        Ends(PROTOCOL_ERROR, "sends frames that do nothing too fast"),
        FEW_FRAMES,
        deaf=True,
    ),
    Attack(
        "streams that are reset",
        lambda i: (cancelled(each) for each in i.theirs[:500]),
        Lives(None),
        FEW_FRAMES,
        deaf=True,
    ),
    Attack(
        "window updates",
        lambda i: [wire.wnd_inc(i.ours[0], 1) * 1000] * 20,
        Lives(left=1),
        FEW_FRAMES,
        opens=1,
        deaf=True,
    ),
    Attack(
        "frames for closed streams",
        lambda i: [cancelled(i.theirs[0]), *[(wire.wnd_inc(i.theirs[0], 0) + wire.rst(i.theirs[0], 1)) * 500] * 5],
        Lives(),
        FEW_FRAMES,
        deaf=True,
    ),
    Attack(
        "DATA for one forgotten stream",
        lambda i: [cancelled(i.theirs[0]), *[wire.data(i.theirs[0], b"x") * 1000] * 20],
        Lives(lambda i: [Seen("RST", i.theirs[0], ErrorCode.STREAM_CLOSED)]),
        FEW_FRAMES,
        deaf=True,
    ),
]


@pytest.mark.parametrize("attack", DEAF, ids=lambda attack: word(str(attack)))
@EITHER
async def test_a_flood_from_a_peer_that_does_not_read(
    attack: Attack, kind: str, client: bool, mock_clock: Clock
) -> None:
    await play(attack, kind, client=client)
