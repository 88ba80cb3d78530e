"""Trace files, read and drawn: what `muxpy trace` shows. `_read` and `_fold` know nothing of how it looks."""

from ._page import Page
from ._show import NoTrace, show_trace

__all__ = ["NoTrace", "Page", "show_trace"]
