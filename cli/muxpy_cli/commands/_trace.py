"""`muxpy trace`: a trace file as a ladder."""

from __future__ import annotations

import errno
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from .._errors import Failure, describe
from ..view import Console, discard_output, fail
from ._types import TRACE_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

__all__ = ["trace_command"]


@click.command("trace")
@click.argument("file", metavar="FILE", type=TRACE_FILE)
@click.option("--stream", "streams", metavar="ID", type=click.IntRange(0), multiple=True, help="Only this stream.")
@click.option("--session", metavar="N", type=click.IntRange(0), help="Only this session.")
@click.option("--all", "everything", is_flag=True, help="Show each frame on its own line.")
def trace_command(file: Path, streams: tuple[int, ...], session: int | None, everything: bool) -> int:
    """Show a file that --trace has written: every frame that passed, in order.

    Time goes down, this side is on the left, the peer on the right. DATA and WND_INC that belong together are one
    line, with their number and sum. At the end come the streams that carried most, and the frames by type.
    - as FILE is standard input.

    \b
    Examples:
      muxpy connect localhost:4242 -L 8080:localhost:80 --trace t.jsonl
      muxpy trace t.jsonl
      muxpy trace t.jsonl --session 1 --stream 3 --stream 5
    """
    from ..trace import NoTrace, Page, show_trace

    console = Console()
    try:
        with _opened(file) as (source, name):
            page = Page(console, flushed=not source.seekable())
            read_line = _reader(source, name)
            missing = show_trace(read_line, name, page, streams=streams, session=session, everything=everything)
    except NoTrace as error:
        raise Failure(str(error), 2) from None
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has seen enough
        discard_output()
        return 0
    if missing is None:
        return 0
    fail(f"{name}: {missing} in it" if missing else f"{name}: it is empty, no session has been traced")
    return 1 if missing else 0


@contextmanager
def _opened(file: Path) -> Iterator[tuple[BinaryIO, str]]:
    """Its bytes, and its name for people."""
    if str(file) == "-":
        yield sys.stdin.buffer, "standard input"
        return
    try:
        source = file.open("rb")
    except OSError as error:
        raise Failure(f"cannot read {file}: {describe(error)}", 2) from None
    with source:
        yield source, str(file)


def _reader(source: BinaryIO, name: str) -> Callable[[int], bytes]:
    def read_line(size: int) -> bytes:
        try:
            return source.readline(size)
        except OSError as error:
            reason = "it is closed" if error.errno == errno.EBADF else describe(error)
            raise Failure(f"cannot read {name}: {reason}") from None

    return read_line
