"""The events of a trace: a frame that passed, or the beginning or end of a session."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from muxpy._codes import printable
from muxpy._help import document_fields

__all__ = ["TraceEvent"]


@document_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class TraceEvent:
    """A frame that passed, or the beginning or end of a session. Fields that do not apply are None."""

    time: float
    """Seconds since 1970. The session's first event has the system's time; later ones are measured from there by a
    monotonic clock."""
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
    """begin: the version of TLS, if muxpy itself speaks TLS on this transport."""
    direction: str | None = None
    """frame: `sent` (given to the transport) or `received`."""
    type: str | None = None
    """frame: `SYN`, `RST`, `DATA`, `WND_INC` or `GOAWAY`; in HTTP/2, RFC 9113's names."""
    stream: int | None = None
    """frame: the stream's id, 0 for GOAWAY and others that concern the session."""
    flags: tuple[str, ...] | None = None
    """frame: `FIN`, if it is set; in HTTP/2, `END_STREAM` and `ACK`."""
    length: int | None = None
    """DATA: bytes of payload."""
    priority: int | None = None
    """SYN: the stream's priority."""
    stream_type: int | None = None
    """SYN: the stream's type."""
    increment: int | None = None
    """WND_INC, WINDOW_UPDATE: bytes of window."""
    last_id: int | None = None
    """GOAWAY: the last stream that its sender has handled."""
    code: str | None = None
    """RST, RST_STREAM, GOAWAY, end: the error code by name, or `error 99`."""
    headers: tuple[str, ...] | None = None
    """HEADERS, PUSH_PROMISE, CONTINUATION: the names of the fields, if the header block ends there. Values are never
    shown."""
    promised: int | None = None
    """PUSH_PROMISE: the stream that is promised."""
    settings: tuple[str, ...] | None = None
    """SETTINGS: such as `INITIAL_WINDOW_SIZE=65536`."""
    text: str | None = None
    """GOAWAY: its debug text. end: why the session ended."""

    def as_dict(self) -> dict[str, Any]:
        """The fields that are not None."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in values if value is not None}

    def __str__(self) -> str:
        rest = self.as_dict()
        for name in ("time", "session", "event", "direction", "type", "stream"):
            rest.pop(name, None)
        details = " ".join(f"{name}={_in_words(value)}" for name, value in rest.items())
        what = f"{self.direction} {self.type} stream {self.stream}" if self.event == "frame" else self.event
        return printable(f"{what} {details}".rstrip())


def _in_words(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)
