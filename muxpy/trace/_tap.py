"""Seeing frames as they pass.

The reader and the writer show a `Tap` the bytes that they move. The tap cuts them into frames with decoders of its own.
So no line of the rules or of the fast paths knows of traces, and a session without a tap pays nothing. With one, each
byte is decoded twice. Payloads are never shown.
"""

from __future__ import annotations

import logging
import time
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from muxpy._codes import ProtocolError, code_name
from muxpy.frame.muxado import (
    FIN,
    GOAWAY,
    RST,
    SYN,
    TYPE_NAMES,
    WND_INC,
    Decoder,
    parse_code,
    parse_goaway,
    parse_increment,
    parse_syn,
)

from ._event import TraceEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from muxpy._errors import SessionEnd
    from muxpy.frame import Buffer
    from muxpy.proto import Batch

__all__ = ["Tap", "tap_for"]

log = logging.getLogger("muxpy.trace")
frame_log = logging.getLogger("muxpy.frames")

_numbers: Final = count(1)


class Tap:
    """Shows the frames of one session to `show`, as events."""

    def __init__(self, name: str, show: Callable[[TraceEvent], object], clock: Callable[[], float]) -> None:
        self._name = name
        self._show: Callable[[TraceEvent], object] | None = show
        self._clock = clock
        self._started = time.time() - clock()
        self._number = next(_numbers)
        self._decoders = {"received": Decoder(), "sent": Decoder()}
        self._length = dict.fromkeys(self._decoders, 0)  # payload bytes so far of the DATA frame that is under way

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
            for kind, flags, stream_id, body, rest in self._decoders[direction].feed(data):
                self._length[direction] += len(body)
                if not rest:
                    self._frame(direction, kind, flags, stream_id, body)
                    self._length[direction] = 0
        except ProtocolError:
            pass  # the session says so itself, in its end

    def _frame(self, direction: str, kind: int, flags: int, stream_id: int, body: memoryview) -> None:
        details: dict[str, Any] = {}
        if kind == SYN:
            details["priority"], details["stream_type"] = parse_syn(flags, body)
        elif kind == RST:
            details["code"] = code_name(parse_code(body))
        elif kind == WND_INC:
            details["increment"] = parse_increment(body)
        elif kind == GOAWAY:
            details["last_id"], code, debug = parse_goaway(body)
            details |= {"code": code_name(code), "text": debug.decode(errors="backslashreplace")}
        else:
            details["length"] = self._length[direction]
        self._event(
            event="frame",
            direction=direction,
            type=TYPE_NAMES[kind].removeprefix("STREAM_"),
            stream=stream_id,
            flags=("FIN",) if flags & FIN and kind not in (RST, WND_INC, GOAWAY) else None,
            **details,
        )

    def _event(self, **what: Any) -> None:  # noqa: ANN401 - the fields of TraceEvent
        if self._show is None:
            return
        try:
            self._show(TraceEvent(time=self._started + self._clock(), session=self._number, **what))
        except Exception:
            self._show = None  # a hook that fails must neither harm the session nor fill the log
            log.exception("%s: the trace hook failed and is not called any more", self._name)


def tap_for(name: str, hook: Callable[[TraceEvent], object] | None, clock: Callable[[], float]) -> Tap | None:
    """A tap, if there is a trace hook, or if frames are logged (`muxpy.frames` at DEBUG) when the session begins."""
    logs = frame_log.isEnabledFor(logging.DEBUG)
    if hook is None and not logs:
        return None

    def show(event: TraceEvent) -> None:
        if logs:
            frame_log.debug("session %d: %s", event.session, event)
        if hook is not None:
            hook(event)

    return Tap(name, show, clock)


def _address(address: object) -> str | None:
    if isinstance(address, tuple) and len(address) >= 2:
        return f"[{address[0]}]:{address[1]}" if ":" in str(address[0]) else f"{address[0]}:{address[1]}"
    return str(address) if address else None
