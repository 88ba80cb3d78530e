"""muxpy: many independent, full-duplex streams over one socket, for Trio, in the protocol of Go's muxado."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._codes import ErrorCode, ProtocolError
    from ._config import SessionConfig
    from ._errors import SessionClosed, SessionEnd, SessionGoingAway, StreamReset
    from ._open import open_session, open_tcp_session, serve_tcp_sessions
    from .ext import MIN_EXTENSION_TYPE, Accept, Extension, Heartbeat, HeartbeatLost
    from .session import (
        Pacer,
        Session,
        SessionGroup,
        SessionListener,
        SessionOfStream,
        SessionStatistics,
        Stream,
        StreamStatistics,
    )
    from .trace import TraceEvent, TraceFile

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
    "SessionOfStream",
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


# Each name is loaded when it is first used: `import muxpy.proto` runs this file too, and must not load Trio.
_HOMES = {
    "muxpy._codes": ("ErrorCode", "ProtocolError"),
    "muxpy._config": ("SessionConfig",),
    "muxpy._errors": ("SessionClosed", "SessionEnd", "SessionGoingAway", "StreamReset"),
    "muxpy._open": ("open_session", "open_tcp_session", "serve_tcp_sessions"),
    "muxpy.ext": ("MIN_EXTENSION_TYPE", "Accept", "Extension", "Heartbeat", "HeartbeatLost"),
    "muxpy.session": (
        "Pacer",
        "Session",
        "SessionGroup",
        "SessionListener",
        "SessionOfStream",
        "SessionStatistics",
        "Stream",
        "StreamStatistics",
    ),
    "muxpy.trace": ("TraceEvent", "TraceFile"),
}
_PACKAGES = ("ext", "frame", "http", "proto", "rpc")
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _PACKAGES:
        return import_module(f"{__name__}.{name}")
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_PACKAGES, *(name for name in globals() if name.startswith("__"))})
