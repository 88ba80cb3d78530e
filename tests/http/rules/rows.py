"""The rows of the table in docs/http2.md, and the case of each: what does what the row says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from muxpy import http

    from .scene import Scene

    Run = Callable[[Scene], Awaitable[int | None]]

__all__ = ["CASES", "NOTHING", "ROWS", "Case", "Row", "case", "on_connection", "on_stream"]

PAGE: Final = (Path(__file__).parents[3] / "docs" / "http2.md").read_text().partition("\n## Rules\n")[2]
NOTHING: Final = "\N{EN DASH}"
"""In a row: the role has no such case."""


class Row(NamedTuple):
    """A row of the page: its id, what is received, and what a server and a client answer."""

    id: str
    received: str
    server: str
    client: str


ROWS: Final = [
    Row(*(cell.strip(" `") if not at else cell.strip() for at, cell in enumerate(line.split(" | "))))
    for line in re.findall(r"^\| (`[\w-]+` \| .*) \|$", PAGE, re.MULTILINE)
]


class Case(NamedTuple):
    """How a row is brought about. `run` returns the stream that it concerns, if it concerns one. `bare`: nothing was
    said on the connection before."""

    run: Run
    bare: bool = False
    config: http.Config | None = None


CASES: Final[dict[str, Case]] = {}


def case(name: str, *, bare: bool = False, config: http.Config | None = None) -> Callable[[Run], Run]:
    """Decorator: this is the case of that row."""

    def add(run: Run) -> Run:
        assert name not in CASES
        CASES[name] = Case(run, bare, config)
        return run

    return add


def on_connection(name: str, *frames: bytes, bare: bool = False) -> None:
    """The case of a row in which the peer sends these, whatever streams there are."""

    async def run(scene: Scene) -> None:
        await scene.peer.send(*frames)

    case(name, bare=bare)(run)


def on_stream(name: str, state: Callable[[Scene], Awaitable[int]], *make: Callable[[int], bytes]) -> None:
    """The case of a row in which the peer sends these for a stream in that state."""

    async def run(scene: Scene) -> int:
        stream_id = await state(scene)
        await scene.peer.send(*(each(stream_id) for each in make))
        return stream_id

    case(name)(run)
