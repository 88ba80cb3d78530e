"""What goes wrong with a call, as one line and an exit code."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import trio

from muxpy import rpc

from .._errors import NOT_ALLOWED, Failure, describe, the_cause
from ..specs import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["failing"]

EXIT_CODES: Final[dict[int, int]] = {
    rpc.Code.INVALID_ARGUMENT: 2,
    rpc.Code.UNIMPLEMENTED: 2,
    rpc.Code.PERMISSION_DENIED: NOT_ALLOWED,
    rpc.Code.UNAUTHENTICATED: NOT_ALLOWED,
}
"""What was typed is wrong there, or may not be done; all else has failed, and has exit code 1."""


@contextmanager
def failing(what: str, seconds: float | None) -> Iterator[None]:
    """Cut the block off after so many seconds, and turn what it raises into a Failure. `what` is asked for."""
    try:
        if seconds is None:
            yield
            return
        with trio.fail_after(seconds):
            yield
    except Exception as group:
        error = the_cause(group)
        if isinstance(error, trio.TooSlowError) and seconds is not None:  # whichever side has seen it first
            raise Failure(f"{what}: no answer within {seconds:g} s (--timeout)") from error
        if isinstance(error, rpc.Error):
            said = str(error).removeprefix(f"{what}: ") + _details(error.details)
            raise Failure(f"{what}: {said}", EXIT_CODES.get(error.code, 1)) from error
        if isinstance(error, ValueError):
            raise Failure(f"{what}: {error}", 2) from error
        if isinstance(error, (OSError, trio.BrokenResourceError)):
            raise Failure(f"{what}: {describe(error)}") from error
        raise error from error.__cause__


def _details(details: object) -> str:
    """What an error says beyond its message. The traceback of a service that sends them has lines of its own."""
    if details is None:
        return ""
    if isinstance(details, str) and "\n" in details:
        sys.stderr.write("".join(f"{printable(line)}\n" for line in details.splitlines()))
        return ""
    return f"; details: {json.dumps(details, ensure_ascii=False)}"
