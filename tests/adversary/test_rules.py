"""Every rule of the protocol, broken over a real connection: what comes back, and that the other streams go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio.testing

import muxpy
from muxpy import ErrorCode
from tests.frame import wire
from tests.helpers.ids import word

from .attack import Attack, Ends, Ids, Lives, play
from .scene import CLOSES, EITHER, READS, Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Clock = trio.testing.MockClock

MOST = 2**31 - 1
PIECE = bytes(16_000)

PROTOCOL_ERROR = ErrorCode.PROTOCOL_ERROR
FRAME_SIZE_ERROR = ErrorCode.FRAME_SIZE_ERROR


def once(make: Callable[[Ids], bytes]) -> Callable[[Ids], Sequence[bytes]]:
    """One wave."""
    return lambda ids: [make(ids)]


def rst(code: int, *, ours: bool = False) -> Callable[[Ids], Sequence[Seen]]:
    """The answer: one RST for the first stream of either side."""
    return lambda ids: [Seen("RST", (ids.ours if ours else ids.theirs)[0], code)]


def window_full(stream_id: int) -> bytes:
    """DATA frames that use up a new stream's window."""
    return wire.data(stream_id, PIECE) * 4 + wire.data(stream_id, bytes(wire.WINDOW - 4 * len(PIECE)))


def never(make: Callable[[int], bytes], whose: int) -> Callable[[Ids], Sequence[bytes]]:
    """A frame for a stream that was never opened: by the peer (0), or by the session (1)."""
    return lambda ids: [make(ids.never[whose])]


def always(frame: bytes) -> Callable[[Ids], Sequence[bytes]]:
    """The same frame, whatever the ids."""
    return lambda _: [frame]


def bare(kind: int, length: int = 0) -> Callable[[Ids], Sequence[bytes]]:
    """A frame of any kind and length, for a new stream."""
    return lambda ids: [wire.frame(kind, ids.theirs[0], bytes(length))]


IDS = [
    Attack(
        "an id below the last",
        lambda i: [wire.syn(i.theirs[1]), wire.syn(i.theirs[0])],
        Ends(PROTOCOL_ERROR, "is not above the last one"),
    ),
    Attack(
        "an id that is repeated",
        lambda i: [wire.syn(i.theirs[0]), wire.syn(i.theirs[0])],
        Ends(PROTOCOL_ERROR, "do two sessions write to one connection?"),
    ),
    Attack(
        "an id that was refused, repeated",
        once(lambda i: wire.syn(i.theirs[0]) * 2),
        Ends(PROTOCOL_ERROR, "is not above the last one", rst(ErrorCode.REFUSED_STREAM)),
        config=muxpy.SessionConfig(max_streams=1),
    ),
    Attack(
        "an id of the session's own parity",
        once(lambda i: wire.syn(i.ours[0] + 100)),
        Ends(PROTOCOL_ERROR, "; are both sides the "),
        opens=1,
    ),
    Attack("an id of 0", once(lambda _: wire.syn(0)), Ends(PROTOCOL_ERROR, "stream id 0 is not the peer's to open")),
    Attack("an id of 1", once(lambda _: wire.syn(1)), Ends(PROTOCOL_ERROR, "stream id 1 is not the peer's to open")),
    Attack("ids that are skipped", once(lambda i: wire.syn(i.theirs[0]) + wire.syn(i.theirs[5000])), Lives(left=2)),
    Attack(
        "the skipped id later",
        once(lambda i: wire.syn(i.theirs[9]) + wire.syn(i.theirs[4])),
        Ends(PROTOCOL_ERROR, "is not above the last one"),
    ),
    Attack(
        "DATA for a skipped id",
        once(lambda i: wire.syn(i.theirs[9]) + wire.data(i.theirs[4], b"x")),
        Lives(lambda i: [Seen("RST", i.theirs[4], ErrorCode.STREAM_CLOSED)], left=1),
    ),
    Attack(
        "the highest id, and one more",
        lambda i: [wire.syn(MOST - i.client), wire.syn(i.theirs[0])],
        Ends(PROTOCOL_ERROR, "is not above the last one"),
    ),
    Attack(
        "a stream after GOAWAY",
        once(lambda i: wire.syn(i.theirs[0])),
        Lives(rst(ErrorCode.REFUSED_STREAM)),
        prepare=muxpy.Session.go_away,
    ),
    Attack(
        "a stream after GOAWAY, its id repeated",
        once(lambda i: wire.syn(i.theirs[0]) * 2),
        Ends(PROTOCOL_ERROR, "is not above the last one", rst(ErrorCode.REFUSED_STREAM)),
        prepare=muxpy.Session.go_away,
    ),
    Attack(
        "streams past the limit",
        once(lambda i: b"".join(map(wire.syn, i.theirs[:5]))),
        Lives(lambda i: [Seen("RST", i.theirs[n], ErrorCode.REFUSED_STREAM) for n in (2, 3, 4)], left=2),
        config=muxpy.SessionConfig(max_streams=3),
    ),
    Attack(
        "streams past the backlog",
        once(lambda i: b"".join(map(wire.syn, i.theirs[:5]))),
        Lives(lambda i: [Seen("RST", i.theirs[n], ErrorCode.REFUSED_STREAM) for n in (3, 4)], left=3),
        config=muxpy.SessionConfig(accept_backlog=3),
        serves=False,
    ),
    Attack(
        "an extension that nobody has",
        once(lambda i: wire.syn(i.theirs[0], stream_type=wire.EXTENSION + 1)),
        Lives(rst(ErrorCode.STREAM_CLOSED)),
    ),
    Attack(
        "the last extension type",
        once(lambda i: wire.syn(i.theirs[0], stream_type=0xFFFFFFFF)),
        Lives(rst(ErrorCode.STREAM_CLOSED)),
    ),
    Attack(
        "a type just below the extensions",
        once(lambda i: wire.syn(i.theirs[0], stream_type=wire.EXTENSION - 1)),
        Lives(left=1),
    ),
    *(
        Attack(
            f"{name} for an id never opened by {'the session' if whose else 'the peer'}",
            never(make, whose),
            Ends(PROTOCOL_ERROR, "which was never opened"),
        )
        for name, make in (
            ("DATA", wire.data),
            ("RST", lambda n: wire.rst(n, 0)),
            ("WND_INC", lambda n: wire.wnd_inc(n, 1)),
        )
        for whose in (0, 1)
    ),
    *(
        Attack(f"{name} for id 0", always(frame), Ends(PROTOCOL_ERROR, "which was never opened"))
        for name, frame in (("DATA", wire.data(0, b"x")), ("RST", wire.rst(0, 1)), ("WND_INC", wire.wnd_inc(0, 1)))
    ),
]

STREAMS = [
    Attack(
        "DATA for a stream that is forgotten",
        lambda i: [wire.syn(i.theirs[0]) + wire.rst(i.theirs[0], 7), wire.data(i.theirs[0], PIECE)],
        Lives(rst(ErrorCode.STREAM_CLOSED)),
    ),
    Attack(
        "DATA for a stream that ended in order",
        lambda i: [wire.syn(i.theirs[0], stream_type=READS, fin=True), wire.data(i.theirs[0], PIECE)],
        Lives(lambda i: [Seen("FIN", i.theirs[0], b""), Seen("RST", i.theirs[0], ErrorCode.STREAM_CLOSED)]),
    ),
    Attack(
        "DATA again and again for a stream that is forgotten",
        lambda i: [wire.syn(i.theirs[0]) + wire.rst(i.theirs[0], 7), *[wire.data(i.theirs[0], PIECE) * 20] * 5],
        Lives(rst(ErrorCode.STREAM_CLOSED)),
    ),
    Attack(
        "DATA after FIN",
        once(lambda i: wire.syn(i.theirs[0], fin=True) + wire.data(i.theirs[0], b"x")),
        Lives(rst(ErrorCode.STREAM_CLOSED)),
    ),
    Attack(
        "DATA after a FIN on DATA",
        lambda i: [wire.syn(i.theirs[0]) + wire.data(i.theirs[0], b"x", fin=True), wire.data(i.theirs[0])],
        Lives(rst(ErrorCode.STREAM_CLOSED)),
    ),
    Attack(
        "FIN twice, as the Go peer says it",
        once(lambda i: wire.syn(i.theirs[0]) + wire.data(i.theirs[0], fin=True) * 2),
        Lives(left=1),
    ),
    Attack(
        "DATA for a stream that the application has closed",
        lambda i: [wire.syn(i.theirs[0], stream_type=CLOSES), wire.data(i.theirs[0], PIECE)],
        Lives(lambda i: [Seen("FIN", i.theirs[0], b""), Seen("RST", i.theirs[0], ErrorCode.CANCEL)]),
    ),
    Attack(
        "frames that crossed the session's RST",
        lambda i: [
            wire.syn(i.theirs[0]) + wire.wnd_inc(i.theirs[0], 0),
            wire.data(i.theirs[0], PIECE) + wire.wnd_inc(i.theirs[0], 0) + wire.rst(i.theirs[0], 1),
        ],
        Lives(rst(PROTOCOL_ERROR)),
    ),
    Attack(
        "RST and WND_INC for a stream that is closed",
        lambda i: [
            wire.syn(i.theirs[0], stream_type=READS, fin=True),
            wire.wnd_inc(i.theirs[0], 5) + wire.rst(i.theirs[0], 1) + wire.wnd_inc(i.theirs[0], 0),
        ],
        Lives(lambda i: [Seen("FIN", i.theirs[0], b"")]),
    ),
    Attack("RST twice", once(lambda i: wire.syn(i.theirs[0]) + wire.rst(i.theirs[0], 7) * 2), Lives()),
    Attack(
        "an RST with a code that has no name",
        once(lambda i: wire.syn(i.theirs[0]) + wire.rst(i.theirs[0], 0xFFFFFFFF)),
        Lives(),
    ),
    Attack("a stream that the session opened, reset", once(lambda i: wire.rst(i.ours[0], 7)), Lives(), opens=1),
]

WINDOWS = [
    Attack(
        "a whole window, and FIN when it is empty",
        once(lambda i: wire.syn(i.theirs[0]) + window_full(i.theirs[0]) + wire.data(i.theirs[0], fin=True)),
        Lives(left=1),
    ),
    Attack(
        "one byte beyond the window",
        once(lambda i: wire.syn(i.theirs[0]) + window_full(i.theirs[0]) + wire.data(i.theirs[0], b"x")),
        Lives(rst(ErrorCode.FLOW_CONTROL_ERROR)),
    ),
    Attack(
        "a frame that begins within the window and ends beyond it",
        once(lambda i: wire.syn(i.theirs[0]) + wire.data(i.theirs[0], bytes(16_383)) * 5),
        Lives(rst(ErrorCode.FLOW_CONTROL_ERROR)),
    ),
    Attack(
        "a window of all that there is",
        once(lambda i: wire.wnd_inc(i.ours[0], MOST - wire.WINDOW)),
        Lives(left=1),
        opens=1,
    ),
    Attack(
        "a window of one byte more",
        once(lambda i: wire.wnd_inc(i.ours[0], MOST - wire.WINDOW + 1)),
        Lives(rst(ErrorCode.FLOW_CONTROL_ERROR, ours=True)),
        opens=1,
    ),
    Attack(
        "a window that is lifted too far by two frames",
        once(lambda i: wire.wnd_inc(i.ours[0], MOST - wire.WINDOW) + wire.wnd_inc(i.ours[0], 1)),
        Lives(rst(ErrorCode.FLOW_CONTROL_ERROR, ours=True)),
        opens=1,
    ),
    Attack(
        "a window update of 0",
        once(lambda i: wire.wnd_inc(i.ours[0], 0)),
        Lives(rst(PROTOCOL_ERROR, ours=True)),
        opens=1,
    ),
    Attack(
        "a window update of 2^31, which is 0 in 31 bits",
        once(lambda i: wire.wnd_inc(i.ours[0], 2**31)),
        Lives(rst(PROTOCOL_ERROR, ours=True)),
        opens=1,
    ),
]

LENGTHS = [
    *(
        Attack(
            f"{name} with a length of {length}",
            bare(kind, length),
            Ends(FRAME_SIZE_ERROR, f"has a length of {length}"),
        )
        for name, kind, lengths in (
            ("SYN", wire.SYN, (4, 8, 16383)),
            ("RST", wire.RST, (0, 3, 5, 16383)),
            ("WND_INC", wire.WND_INC, (0, 3, 5, 16383)),
            ("GOAWAY", wire.GOAWAY, (0, 7)),
        )
        for length in lengths
    ),
    Attack(
        "SYN without the fields that its flags promise",
        once(lambda i: wire.frame(wire.SYN, i.theirs[0], bytes(4), flags=wire.PRIORITY | wire.TYPE)),
        Ends(FRAME_SIZE_ERROR, "it must be 8"),
    ),
    *(
        Attack(
            f"a frame of type {kind}",
            bare(kind),
            Ends(PROTOCOL_ERROR, f"illegal frame type {kind}"),
        )
        for kind in (0, 5, 7, 31)
    ),
    Attack(
        "bits that are reserved",
        once(
            lambda i: (
                wire.frame(wire.SYN | 0xE0, i.theirs[0] | 2**31, length=0xC000)
                + wire.frame(wire.RST | 0x40, i.theirs[0], wire.u32(7), length=0x4004)
            )
        ),
        Lives(),
    ),
    Attack(
        "flags that no frame has",
        once(lambda i: wire.frame(wire.SYN, i.theirs[0], flags=0xF8)),
        Lives(left=1),
    ),
    Attack(
        "two errors at once: the first counts",
        once(lambda _: wire.syn(0) + wire.frame(31, 1)),
        Ends(PROTOCOL_ERROR, "stream id 0 is not"),
    ),
    Attack(
        "a broken rule behind an honest frame",
        once(lambda i: wire.syn(i.theirs[0]) + wire.wnd_inc(i.theirs[0], 0) + wire.frame(31, 1)),
        Ends(PROTOCOL_ERROR, "illegal frame type 31", rst(PROTOCOL_ERROR)),
    ),
]

GOAWAYS = [
    Attack(
        "GOAWAY as the Go peer writes it, and more frames",
        once(lambda i: wire.go_peers_goaway(1000, 0, 5) + wire.syn(i.theirs[0])),
        Lives(left=2),
        opens=1,
    ),
    Attack("GOAWAY above which a stream is given up", once(lambda i: wire.goaway(i.ours[0])), Lives(left=1), opens=2),
    Attack(
        "GOAWAYs with less and less, then more",
        once(lambda i: wire.goaway(1000) + wire.goaway(i.ours[0]) + wire.goaway(MOST, 99)),
        Lives(left=1),
        opens=3,
    ),
    Attack(
        "GOAWAY with a text that is no text",
        once(lambda _: wire.goaway(1000, 77, bytes(range(128, 256)) * 120)),
        Lives(left=1),
        opens=1,
    ),
]


@pytest.mark.parametrize("attack", [*IDS, *STREAMS, *WINDOWS, *LENGTHS, *GOAWAYS], ids=lambda attack: word(str(attack)))
@EITHER
async def test_a_rule_is_kept(attack: Attack, kind: str, client: bool, mock_clock: Clock) -> None:
    await play(attack, kind, client=client)
