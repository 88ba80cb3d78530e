"""Sessions and their streams for Trio: tasks, waiting and errors. It knows no protocol: see `muxpy.proto.Core`."""

from ._background import Background
from ._beside import tasks_beside
from ._engine import Engine
from ._group import SessionGroup, turns_of
from ._listener import SessionListener
from ._pacer import Pacer
from ._pacing import SMALL
from ._session import Accept, Extension, Session, serve_alone
from ._statistics import SessionStatistics, StreamStatistics
from ._stream import SessionOfStream, Stream
from ._suspension import sleep_fairly
from ._watching import watched

__all__ = [
    "SMALL",
    "Accept",
    "Background",
    "Engine",
    "Extension",
    "Pacer",
    "Session",
    "SessionGroup",
    "SessionListener",
    "SessionOfStream",
    "SessionStatistics",
    "Stream",
    "StreamStatistics",
    "serve_alone",
    "sleep_fairly",
    "tasks_beside",
    "turns_of",
    "watched",
]
