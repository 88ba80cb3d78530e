"""muxpy: many independent, full-duplex streams over one socket, for Trio, in the protocol of Go's muxado."""

from ._adapters import SessionListener
from ._codes import ErrorCode, ProtocolError
from ._config import SessionConfig
from ._errors import SessionClosed, SessionEnd, SessionGoingAway, StreamReset
from ._group import SessionGroup
from ._pacer import Pacer
from ._serve import open_session, open_tcp_session, serve_tcp_sessions
from ._session import Session
from ._statistics import SessionStatistics, StreamStatistics
from ._stream import Stream
from ._trace import TraceEvent, TraceFile
from .ext import MIN_EXTENSION_TYPE, Accept, Extension, Heartbeat, HeartbeatLost

__version__ = "0.1.0"

__all__ = [
    "MIN_EXTENSION_TYPE",
    "Accept",
    "ErrorCode",
    "Extension",
    "Heartbeat",
    "HeartbeatLost",
    "Pacer",
    "ProtocolError",
    "Session",
    "SessionClosed",
    "SessionConfig",
    "SessionEnd",
    "SessionGoingAway",
    "SessionGroup",
    "SessionListener",
    "SessionStatistics",
    "Stream",
    "StreamReset",
    "StreamStatistics",
    "TraceEvent",
    "TraceFile",
    "open_session",
    "open_tcp_session",
    "serve_tcp_sessions",
]
