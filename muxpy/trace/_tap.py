"""Seeing frames as they pass.

The reader and the writer show a `Tap` the bytes that they move. The tap cuts them into frames with decoders of its own
(`_muxado`, `_http2`). So no line of the rules or of the fast paths knows of traces, and a session without a tap pays
nothing. With one, each byte is decoded twice. Payloads are never shown.
"""

from __future__ import annotations

import logging
import time
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from muxpy._codes import ProtocolError, code_name

from ._event import TraceEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from muxpy._errors import SessionEnd
    from muxpy.frame import Buffer
    from muxpy.proto import Batch

    Cutter = Callable[[Buffer], Iterator[dict[str, Any]]]
    """Cuts the bytes of one direction into frames, each as fields of a TraceEvent."""

__all__ = ["Tap", "tap_for"]

log = logging.getLogger("muxpy.trace")
frame_log = logging.getLogger("muxpy.frames")

_numbers: Final = count(1)


class Tap:
    """Shows the frames of one session to `show`, as events."""

    def __init__(
        self, name: str, show: Callable[[TraceEvent], object], clock: Callable[[], float], cutter: Callable[[], Cutter]
    ) -> None:
        self._name = name
        self._show: Callable[[TraceEvent], object] | None = show
        self._clock = clock
        self._started = time.time() - clock()
        self._number = next(_numbers)
        self._cutters = {"received": cutter(), "sent": cutter()}

    def begin(self, local: object, remote: object, *, client: bool, tls: str | None) -> None:
        """The session begins, between these socket addresses, with this version of TLS."""
        self._event(
            event="begin",
            role="client" if client else "server",
            local=_address(local),
            remote=_address(remote),
            tls=tls,
        )

    def received(self, data: Buffer) -> None:
        """Bytes were received."""
        self._frames("received", data)

    def sent(self, batch: Batch) -> None:
        """A batch is about to be written."""
        for chunk in batch.chunks:
            self._frames("sent", chunk)

    def end(self, end: SessionEnd) -> None:
        """The session has ended."""
        self._event(event="end", code=code_name(end.code), text=str(end))

    def _frames(self, direction: str, data: Buffer) -> None:
        if self._show is None:
            return
        try:
            for frame in self._cutters[direction](data):
                self._event(event="frame", direction=direction, **frame)
        except ProtocolError:
            pass  # the session says so itself, in its end

    def _event(self, **what: Any) -> None:  # noqa: ANN401 - the fields of TraceEvent
        if self._show is None:
            return
        try:
            self._show(TraceEvent(time=self._started + self._clock(), session=self._number, **what))
        except Exception:
            self._show = None  # a hook that fails must neither harm the session nor fill the log
            log.exception("%s: the trace hook failed and is not called any more", self._name)


def tap_for(
    name: str,
    hook: Callable[[TraceEvent], object] | None,
    clock: Callable[[], float],
    cutter: Callable[[], Cutter],
) -> Tap | None:
    """A tap, if there is a trace hook, or if frames are logged (`muxpy.frames` at DEBUG) when the session begins.
    `cutter` makes what cuts the bytes of one direction."""
    logs = frame_log.isEnabledFor(logging.DEBUG)
    if hook is None and not logs:
        return None

    def show(event: TraceEvent) -> None:
        if logs:
            frame_log.debug("session %d: %s", event.session, event)
        if hook is not None:
            hook(event)

    return Tap(name, show, clock, cutter)


def _address(address: object) -> str | None:
    if isinstance(address, tuple) and len(address) >= 2:
        return f"[{address[0]}]:{address[1]}" if ":" in str(address[0]) else f"{address[0]}:{address[1]}"
    return str(address) if address else None
