"""Trace files, read and drawn, for `muxpy trace`. `_read` knows nothing about how they look."""

from ._draw import Page
from ._show import NoTrace, show_trace

__all__ = ["NoTrace", "Page", "show_trace"]
