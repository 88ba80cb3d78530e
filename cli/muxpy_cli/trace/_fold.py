"""Frames that are shown as one line: those of a stream that only carry its data, and the window for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    import muxpy

__all__ = ["NOTABLE_GAP", "Folding", "Run"]

NOTABLE_GAP: Final = 0.1
"""Seconds without a frame that are shown, and that no line may hide: what a person would feel."""
MAX_RUNS: Final = 64
"""Lines that are being folded at once. More could not be told apart by whoever reads them."""


@dataclass(slots=True)
class Run:
    """A frame, or several of one kind of one stream in one direction, with what they come to."""

    first: muxpy.TraceEvent
    gap: float | None
    """Seconds since the frame before it, which may be one of another run."""
    count: int = 1
    total: int = 0
    """Bytes: of payload, or of window."""
    fin: bool = False

    @property
    def session(self) -> int:
        """The number of its session."""
        return self.first.session

    def add(self, frame: muxpy.TraceEvent) -> None:
        """Put one more frame to it."""
        self.count += 1
        self._count(frame)

    def _count(self, frame: muxpy.TraceEvent) -> None:
        self.total += frame.length or frame.increment or 0
        self.fin = self.fin or bool(frame.flags)

    @classmethod
    def of(cls, frame: muxpy.TraceEvent, gap: float | None) -> Run:
        """One that begins with this frame."""
        run = cls(frame, gap)
        run._count(frame)
        return run


class Folding:
    """Folds the frames of all sessions. Runs end, in the order in which they began, with any other frame, with a FIN,
    with a session's begin or end, and with a notable gap: between two lines there is nothing that they do not show."""

    def __init__(self, *, everything: bool) -> None:
        """`everything`: fold nothing."""
        self._everything = everything
        self._runs: dict[tuple[int, int | None, str | None, str | None], Run] = {}

    def add(self, frame: muxpy.TraceEvent, gap: float | None) -> Iterator[Run]:
        """The next frame, so many seconds after the one before it in its session; the runs that it ends."""
        if frame.type not in ("DATA", "WND_INC") or self._everything:
            yield from self.end()
            yield Run.of(frame, gap)
            return
        if (gap is not None and gap >= NOTABLE_GAP) or len(self._runs) >= MAX_RUNS:
            yield from self.end()
        key = frame.session, frame.stream, frame.direction, frame.type
        if (run := self._runs.get(key)) is not None:
            run.add(frame)
        else:
            self._runs[key] = Run.of(frame, gap)
        if frame.flags:
            yield from self.end()

    def end(self) -> Iterator[Run]:
        """All runs that have begun end here."""
        runs, self._runs = self._runs, {}
        yield from runs.values()
