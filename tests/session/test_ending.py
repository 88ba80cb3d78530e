"""A session's life: all pairs of stage and event, and what each cause says."""

from __future__ import annotations

import re
from itertools import product

import pytest
import trio

import muxpy
from muxpy import ErrorCode, ProtocolError
from muxpy.proto import RemoteGoAway
from muxpy.session._ending import Cause, Ending, SessionEvent, Stage, broken, failed, in_order, killed, lost

DECIDING = (SessionEvent.FINISHED, SessionEvent.LOST, SessionEvent.BROKEN, SessionEvent.FAILED)
LIVING = (Stage.OPEN, Stage.GOING_AWAY, Stage.DRAINING)

LEGAL = {
    (Stage.OPEN, SessionEvent.GOAWAY): Stage.GOING_AWAY,
    (Stage.OPEN, SessionEvent.CLOSE): Stage.DRAINING,
    (Stage.GOING_AWAY, SessionEvent.CLOSE): Stage.DRAINING,
    (Stage.LINGERING, SessionEvent.CLOSED): Stage.ENDED,
    (Stage.LINGERING, SessionEvent.KILL): Stage.ENDED,
    **dict.fromkeys(product(LIVING, DECIDING), Stage.LINGERING),
    **{(stage, SessionEvent.KILL): Stage.ENDED for stage in LIVING},
}

RULE = ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "too long")
CLEAN = RemoteGoAway(7, ErrorCode.NO_ERROR, b"bye")
ANGRY = RemoteGoAway(7, ErrorCode.INTERNAL_ERROR, b"out of \x1bmemory")
RESET = ConnectionResetError("reset")


def named(value: object) -> str | None:
    return value.name if isinstance(value, Stage | SessionEvent) else None


@pytest.mark.parametrize(("stage", "event"), list(product(Stage, SessionEvent)), ids=named)
async def test_every_stage_and_event(stage: Stage, event: SessionEvent) -> None:
    ending = Ending()
    ending.stage = stage
    expected = LEGAL.get((stage, event))
    decides = event not in (SessionEvent.GOAWAY, SessionEvent.CLOSE, SessionEvent.CLOSED)
    assert ending.happens(event, Cause() if decides else None) is (decides and expected is not None)
    assert ending.stage is (expected or stage)
    assert ending.going_away is (ending.stage is not Stage.OPEN)


async def test_the_first_that_decides_counts() -> None:
    ending = Ending()
    assert ending.happens(SessionEvent.GOAWAY, None, CLEAN) is False
    ending.check_alive()
    assert ending.end is None
    assert ending.happens(SessionEvent.FAILED, failed(RESET), CLEAN)
    assert ending.end is not None
    assert not ending.happens(
        SessionEvent.KILL, killed(None), CLEAN
    )  # it has no time for last words any more, that is all
    assert ending.stage is Stage.ENDED
    assert ending.end == muxpy.SessionEnd(ErrorCode.INTERNAL_ERROR, RESET, ErrorCode.NO_ERROR, b"bye")
    with pytest.raises(muxpy.SessionClosed) as caught:
        ending.check_alive()
    assert caught.value.end is ending.end


@pytest.mark.parametrize(
    ("cause", "code", "by_peer", "text"),
    [
        pytest.param(in_order(None), 0, False, None, id="closed_here"),
        pytest.param(in_order(CLEAN, by_peer=True), 0, True, None, id="closed_by_the_peer"),
        pytest.param(
            in_order(ANGRY), 2, True, r"ended the session with INTERNAL_ERROR: out of \\x1bmemory", id="peers_error"
        ),
        pytest.param(broken(RULE), 5, False, "too long", id="rule_broken"),
        pytest.param(failed(RESET), 2, False, "reset", id="cannot_write"),
        pytest.param(killed(None), 7, False, "this side killed it", id="killed"),
        pytest.param(killed(RESET), 7, False, "reset", id="killed_for_a_reason"),
    ],
)
def test_what_each_cause_says(cause: Cause, code: int, by_peer: bool, text: str | None) -> None:
    assert (cause.code, cause.by_peer) == (code, by_peer)
    if text is None:
        assert cause.error is None
    else:
        assert re.search(text, str(cause.error))


@pytest.mark.parametrize("draining", [False, True])
def test_what_the_end_of_the_transport_means(draining: bool) -> None:
    """The rows of `lost`, in their order: each has what the rows below it would decide otherwise."""

    def of(
        rule: ProtocolError | None = None,
        remote: RemoteGoAway | None = None,
        error: BaseException | None = None,
        *,
        whole: bool = False,
        wordless: bool = False,
    ) -> Cause:
        return lost(rule, remote, error, whole=whole, draining=draining, wordless=wordless)

    assert of(RULE, ANGRY, RESET) == broken(RULE)
    assert of(None, CLEAN, RESET, whole=True) == Cause(by_peer=not draining)
    for whole in (True, False):
        cause = of(None, ANGRY, RESET, whole=whole)
        assert (cause.code, cause.by_peer) == (ErrorCode.INTERNAL_ERROR, True)
        assert isinstance(cause.error, trio.BrokenResourceError)
    assert of(None, CLEAN, RESET) == failed(RESET)  # cut within a frame, in which case `rule` says so, or by TLS
    assert of(None, None, RESET, wordless=True) == failed(RESET)
    for wordless in (True, False):
        cause = of(wordless=wordless)
        assert (cause.code, cause.by_peer) == (ErrorCode.INTERNAL_ERROR, True)
        assert "without saying GOAWAY" in str(cause.error)
        assert ("does it expect TLS?" in str(cause.error)) is wordless
