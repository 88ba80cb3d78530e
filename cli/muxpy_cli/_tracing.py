"""--trace: the frames of all sessions of this process, in one file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import muxpy

from ._errors import Failure, describe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._options import Output
    from .view import Console

__all__ = ["Trace", "tracing"]

Trace: TypeAlias = Callable[[muxpy.TraceEvent], object]
"""What a session tells its frames to."""


@contextmanager
def tracing(output: Output, console: Console) -> Iterator[Trace | None]:
    """The file that the options name, open as long as the block; None if they name none. Raises Failure if it cannot
    be opened. One that cannot be written later has the library say so, once, and nothing else happens."""
    if output.trace is None:
        yield None
        return
    try:
        file = muxpy.TraceFile(output.trace)
    except (OSError, ValueError) as error:
        # Of what is there already, and is no trace, the library says more than the system does.
        why = error.strerror if isinstance(error, FileExistsError) else describe(error)
        raise Failure(f"cannot write the trace to {output.trace}: {why}", 2) from error
    try:
        yield file
    finally:
        try:
            file.close()
        except OSError as error:
            console.complain(f"{output.trace}: the end of the trace is missing: {describe(error)}")
