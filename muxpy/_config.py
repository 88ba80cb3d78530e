"""What a session may use and how long it waits. Imports nothing of muxpy but `_help`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING

from ._help import document_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from .trace._event import TraceEvent

__all__ = ["INITIAL_WINDOW", "SessionConfig", "check_number"]

INITIAL_WINDOW = 65536
"""Bytes that each direction of a stream may carry before the first WND_INC. The protocol fixes it."""

_KIB = 1024
_MIB = 1024 * _KIB


@document_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """Limits and times of a session. Sizes are bytes, times are seconds; the defaults suit most programs.

    Received data is bounded by `65536 * streams + receive_budget`, where streams are those open now: at most
    `max_streams` of the peer's, plus the ones opened here. docs/security.md has the bound of all memory.
    """

    max_window: int = 32 * _MIB
    """The most that one stream's receive window grows to. 32 MiB keeps 1 Gbit/s busy over 250 ms of round trip."""
    receive_budget: int = 64 * _MIB
    """How far the windows of all streams together may grow past their first 64 KiB. Room for two streams
    at `max_window`; 0 holds every window at 64 KiB."""
    max_streams: int = 1024
    """Streams of the peer open at once; one more is refused (REFUSED_STREAM, safe for the peer to retry). Under
    `serve_streams` a stream counts until its handler has returned, so that resets do not free work that still runs.
    `Session.allow_streams` changes it while the session goes on."""
    accept_backlog: int = 1024
    """Streams that wait to be accepted; one more is refused. One read can carry a thousand SYNs before the
    application gets a turn, so a small backlog would refuse an ordinary burst, under `serve_streams` too."""
    max_control_frames: int = 10_000
    """Control frames waiting to be written because of what the peer did: answers, window updates, the end of its
    streams. A peer that makes us answer but does not read ends the session here instead of growing it, as in Go's
    HTTP/2 server. At least two for each of `max_streams` in any case, which may all end at once. `open_stream` waits
    while half as many wait in all."""
    max_control_bytes: int = 256 * _KIB
    """The same in bytes: what the frames above come to at most, with some room, since most have 8 to 16 bytes. At least
    24 for each of `max_streams`."""
    reset_burst: int = 10_000
    """Resets at once that do not count as an attack: those of the peer for streams that it opened itself, and, apart
    from them, those that it makes this side send by breaking rules. Enough for a client that gives up a full session
    ten times over. Refusing a stream counts for nothing: it starts no work, and a peer cannot know the limits."""
    reset_rate: float = 1000.0
    """Resets a second that are forgiven for good; what goes beyond uses up the burst, and then the session ends.
    Opening and resetting streams in turns costs the peer nothing and this side a handler each time (rapid reset,
    CVE-2023-44487); at this rate that is a few per cent of a processor."""
    wants_login: bool = False
    """Whether the peer must first show who it is, in a way of your own. Until `Session.admit` it may have one stream
    open, and one of an extension (a heartbeat), which is kept and answered only then; its windows do not grow; it may
    send 64 frames and 16 KiB in all, TLS and its handshake included: more ends the session. A stranger costs little."""
    first_frame_timeout: float | None = 10.0
    """Seconds that a server waits for a client's first whole frame; then the session ends. A client with a heartbeat
    sends one at once, so only what is not muxado, or hangs, or means to keep a connection for nothing, takes longer.
    None: no limit, for clients without a heartbeat that connect long before they have something to say."""
    handshake_timeout: float | None = 10.0
    """Seconds that a TLS handshake may take at `serve_tcp_sessions` and `open_tcp_session`. None: no limit."""
    heartbeat_interval: float | None = 3.0
    """Seconds between heartbeats, as the Go peer does. None sends none, but still answers the peer's."""
    heartbeat_tolerance: float = 10.0
    """A session with no byte received for interval + tolerance seconds is dead. After this process itself was
    suspended, the peer has the whole time again."""
    tcp_user_timeout: float | None = 30.0
    """Seconds that sent data may wait for the peer's TCP to take it before the system ends the connection
    (TCP_USER_TIMEOUT, on TCP sockets, where the system has it). Finds a peer that is gone also without a heartbeat,
    where the system alone takes a quarter of an hour, and one that answers but never reads. More than the heartbeat
    allows, which knows better why. None: as the system has it."""
    idle_timeout: float | None = None
    """End the session with GOAWAY after so many seconds without an open stream. None: never."""
    drain_timeout: float = 5.0
    """How long `aclose` lets open streams finish before it ends them, and the peer read what is on its way."""
    linger_timeout: float = 1.0
    """How long, after an error, the last words (GOAWAY and its reason) may take to be written and read before the
    transport is closed. Closing at once could make TCP throw them away; Go's HTTP/2 server waits the same second.
    `aclose` uses what is left of `drain_timeout` for this, if that is more and the transport can end one direction
    alone."""
    trace: Callable[[TraceEvent], object] | None = None
    """Called with each frame as it passes, and when the session begins and ends: see `TraceFile`."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name not in ("trace", "wants_login"):
                check_number(field.name, getattr(self, field.name), str(field.type))
        if not isinstance(self.wants_login, bool):
            raise TypeError(f"wants_login must be True or False, it is {self.wants_login!r}")
        if self.trace is not None and not callable(self.trace):
            raise TypeError(f"trace must be callable, as TraceFile(path) is; it is {self.trace!r}")
        for name in ("first_frame_timeout", "handshake_timeout", "idle_timeout", "heartbeat_interval"):
            if getattr(self, name) == 0:
                raise ValueError(f"{name} must be more than 0; None switches it off")
        if self.max_window < INITIAL_WINDOW or self.max_window > 2**31 - 1:
            raise ValueError(f"max_window must lie between {INITIAL_WINDOW} and 2^31-1, it is {self.max_window!r}")
        for name, least in (("max_control_frames", 16), ("max_control_bytes", 1024)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, or ordinary traffic would end the session")
        if self.tcp_user_timeout is not None and self.tcp_user_timeout < 0.001:
            raise ValueError("tcp_user_timeout must be at least 0.001; None leaves it to the system")


def check_number(name: str, value: object, kind: str) -> None:
    """Raises for what a field of this type (its annotation) cannot be."""
    optional = kind.endswith("None")
    if optional and value is None:
        return
    whole = kind == "int"
    if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
        what = ("an integer" if whole else "a number") + (" or None" if optional else "")
        raise TypeError(f"{name} must be {what}, it is {value!r}")
    if not value >= 0:  # type: ignore[operator] # and no NaN
        raise ValueError(f"{name} must not be negative, it is {value!r}")
