"""Trace files, read and drawn: what `muxpy trace` shows. `_read` knows nothing of how it looks."""

from ._page import Page
from ._show import NoTrace, show_trace

__all__ = ["NoTrace", "Page", "show_trace"]
