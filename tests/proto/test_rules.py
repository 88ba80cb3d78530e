"""The tables of docs/protocol.md, row by row: what each broken or late frame gets, in every state of a stream."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from muxpy import ErrorCode
from muxpy.proto import Changes, Phase
from tests.frame import wire
from tests.frame.wire import CANCEL, FLOW_CONTROL_ERROR, PROTOCOL_ERROR, STREAM_CLOSED, WINDOW
from tests.helpers.ids import word

from .scenes import (
    ENDED,
    Scene,
    both_finished,
    peer_finished,
    peer_opened,
    peer_opened_with_fin,
    peer_reset,
    we_closed,
    we_opened,
    we_reset,
    window_full,
)
from .side import Side

# ---- answered by a session error: one GOAWAY ----


class Broken(NamedTuple):
    what: str
    frames: Callable[[Side], bytes]
    code: ErrorCode
    reason: str


def seen(side: Side) -> int:
    """The highest id of the peer's so far: it opened three streams."""
    return side.theirs + 4


ENDS_THE_SESSION = [
    Broken("SYN repeated", lambda s: wire.syn(seen(s)), ErrorCode.PROTOCOL_ERROR, "not above the last one"),
    Broken("SYN lower", lambda s: wire.syn(s.theirs), ErrorCode.PROTOCOL_ERROR, "not above the last one"),
    Broken("SYN of our parity", lambda s: wire.syn(s.ours + 100), ErrorCode.PROTOCOL_ERROR, "not the peer's to open"),
    Broken("SYN of id 0", lambda s: wire.syn(0), ErrorCode.PROTOCOL_ERROR, "stream id 0"),
    Broken("SYN of id 1", lambda s: wire.syn(1), ErrorCode.PROTOCOL_ERROR, "stream id 1"),
    Broken("DATA never opened by it", lambda s: wire.data(seen(s) + 2, b"x"), ErrorCode.PROTOCOL_ERROR, "never opened"),
    Broken("DATA never opened by us", lambda s: wire.data(s.ours + 2, b"x"), ErrorCode.PROTOCOL_ERROR, "never opened"),
    Broken("DATA on id 0", lambda s: wire.data(0, b"x"), ErrorCode.PROTOCOL_ERROR, "STREAM_DATA for stream 0"),
    Broken("DATA on id 1", lambda s: wire.data(1, b"x"), ErrorCode.PROTOCOL_ERROR, "STREAM_DATA for stream 1"),
    Broken("RST never opened by it", lambda s: wire.rst(seen(s) + 2, 0), ErrorCode.PROTOCOL_ERROR, "STREAM_RST for"),
    Broken("RST never opened by us", lambda s: wire.rst(s.ours + 2, 0), ErrorCode.PROTOCOL_ERROR, "STREAM_RST for"),
    Broken("RST on id 0", lambda s: wire.rst(0, 0), ErrorCode.PROTOCOL_ERROR, "STREAM_RST for stream 0"),
    Broken("WND_INC never opened by it", lambda s: wire.wnd_inc(seen(s) + 2, 1), ErrorCode.PROTOCOL_ERROR, "WND_INC"),
    Broken("WND_INC never opened by us", lambda s: wire.wnd_inc(s.ours + 2, 1), ErrorCode.PROTOCOL_ERROR, "WND_INC"),
    Broken("WND_INC on id 0", lambda s: wire.wnd_inc(0, 1), ErrorCode.PROTOCOL_ERROR, "STREAM_WND_INC for stream 0"),
    Broken(
        "SYN of a wrong length",
        lambda s: wire.frame(wire.SYN, seen(s) + 2, bytes(4)),
        ErrorCode.FRAME_SIZE_ERROR,
        "STREAM_SYN has a length of 4; it must be 0",
    ),
    Broken(
        "RST of a wrong length",
        lambda s: wire.frame(wire.RST, s.theirs, bytes(5)),
        ErrorCode.FRAME_SIZE_ERROR,
        "STREAM_RST has a length of 5; it must be 4",
    ),
    Broken(
        "WND_INC of a wrong length",
        lambda s: wire.frame(wire.WND_INC, s.theirs, bytes(3)),
        ErrorCode.FRAME_SIZE_ERROR,
        "STREAM_WND_INC has a length of 3; it must be 4",
    ),
    Broken(
        "GOAWAY of a wrong length",
        lambda s: wire.frame(wire.GOAWAY, 0, bytes(7)),
        ErrorCode.FRAME_SIZE_ERROR,
        "GOAWAY has a length of 7; the minimum is 8",
    ),
    *(
        Broken(
            f"frame type {kind}",
            lambda s, kind=kind: wire.frame(kind, s.theirs, bytes(4)),  # type: ignore[misc]
            ErrorCode.PROTOCOL_ERROR,
            f"illegal frame type {kind}",
        )
        for kind in (0, 5, 7, 31)
    ),
]


@pytest.mark.parametrize("row", ENDS_THE_SESSION, ids=lambda row: word(row.what))
def test_the_session_ends(side: Side, row: Broken) -> None:
    side.receive(*(wire.syn(side.theirs + more) for more in (0, 2, 4)))
    side.open()

    side.receive(row.frames(side))

    error = side.core.error
    assert error is not None
    assert error.code is row.code
    assert row.reason in error.reason
    assert side.sent() == wire.goaway(seen(side), row.code, error.reason.encode())
    assert side.core.goaway_sent
    assert not side.core.can_open


def test_only_the_first_session_error_counts(side: Side) -> None:
    side.receive(wire.syn(side.theirs), wire.rst(0, 0), wire.frame(31, 0))
    first = side.core.error
    assert len(side.frames()) == 1
    changes = side.receive(wire.frame(31, 0), wire.syn(side.theirs + 2), wire.data(side.theirs, b"x"))
    assert side.core.error is first
    assert side.sent() == b""
    nothing = Changes()
    nothing.going_away = True
    assert changes == nothing
    assert list(side.core.streams) == [side.theirs]
    assert not side.core.go_away(0, b"bye")
    assert side.sent() == b""


def test_what_came_before_the_wrong_frame_is_delivered(side: Side) -> None:
    stream = side.accept()
    changes = side.receive(wire.data(stream.id, b"last words"), wire.rst(0, 0))
    assert changes.readable == [stream]
    assert side.take(stream) == b"last words"


# ---- answered by a reset of the stream ----


class Refused(NamedTuple):
    what: str
    scene: Scene
    frames: Callable[[int], bytes]
    code: int


RESETS_THE_STREAM = [
    Refused("DATA on a forgotten stream", both_finished, lambda id: wire.data(id, b"x"), STREAM_CLOSED),
    Refused("empty DATA on a forgotten stream", both_finished, lambda id: wire.data(id), STREAM_CLOSED),
    Refused("DATA after its own RST", peer_reset, lambda id: wire.data(id, b"x"), STREAM_CLOSED),
    Refused("DATA after FIN", peer_finished, lambda id: wire.data(id, b"x"), STREAM_CLOSED),
    Refused("DATA with FIN after FIN", peer_finished, lambda id: wire.data(id, b"x", fin=True), STREAM_CLOSED),
    Refused("empty DATA after FIN", peer_finished, lambda id: wire.data(id), STREAM_CLOSED),
    Refused("DATA after SYN with FIN", peer_opened_with_fin, lambda id: wire.data(id, b"x"), STREAM_CLOSED),
    Refused("DATA after we closed", we_closed, lambda id: wire.data(id, b"x"), CANCEL),
    Refused("DATA with FIN after we closed", we_closed, lambda id: wire.data(id, b"x", fin=True), CANCEL),
    Refused("DATA past the window", window_full, lambda id: wire.data(id, b"x"), FLOW_CONTROL_ERROR),
    Refused("DATA with FIN past the window", window_full, lambda id: wire.data(id, b"x", fin=True), FLOW_CONTROL_ERROR),
    Refused("WND_INC past 2^31-1", peer_opened, lambda id: wire.wnd_inc(id, 0x7FFFFFFF), FLOW_CONTROL_ERROR),
    Refused("WND_INC just past it", we_opened, lambda id: wire.wnd_inc(id, 0x80000000 - WINDOW), FLOW_CONTROL_ERROR),
    Refused("WND_INC of 0", peer_opened, lambda id: wire.wnd_inc(id, 0), PROTOCOL_ERROR),
    Refused("WND_INC of 0, half closed", peer_finished, lambda id: wire.wnd_inc(id, 0), PROTOCOL_ERROR),
]


@pytest.mark.parametrize("row", RESETS_THE_STREAM, ids=lambda row: word(row.what))
def test_the_stream_is_reset(side: Side, row: Refused) -> None:
    stream = row.scene(side)
    bystander = side.accept(side.theirs + 2)
    was_alive = not stream.phase.over
    side.sent()

    changes = side.receive(row.frames(stream.id))

    assert side.sent() == wire.rst(stream.id, row.code)
    assert side.core.error is None
    assert list(side.core.streams) == [bystander.id]
    assert changes.readable == []
    if was_alive:
        assert changes.reset == [stream]
        assert stream.phase is Phase.GONE
        assert (stream.reset_code, stream.reset_by_peer, stream.retryable) == (row.code, False, False)
        assert (stream.incoming.buffered, stream.incoming.read(None)) == (0, b"")
    else:
        assert changes.reset == []


@pytest.mark.parametrize("row", RESETS_THE_STREAM, ids=lambda row: word(row.what))
def test_what_crosses_the_reset_is_ignored(side: Side, row: Refused) -> None:
    stream = row.scene(side)
    side.receive(row.frames(stream.id))
    side.sent()
    changes = side.receive(
        wire.data(stream.id, b"late"),
        wire.data(stream.id, fin=True),
        wire.wnd_inc(stream.id, 1),
        wire.wnd_inc(stream.id, 0),
        wire.rst(stream.id, CANCEL),
    )
    assert side.sent() == b""
    assert side.core.error is None
    assert changes == type(changes)()


@pytest.mark.parametrize(
    ("scene", "code"),
    [
        (both_finished, STREAM_CLOSED),
        (peer_finished, STREAM_CLOSED),
        (we_closed, CANCEL),
        (window_full, FLOW_CONTROL_ERROR),
    ],
)
@pytest.mark.parametrize("fin", [False, True])
def test_a_rejected_frame_cut_across_receives_is_answered_once(side: Side, scene: Scene, code: int, fin: bool) -> None:
    stream = scene(side)
    side.sent()
    frame = wire.data(stream.id, b"a payload in pieces", fin=fin)
    next_id = seen(side)
    for at in range(len(frame)):
        side.receive(frame[at : at + 1])
    [opened] = side.receive(wire.syn(next_id)).opened
    assert side.sent() == wire.rst(stream.id, code)
    assert side.core.error is None
    assert list(side.core.streams) == [opened.id]


# ---- ignored ----


@pytest.mark.parametrize("scene", ENDED)
@pytest.mark.parametrize(
    "late",
    [lambda id: wire.rst(id, CANCEL), lambda id: wire.wnd_inc(id, 1), lambda id: wire.wnd_inc(id, 0)],
    ids=["RST", "WND_INC", "WND_INC_of_0"],
)
def test_rst_and_wnd_inc_for_an_ended_stream_are_ignored(
    side: Side, scene: Scene, late: Callable[[int], bytes]
) -> None:
    stream = scene(side)
    phase = stream.phase
    side.sent()
    changes = side.receive(late(stream.id))
    assert side.sent() == b""
    assert side.core.error is None
    assert changes == type(changes)()
    assert stream.phase is phase


@pytest.mark.parametrize("fin", [False, True])
def test_data_soon_after_we_reset_the_stream_is_ignored(side: Side, fin: bool) -> None:
    stream = we_reset(side)
    assert side.sent() == wire.rst(stream.id, CANCEL)
    side.receive(wire.data(stream.id, b"crossed our RST", fin=fin))
    assert side.sent() == b""
    assert side.core.error is None


def test_an_empty_fin_said_twice_is_tolerated(side: Side) -> None:
    """A documented deviation: the Go peer says FIN again when it half-closes and then closes."""
    stream = side.accept()
    side.receive(wire.data(stream.id, b"unread", fin=True))
    changes = side.receive(wire.data(stream.id, fin=True))
    assert side.sent() == b""
    assert changes == type(changes)()
    assert stream.phase is Phase.REMOTE_DONE
    assert side.take(stream) == b"unread"


def test_empty_data_is_legal_and_says_nothing(side: Side) -> None:
    stream = side.accept()
    changes = side.receive(wire.data(stream.id))
    assert changes == type(changes)()
    assert side.sent() == b""
    assert stream.phase is Phase.OPEN


# ---- the end of the transport ----


@pytest.mark.parametrize("at", [1, 7, 8, 10])
def test_the_end_in_the_middle_of_a_frame_is_a_session_error(side: Side, at: int) -> None:
    stream = side.accept()
    side.receive(wire.goaway(0), wire.data(stream.id, b"hello")[:at])
    assert not side.core.receive_eof()
    error = side.core.error
    assert error is not None
    assert error.code is ErrorCode.PROTOCOL_ERROR
    assert error.reason == "the transport ended in the middle of a frame"
    assert side.sent() == wire.goaway(stream.id, PROTOCOL_ERROR, error.reason.encode())


def test_the_end_without_goaway_means_that_the_peer_vanished(side: Side) -> None:
    side.accept()
    assert not side.core.receive_eof()
    assert side.core.error is None


@pytest.mark.parametrize("goaway", [wire.goaway(0, 0, b"bye"), wire.go_peers_goaway(0, debug_length=3)])
def test_the_end_after_goaway_is_in_order(side: Side, goaway: bytes) -> None:
    side.receive(goaway)
    assert side.core.receive_eof()
    assert side.core.error is None


def test_the_end_after_a_session_error_is_not_in_order(side: Side) -> None:
    side.receive(wire.goaway(0), wire.rst(0, 0))
    error = side.core.error
    side.sent()
    assert not side.core.receive_eof()
    assert side.core.error is error
    assert side.sent() == b""
