"""A stream's life: all pairs of phase and event."""

from itertools import product

import pytest

from muxpy.proto import Event, Phase, StreamState

LEGAL = {
    (Phase.OPEN, Event.SEND_FIN): Phase.LOCAL_DONE,
    (Phase.OPEN, Event.RECV_FIN): Phase.REMOTE_DONE,
    (Phase.OPEN, Event.CLOSE): Phase.CLOSING,
    (Phase.OPEN, Event.RESET): Phase.GONE,
    (Phase.LOCAL_DONE, Event.RECV_FIN): Phase.CLOSED,
    (Phase.LOCAL_DONE, Event.CLOSE): Phase.CLOSING,
    (Phase.LOCAL_DONE, Event.RESET): Phase.GONE,
    (Phase.REMOTE_DONE, Event.SEND_FIN): Phase.CLOSED,
    (Phase.REMOTE_DONE, Event.CLOSE): Phase.CLOSED,
    (Phase.REMOTE_DONE, Event.RESET): Phase.GONE,
    (Phase.CLOSING, Event.RECV_FIN): Phase.CLOSED,
    (Phase.CLOSING, Event.RESET): Phase.GONE,
}


def in_phase(phase: Phase) -> StreamState:
    stream = StreamState(3, 0, 0, send_window=0)
    stream.phase = phase
    return stream


@pytest.mark.parametrize(("phase", "event"), list(product(Phase, Event)))
def test_every_phase_and_event(phase: Phase, event: Event) -> None:
    expected = LEGAL.get((phase, event))
    stream = in_phase(phase)
    assert stream.advance(event) == (expected is not None)
    assert stream.phase is (expected or phase)


@pytest.mark.parametrize(
    ("phase", "reads", "may_send", "wanted", "ended"),
    [
        (Phase.OPEN, True, True, True, False),
        (Phase.LOCAL_DONE, True, False, True, False),
        (Phase.REMOTE_DONE, False, True, True, False),
        (Phase.CLOSING, False, False, False, False),
        (Phase.CLOSED, False, False, False, True),
        (Phase.GONE, False, False, False, True),
    ],
)
def test_what_a_phase_allows(phase: Phase, reads: bool, may_send: bool, wanted: bool, ended: bool) -> None:
    stream = in_phase(phase)
    assert (stream.phase.reads, stream.phase.sends, stream.wanted, stream.phase.over) == (
        reads,
        may_send,
        wanted,
        ended,
    )


def test_the_table_covers_all_phases() -> None:
    assert len(Phase) * len(Event) == 24
    assert {phase for phase, _ in LEGAL} == set(Phase) - {Phase.CLOSED, Phase.GONE}
