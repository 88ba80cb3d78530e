"""Where the Go peer differs and may, each difference by itself with its reason. Everything else must be the same.

The numbers are those of "Where the reference differs" in docs/protocol.md. Two of these differences are not tolerated
here but left out by `operations.py`, since they leave nothing to compare:

- SYN with FIN (2) closes the wrong halves in the Go peer, so such a stream is only used as far as both agree: muxpy as
  its opener may not write, as its acceptor it reads the end, and it resets it then.
- The Go peer has no reset of its own.

Of a second FIN (3), a full backlog (4) and how often window is given (5) no application sees anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .ends import Outcome
    from .operations import Operation

__all__ = ["same"]


def same(operation: Operation, go: Outcome, muxpy: Outcome) -> bool:
    """Whether two outcomes of an operation agree: with the Go peer as the far end, and with muxpy as it."""
    return go == muxpy or keeps_what_had_arrived(operation, go, muxpy) or other_code_after_close(operation, go, muxpy)


def keeps_what_had_arrived(operation: Operation, go: Outcome, muxpy: Outcome) -> bool:
    """After a reset, and after its own close, the Go peer still hands out what it had received, then the same error.

    Protocol and session do not depend on it. muxpy drops it, as its documentation says.
    """
    ended = go.words == "closed" or go.words.startswith("reset ")
    return (
        operation.end == "far"
        and operation.kind == "read_rest"
        and ended
        and go.words == muxpy.words
        and not muxpy.data
    )


def other_code_after_close(operation: Operation, go: Outcome, muxpy: Outcome) -> bool:
    """What muxpy sends to a stream that its peer has closed is answered by STREAM_CLOSED in the Go peer, by CANCEL in
    muxpy (6). It is a StreamReset both times, with nothing read."""
    return operation.end == "near" and (go.words, muxpy.words) == ("reset 4", "reset 7") and go.data == muxpy.data
