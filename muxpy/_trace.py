"""Seeing frames as they pass: the trace hook, its file of JSON lines, and frames in the log.

The reader and the writer show a `Tap` the bytes that they move. It cuts them into frames with decoders of its own, so
neither the rules nor the fast ways know of it, and without one nothing is done at all. Payloads are never shown.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import count
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Self

from ._codes import ProtocolError, code_name, printable
from ._help import document_fields
from .frame import (
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

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from ._errors import SessionEnd
    from ._session import Session
    from .frame import Buffer
    from .proto import Batch

__all__ = ["Tap", "TraceEvent", "TraceFile", "tap_for"]

log = logging.getLogger("muxpy.trace")
frame_log = logging.getLogger("muxpy.frames")

_numbers: Final = count(1)

START: Final = b'{"time":'
"""How each line begins."""


@document_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class TraceEvent:
    """A frame that passed, or the begin or end of a session. What does not apply is None."""

    time: float
    """Seconds since 1970 when the session began, and from there on by a clock that does not jump."""
    session: int
    """The session's number in this process."""
    event: str
    """`begin`, `frame` or `end`."""
    role: str | None = None
    """begin: `client` or `server`."""
    local: str | None = None
    """begin: this end's address, if the transport has one."""
    remote: str | None = None
    """begin: the peer's address."""
    tls: str | None = None
    """begin: the version of TLS, if muxpy speaks it."""
    direction: str | None = None
    """frame: `sent` (given to the transport) or `received`."""
    type: str | None = None
    """frame: `SYN`, `RST`, `DATA`, `WND_INC` or `GOAWAY`."""
    stream: int | None = None
    """frame: the stream's id, 0 for GOAWAY."""
    flags: tuple[str, ...] | None = None
    """frame: `FIN`, if it is set."""
    length: int | None = None
    """DATA: bytes of payload."""
    priority: int | None = None
    """SYN: the stream's priority."""
    stream_type: int | None = None
    """SYN: the stream's type."""
    increment: int | None = None
    """WND_INC: bytes of window."""
    last_id: int | None = None
    """GOAWAY: the last stream that its sender has handled."""
    code: str | None = None
    """RST, GOAWAY, end: the error code by name, or `error 99`."""
    text: str | None = None
    """GOAWAY: its debug text. end: why the session ended."""

    def as_dict(self) -> dict[str, Any]:
        """The fields that are set."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in values if value is not None}

    def __str__(self) -> str:
        rest = self.as_dict()
        for name in ("time", "session", "event", "direction", "type", "stream"):
            rest.pop(name, None)
        details = " ".join(f"{name}={value}" for name, value in rest.items())
        what = f"{self.direction} {self.type} stream {self.stream}" if self.event == "frame" else self.event
        return printable(f"{what} {details}".rstrip())


class TraceFile:
    """A trace hook that writes JSON lines, an object for each event, to a file: `SessionConfig(trace=TraceFile(path))`.

    `muxpy trace PATH` shows such a file as a ladder. One TraceFile may serve many sessions; a trace that is there
    already is added to. Only its owner may read the file: it has no payloads, but it shows who talked when, and how
    much. Each event is written at once, so that nothing is lost with a process that is killed.

    Raises FileExistsError if there is something else, and OSError if the file cannot be opened. A file that cannot be
    written later (a full disk) ends the trace with a warning in the log, and no session.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = Path(path)
        self._lock = Lock()  # sessions of several threads may share it
        # Unbuffered; a file object all the same, which closes itself if nobody does.
        self._file = os.fdopen(_opened(self._path), "ab", buffering=0)

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._path

    def __call__(self, event: TraceEvent) -> None:
        """Write one event."""
        line = json.dumps(event.as_dict(), separators=(",", ":")).encode() + b"\n"
        with self._lock:
            if self._file.closed:
                return
            try:
                self._file.write(line)
            except OSError as error:
                log.warning("%s: the trace ends here: %s", self._path, error)
                self._file.close()

    def close(self) -> None:
        """Close the file; events after that are dropped."""
        with self._lock:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _opened(path: Path) -> int:
    if path.is_fifo():
        raise FileExistsError(errno.EEXIST, "a pipe would hold up the session", str(path))
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        if os.pread(descriptor, len(START), 0) not in (b"", START):
            os.close(descriptor)
            raise FileExistsError(errno.EEXIST, "it is there already, and is no trace", str(path))
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.write(descriptor, b"\n")  # what was last had no room: it must not spoil what comes
        with suppress(OSError):  # it is somebody else's, who lets us write it
            os.fchmod(descriptor, 0o600)  # one that was there may have been for everybody
    return descriptor


class Tap:
    """Shows one session's frames to whoever wants to see them."""

    def __init__(self, session: Session, show: Callable[[TraceEvent], object], clock: Callable[[], float]) -> None:
        self._session = session
        self._show: Callable[[TraceEvent], object] | None = show
        self._clock = clock
        self._started = time.time() - clock()
        self._number = next(_numbers)
        self._decoders = {"received": Decoder(), "sent": Decoder()}
        self._length = dict.fromkeys(self._decoders, 0)  # of the DATA frame that is under way

    def begin(self) -> None:
        """The session begins."""
        session = self._session
        self._event(
            event="begin",
            role="client" if session.client else "server",
            local=_address(session.local_address),
            remote=_address(session.remote_address),
            tls=session.tls.version() if session.tls is not None else None,
        )

    def received(self, data: Buffer) -> None:
        """Bytes came in."""
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
            self._show = None  # a hook that fails must not harm the session, nor fill the log
            log.exception("%r: the trace hook failed and is not called any more", self._session)


def tap_for(session: Session, clock: Callable[[], float]) -> Tap | None:
    """A tap, if the configuration has a hook, or if the log takes frames as the session begins."""
    hook = session.config.trace
    logs = frame_log.isEnabledFor(logging.DEBUG)
    if hook is None and not logs:
        return None

    def show(event: TraceEvent) -> None:
        if logs:
            frame_log.debug("session %d: %s", event.session, event)
        if hook is not None:
            hook(event)

    return Tap(session, show, clock)


def _address(address: object) -> str | None:
    if isinstance(address, tuple) and len(address) >= 2:
        return f"[{address[0]}]:{address[1]}" if ":" in str(address[0]) else f"{address[0]}:{address[1]}"
    return str(address) if address else None
