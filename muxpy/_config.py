"""What a session may use and how long it waits. Imports nothing of muxpy."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._trace import TraceEvent

__all__ = ["INITIAL_WINDOW", "SessionConfig"]

INITIAL_WINDOW = 65536
"""Bytes that each direction of a stream may carry before the first WND_INC. The protocol fixes it."""

_KIB = 1024
_MIB = 1024 * _KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """Limits and times of a session. Sizes are bytes, times are seconds; the defaults suit most programs.

    Memory for received data is bounded by `65536 * streams + receive_budget`, where streams are those open
    now: at most `max_streams` of the peer's, plus the ones opened here.
    """

    max_window: int = 32 * _MIB
    """The most that one stream's receive window grows to. 32 MiB keeps 1 Gbit/s busy over 250 ms of round trip."""
    receive_budget: int = 64 * _MIB
    """How far the windows of all streams together may grow past their first 64 KiB. Room for two streams
    at `max_window`; 0 holds every window at 64 KiB."""
    max_streams: int = 1024
    """Streams of the peer open at once; one more is refused (REFUSED_STREAM, safe for the peer to retry). Under
    `serve_streams` a stream counts until its handler has returned, so that resets do not free work that still runs."""
    accept_backlog: int = 1024
    """Streams that wait to be accepted; one more is refused. One read can carry a thousand SYNs before the
    application gets a turn, so a small backlog would refuse an ordinary burst, under `serve_streams` too."""
    max_control_frames: int = 10_000
    """Control frames waiting to be written because of what the peer did: answers, window updates, the end of its
    streams. A peer that makes us answer but does not read ends the session here instead of growing it, as in Go's
    HTTP/2 server. `open_stream` waits while half as many wait in all."""
    max_control_bytes: int = 256 * _KIB
    """The same in bytes: what the frames above come to at most, with some room, since most have 8 to 16 bytes."""
    reset_burst: int = 10_000
    """Resets at once that do not count as an attack: those of the peer for streams that it opened itself, and, apart
    from them, those that it makes this side send by breaking rules or opening more than it may. Enough for a client
    that gives up a full session ten times over."""
    reset_rate: float = 1000.0
    """Resets a second that are forgiven for good; what goes beyond uses up the burst, and then the session ends.
    Opening and resetting streams in turns costs the peer nothing and this side a handler each time (rapid reset,
    CVE-2023-44487); at this rate that is a few per cent of a processor."""
    first_frame_timeout: float | None = 10.0
    """Seconds that a server waits for a client's first whole frame; then the session ends. A client with a heartbeat
    sends one at once, so only what is not muxado, or hangs, or means to keep a connection for nothing, takes longer.
    None: no limit, for clients without a heartbeat that connect long before they have something to say."""
    handshake_timeout: float | None = 10.0
    """Seconds that a TLS handshake may take at `serve_tcp_sessions` and `open_tcp_session`. None: no limit."""
    heartbeat_interval: float | None = 3.0
    """Seconds between heartbeats, as the Go peer does. None sends none, but still answers the peer's."""
    heartbeat_tolerance: float = 10.0
    """A session with no byte received for interval + tolerance seconds is dead. Time that this process itself was
    suspended does not count."""
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
            value = getattr(self, field.name)
            if field.name != "trace" and value is not None and not value >= 0:
                raise ValueError(f"{field.name} must not be negative, it is {value!r}")
        if self.max_window < INITIAL_WINDOW or self.max_window > 2**31 - 1:
            raise ValueError(f"max_window must lie between {INITIAL_WINDOW} and 2^31-1, it is {self.max_window!r}")
        if self.max_control_frames < 16:
            raise ValueError("max_control_frames must be at least 16, or ordinary traffic would end the session")
        if self.max_control_bytes < 1024:
            raise ValueError("max_control_bytes must be at least 1024, or ordinary traffic would end the session")
        if self.heartbeat_interval == 0:
            raise ValueError("heartbeat_interval must be more than 0; None sends no heartbeats")
