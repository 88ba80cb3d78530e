"""Whatever a peer sends: resets, one GOAWAY, or nothing, and never an exception."""

from hypothesis import given, settings
from hypothesis import strategies as st

from muxpy import SessionConfig
from muxpy.proto import Opening, StreamState
from tests.frame import wire
from tests.frame.wire import EXTENSION, WINDOW

from .invariants import check, check_same_outcome
from .side import Side

CONFIG = SessionConfig(max_streams=4, accept_backlog=3, max_control_frames=64, receive_budget=200_000)
thorough = settings(deadline=None, max_examples=300)

ids = st.integers(0, 12)
numbers = st.one_of(st.integers(0, 9), st.sampled_from([WINDOW, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]))
payloads = st.one_of(st.binary(max_size=9), st.sampled_from([bytes(16383), bytes(9000)]))
plausible = st.one_of(
    st.builds(
        wire.syn,
        ids,
        priority=st.one_of(st.none(), numbers),
        stream_type=st.one_of(st.none(), st.sampled_from([0, 5, EXTENSION, EXTENSION + 1])),
        fin=st.booleans(),
    ),
    st.builds(wire.data, ids, payloads, fin=st.booleans()),
    st.builds(wire.data, ids, payloads, fin=st.booleans()),
    st.builds(wire.rst, ids, numbers),
    st.builds(wire.wnd_inc, ids, numbers),
    st.builds(wire.goaway, numbers, numbers, st.binary(max_size=9)),
    st.builds(wire.go_peers_goaway, numbers, numbers, st.integers(0, 99)),
)
odd = st.builds(
    wire.frame,
    st.integers(0, 255),
    st.integers(0, 0xFFFFFFFF),
    st.binary(max_size=12),
    flags=st.integers(0, 255),
)
applications = st.lists(
    st.tuples(st.sampled_from(["open", "take", "finish", "close", "reset", "submit"]), ids), max_size=3
)


def do(side: Side, what: str, stream: StreamState) -> None:
    """One thing that an application does to a stream."""
    match what:
        case "take":
            side.take(stream, 5)
            side.take_all(stream)
        case "finish" if not stream.unsent:
            side.core.finish(stream)
        case "close":
            side.core.sending.withdraw(stream)
            side.core.close(stream)
        case "reset":
            side.core.reset(stream, 7)
        case "submit" if stream.phase.sends and not stream.unsent:
            side.submit(stream, bytes(20_000))


@thorough
@given(st.booleans(), st.lists(st.one_of(st.binary(max_size=40), plausible, odd), max_size=12))
def test_arbitrary_bytes_never_raise(client: bool, parts: list[bytes]) -> None:
    side = Side(client, CONFIG, extensions=(EXTENSION,))
    known = [side.core.open(Opening())]
    written = b""
    for part in parts:
        known += side.receive(part).opened
        written += side.sent()
        check(side, known, wire.split(written))
    side.core.receive_eof()
    written += side.sent()
    check(side, known, wire.split(written))


@thorough
@given(st.booleans(), st.lists(st.tuples(plausible, st.booleans(), applications), max_size=30))
def test_plausible_frames_never_raise_whatever_the_application_does(
    client: bool, steps: list[tuple[bytes, bool, list[tuple[str, int]]]]
) -> None:
    side = Side(client, CONFIG, extensions=(EXTENSION,))
    known = [side.core.open(Opening())]
    written = b""
    held = b""
    for frame, hold, actions in steps:
        held += frame
        if not hold:
            cut = len(held) // 2
            known += side.receive(held[:cut]).opened
            known += side.receive(held[cut:]).opened
            held = b""
        for what, pick in actions:
            if what == "open":
                if side.core.can_open:
                    known.append(side.core.open(Opening()))
            else:
                do(side, what, known[pick % len(known)])
        written += side.sent()
        check(side, known, wire.split(written))
    for stream in known:
        side.core.reset(stream, 7)
        side.core.close(stream)
        side.take_all(stream)
    assert side.core.streams == {}
    assert side.core.budget.left == CONFIG.receive_budget


@thorough
@given(st.booleans(), st.lists(plausible, max_size=15), st.data())
def test_the_outcome_does_not_depend_on_how_the_bytes_are_cut(
    client: bool, frames: list[bytes], data: st.DataObject
) -> None:
    received = b"".join(frames)
    whole, parts = (Side(client, CONFIG, extensions=(EXTENSION,)) for _ in range(2))
    for side in (whole, parts):
        side.open()
    known = {stream.id: stream for stream in whole.receive(received).opened}
    cuts = sorted(data.draw(st.lists(st.integers(0, len(received)), max_size=8)))
    seen = {}
    for start, stop in zip([0, *cuts], [*cuts, len(received)], strict=True):
        for stream in parts.receive(received[start:stop]).opened:
            seen[stream.id] = stream
    check_same_outcome(whole, known, parts, seen)
