"""Traces: frames as they pass, for the trace hook, its file, and the log."""

from ._event import TraceEvent
from ._file import TraceFile
from ._muxado import MuxadoFrames
from ._tap import Tap, tap_for

__all__ = ["MuxadoFrames", "Tap", "TraceEvent", "TraceFile", "tap_for"]
