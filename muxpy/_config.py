"""What a session may use and how long it waits. Imports only `_help` of muxpy."""

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
"""Bytes that each direction of a stream may carry before the first WND_INC. The protocol fixes the number
(docs/protocol.md, "Flow control")."""

_KIB = 1024
_MIB = 1024 * _KIB


@document_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """Limits and timeouts of a session. Sizes are bytes, times are seconds; the defaults suit most programs.

    Flow control bounds the data that is received and not read: `65536 * streams + receive_budget` bytes, where
    `streams` are those open now: at most `max_streams` opened by the peer, plus those opened by this side.
    docs/security.md has the bound of all memory.
    """

    max_window: int = 32 * _MIB
    """The largest size that the receive window of one stream grows to. 32 MiB holds the bandwidth-delay product of
    1 Gbit/s and a round trip of 250 ms."""
    receive_budget: int = 64 * _MIB
    """How far the receive windows of all streams together may grow past their first 64 KiB. The default has room for
    two streams at `max_window`; 0 keeps every window at 64 KiB."""
    max_streams: int = 1024
    """Streams that the peer may have open at the same time; one more is refused (REFUSED_STREAM, safe for the peer to
    retry). Under `serve_streams` a stream counts until its handler has returned: a reset makes no room while the work
    for the stream still runs. `Session.allow_streams` changes the limit while the session goes on."""
    accept_backlog: int = 1024
    """Streams of the peer that may wait to be accepted; one more is refused. One read can carry a thousand SYNs before
    the application gets a turn, so a small backlog would refuse an ordinary burst, under `serve_streams` too."""
    max_control_frames: int = 10_000
    """Control frames that may wait to be written because of what the peer did: answers, window updates, and frames that
    end the streams it opened. If a peer makes this side answer, and does not read the answers, the session ends here,
    before the answers fill the memory, as in Go's HTTP/2 server. A limit below two for each of `max_streams` is raised
    to that, since all of these may end together. `open_stream` waits (backpressure) while more than half as many
    control frames of all kinds wait."""
    max_control_bytes: int = 256 * _KIB
    """The limit of `max_control_frames` in bytes: room for that many frames, most of which have 8 to 16 bytes. It is
    raised to 24 for each of `max_streams` if it is lower."""
    reset_burst: int = 10_000
    """Resets that may come in one burst before they count as an attack: the size of a token bucket that `reset_rate`
    fills. One bucket is for the peer's resets of streams that it opened itself, and a second one for the resets that it
    makes this side send by breaking rules. The default lets a client give up a full session ten times over. Refusing a
    stream costs no token: it starts no work, and a peer cannot know the limits."""
    reset_rate: float = 1000.0
    """The sustained rate of the token buckets of `reset_burst`, in resets a second. A peer that resets faster uses up
    the burst, and then the session ends. Opening and resetting streams in turns costs the peer nothing, and this side
    the start of a handler each time (rapid reset, CVE-2023-44487); at this rate that is a few per cent of a processor.
    """
    wants_login: bool = False
    """Whether the peer must authenticate itself first, in a way that the application chooses. Until the application
    calls `Session.admit`, the peer may have one stream open, and one of an extension (a heartbeat), which is kept and
    answered only then; receive windows do not grow; and the peer may send 64 frames and 16 KiB in all, TLS and its
    handshake included: if it sends more, the session ends. So a stranger costs little."""
    first_frame_timeout: float | None = 10.0
    """Seconds that a server waits for a client's first whole frame; then the session ends. A client with a heartbeat
    sends a frame immediately. One that takes longer does not speak muxado, or hangs, or holds a connection for nothing.
    None: no limit, for clients without a heartbeat that connect long before they have something to say."""
    handshake_timeout: float | None = 10.0
    """Seconds that a TLS handshake may take at `serve_tcp_sessions` and `open_tcp_session`. None: no limit."""
    heartbeat_interval: float | None = 3.0
    """Seconds between heartbeats (keepalives); the default is the Go peer's. None: this side sends none, and still
    answers the peer's."""
    heartbeat_tolerance: float = 10.0
    """The peer counts as dead, and the session ends, when no byte was received for `heartbeat_interval` +
    `heartbeat_tolerance` seconds: this finds a half-open connection. After this process itself was suspended, the peer
    has the whole time again."""
    tcp_user_timeout: float | None = 30.0
    """Seconds that sent data may wait for the peer's TCP to take it before the system ends the connection
    (TCP_USER_TIMEOUT, RFC 5482, on TCP sockets, where the system has it). This finds a peer that never reads, and a
    peer that is gone if there is no heartbeat; the system's own limit is a quarter of an hour. It should be longer than
    the heartbeat's limit, whose error says more. None keeps the system's default."""
    idle_timeout: float | None = None
    """End the session with GOAWAY after this many seconds without an open stream. None: never."""
    drain_timeout: float = 5.0
    """Seconds that `aclose`, the graceful shutdown, gives open streams to finish before it ends them, and the peer to
    read what is on its way."""
    linger_timeout: float = 1.0
    """Seconds, after an error, that the last words (GOAWAY and its reason) may take to be written and read before the
    transport is closed. Closing immediately could make TCP throw them away; Go's HTTP/2 server waits the same second.
    `aclose` uses what is left of `drain_timeout` instead, if that is longer and the transport can end one direction
    alone."""
    trace: Callable[[TraceEvent], object] | None = None
    """A function that is called with a TraceEvent for each frame that passes, and when the session begins and ends:
    see `TraceFile`."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "bool":
                if not isinstance(value, bool):
                    raise TypeError(f"{field.name} must be True or False, not {value!r}")
            elif field.name != "trace":
                check_number(field.name, value, str(field.type))
        if self.trace is not None and not callable(self.trace):
            raise TypeError(f"trace must be callable, as TraceFile(path) is; it is {self.trace!r}")
        for name in ("first_frame_timeout", "handshake_timeout", "idle_timeout", "heartbeat_interval"):
            if getattr(self, name) == 0:
                raise ValueError(f"{name} must be more than 0; None switches it off")
        if self.max_window < INITIAL_WINDOW or self.max_window > 2**31 - 1:
            raise ValueError(f"max_window must lie between {INITIAL_WINDOW} and 2^31-1, not {self.max_window!r}")
        for name, least in (("max_control_frames", 16), ("max_control_bytes", 1024)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, or ordinary traffic would end the session")
        if self.tcp_user_timeout is not None and self.tcp_user_timeout < 0.001:
            raise ValueError("tcp_user_timeout must be at least 0.001; None leaves it to the system")


def check_number(name: str, value: object, kind: str) -> None:
    """Raise TypeError or ValueError for a value that a field of this type (its annotation) cannot have."""
    optional = kind.endswith("None")
    if optional and value is None:
        return
    whole = kind == "int"
    if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
        what = ("an integer" if whole else "a number") + (" or None" if optional else "")
        raise TypeError(f"{name} must be {what}, not {value!r}")
    if not value >= 0:  # type: ignore[operator] # and no NaN
        raise ValueError(f"{name} must not be negative; it is {value!r}")
