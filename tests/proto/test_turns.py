"""What arrives together is acted on in turns, and comes to the same as at once."""

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from muxpy import SessionConfig
from muxpy.proto import Changes
from muxpy.proto._limits import LOGIN_FRAMES, START, WAKE
from tests.frame import wire
from tests.frame.wire import EXTENSION

from .invariants import check_same_outcome
from .side import Side
from .test_arbitrary_input import CONFIG, odd, plausible, thorough

if TYPE_CHECKING:
    from muxpy.frame import Buffer


def in_turns(side: Side, data: bytes, most: int) -> list[Changes]:
    """Give it all, `most` units of work at a time."""
    turns = []
    rest: Buffer = data
    while rest:
        turns.append(side.core.receive(rest, most))
        assert len(turns[-1].rest) < len(rest)
        rest = turns[-1].rest
    return turns


@thorough
@given(st.booleans(), st.lists(st.one_of(plausible, plausible, odd), max_size=30), st.integers(1, 60), st.data())
def test_turns_come_to_the_same_as_all_at_once(
    client: bool, frames: list[bytes], most: int, data: st.DataObject
) -> None:
    whole, cut_up = (Side(client, CONFIG, extensions=(EXTENSION,)) for _ in range(2))
    known, seen = {}, {}
    received = b"".join(frames)
    cut = data.draw(st.integers(0, len(received)))
    for part in (received[:cut], received[cut:]):
        known.update({stream.id: stream for stream in whole.receive(part).opened})
        seen.update({stream.id: stream for turn in in_turns(cut_up, part, most) for stream in turn.opened})
    check_same_outcome(whole, known, cut_up, seen)


def test_a_turn_ends_when_its_work_is_done(side: Side) -> None:
    most = 3 * (START + 1)
    ids = range(side.theirs, side.theirs + 20, 2)
    turns = in_turns(side, b"".join(wire.syn(one) for one in ids), most)
    assert [len(turn.opened) for turn in turns] == [3, 3, 3, 1]
    turns = in_turns(side, b"".join(wire.data(one, b"x") for one in ids) * 2, 2 * (WAKE + 1))
    assert all(len(turn.readable) <= 2 for turn in turns)
    assert sum(len(turn.readable) for turn in turns) == 20
    [*turns, last] = in_turns(side, b"".join(wire.rst(one, 7) for one in ids), 4 * (WAKE + 1))
    assert [len(turn.reset) for turn in turns] == [4, 4]
    assert len(last.reset) == 2


def test_of_a_payload_nothing_is_left_for_the_next_turn(side: Side) -> None:
    stream = side.accept()
    frame = wire.data(stream.id, bytes(1000))
    changes = side.core.receive(frame[:500], 1)
    assert not changes.rest
    assert side.core.receive(frame[500:] + wire.wnd_inc(stream.id, 1), 1).rest == wire.wnd_inc(stream.id, 1)
    assert side.take_all(stream) == bytes(1000)


def test_a_stranger_has_few_frames_in_a_turn_whatever_is_allowed() -> None:
    side = Side(False, SessionConfig(wants_login=True))
    first = side.core.receive(wire.syn(3) + wire.data(3, b"x") * 1000)
    assert first.rest
    assert side.core.counters.frames_received <= LOGIN_FRAMES
    side.core.receive(first.rest)
    assert side.core.error is not None
