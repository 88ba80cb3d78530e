"""The limits and times of a session of HTTP/2. Each has its reason beside it."""

from __future__ import annotations

from dataclasses import dataclass

from ._config import SessionConfig
from ._help import document_fields

__all__ = ["Config"]


@document_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class Config(SessionConfig):
    """What `SessionConfig` says, for HTTP/2: some other defaults, and the limits that only this protocol has."""

    max_streams: int = 250
    """Streams that the peer may have open at the same time, as Go's server lets it; announced as
    SETTINGS_MAX_CONCURRENT_STREAMS. One more is refused (REFUSED_STREAM, safe to retry)."""
    first_frame_timeout: float | None = 10.0
    """Seconds that a server waits for a client's preface and SETTINGS, which no client delays. One that takes longer
    does not speak HTTP/2, or holds a connection for nothing. None: no limit."""
    wants_login: bool = False
    """Whether a client may send no more than 16 KiB, TLS and its handshake included, until a handler calls
    `exchange.session.admit()`: if it sends more, the connection ends. So a stranger costs little."""
    heartbeat_interval: float | None = None
    """Seconds between PINGs (keepalive). None: none are sent; peers that leave in silence are found by
    `tcp_user_timeout` as soon as something is sent."""
    max_header_bytes: int = 65_536
    """Bytes of the fields of one head or of trailers, each counted with 32 more (RFC 9113, 6.5.2); announced. A request
    with more is answered by 431, a response or trailers by a reset. So a block of one-byte references to a large entry
    of the table cannot fill the memory (HPACK bomb). The same limit holds for a block's encoded bytes."""
    max_header_fields: int = 256
    """Fields in one head or in trailers; each crumb of a cookie counts. More are treated as too many bytes are: a field
    costs an object, however small it is."""
    max_continuations: int = 8
    """CONTINUATION frames in one header block. More end the session (ENHANCE_YOUR_CALM, CVE-2023-45288): frames of
    16 KiB hold twice as much as `max_header_bytes` allows."""
    settings_timeout: float | None = 2.0
    """Seconds from the begin of a connection to the peer's first SETTINGS at a client, which no server delays. At a
    server `first_frame_timeout` says how long preface and SETTINGS may take. None: no limit."""
    header_timeout: float | None = 10.0
    """Seconds that a header block may take from its first frame to its last. Until then, nothing else may come on the
    connection (slow loris). None: no limit."""
    send_timeout: float | None = 30.0
    """Seconds that data may wait for the peer's window without any progress. Then the stream is reset (CANCEL): a
    client that holds its windows at 0 makes each stream keep what it has to send. None: no limit."""
    max_requests: int | None = None
    """Requests that a server takes on one connection before it asks the client for another (GOAWAY in two steps, so
    that none is lost): behind a balancer, clients that stay for days would never find new servers. None: no limit."""
    send_date: bool = True
    """Whether responses get a `date` field, if they have none."""
    extended_connect: bool = False
    """Whether a server takes extended CONNECT (RFC 8441: WebSockets and others), and says so in its settings."""

    def __post_init__(self) -> None:
        SessionConfig.__post_init__(self)  # `super()` does not find a class that was made again for its slots
        for name in ("settings_timeout", "header_timeout", "send_timeout", "max_requests"):
            if getattr(self, name) == 0:
                raise ValueError(f"{name} must be more than 0; None switches it off")
