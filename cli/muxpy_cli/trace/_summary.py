"""The tables at the end of a ladder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..specs import printable
from ..view import Column, format_count, format_rtt, format_size, grid_lines

if TYPE_CHECKING:
    from rich.text import Text

    from ._account import Account, StreamAccount

__all__ = ["summary"]

_KINDS: Final = ("SYN", "DATA", "WND_INC", "RST", "GOAWAY")
_DIRECTIONS: Final = ("sent", "received")


def summary(account: Account, width: int) -> list[tuple[str, str]]:
    """Lines, each with its style: the streams, then the frames by kind."""
    lines = []
    if streams := account.largest():
        lines += [("", ""), *_plain(grid_lines(_stream_columns(streams, account.session_count > 1), width))]
        if (more := account.stream_count - len(streams)) > 0:
            rest = account.stream_bytes - sum(stream.bytes for stream in streams)
            noun = "stream" if more == 1 else "streams"
            lines.append((f"and {format_count(more)} more {noun}, {format_size(rest)}", "dim"))
    if account.frames:
        lines += [("", ""), *_plain(grid_lines(_frame_columns(account), width))]
    return lines


def _plain(lines: list[Text]) -> list[tuple[str, str]]:
    return [(line.plain, str(line.style)) for line in lines]


def _stream_columns(streams: list[StreamAccount], several: bool) -> list[Column]:
    columns = [Column(title="session", cells=[str(stream.session) for stream in streams], right=True)] * several
    return [
        *columns,
        Column(title="stream", cells=[str(stream.id) for stream in streams], right=True),
        Column(title="opened by", cells=["this side" if stream.opened_here else "peer" for stream in streams], rank=1),
        Column(title="sent", cells=[f"{stream.sent:,} B" for stream in streams], right=True),
        Column(title="received", cells=[f"{stream.received:,} B" for stream in streams], right=True),
        Column(title="lasted", cells=[format_rtt(stream.last - stream.begun) for stream in streams], right=True),
        Column(title="ended", cells=[printable(stream.ended) or "no" for stream in streams], least=16),
    ]


def _frame_columns(account: Account) -> list[Column]:
    kinds = [kind for kind in _KINDS if any(account.frames[kind, direction] for direction in _DIRECTIONS)]
    columns = [Column(title="frames", cells=[*kinds, "payload"])]
    for direction in _DIRECTIONS:
        counts = [format_count(account.frames[kind, direction]) for kind in kinds]
        columns.append(Column(title=direction, cells=[*counts, f"{account.payload[direction]:,} B"], right=True))
    return columns
