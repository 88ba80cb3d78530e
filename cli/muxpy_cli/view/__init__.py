"""What the program shows of its state: lines, the live display, tables, metrics, the control socket."""

from ._ask import Answer, ask, ask_all
from ._columns import Column, grid_lines
from ._console import Console, discard_output, fail, output_problem
from ._control import control_sockets, default_control_path, serve_control
from ._display import run_display
from ._format import format_count, format_duration, format_rate, format_rtt, format_size
from ._http import serve_metrics
from ._snapshot import Event, ForwardState, SessionState, Snapshot, TakeSnapshot, Totals, Unlisted
from ._tables import status_tables
from ._writer import BackgroundWriter

__all__ = [
    "Answer",
    "BackgroundWriter",
    "Column",
    "Console",
    "Event",
    "ForwardState",
    "SessionState",
    "Snapshot",
    "TakeSnapshot",
    "Totals",
    "Unlisted",
    "ask",
    "ask_all",
    "control_sockets",
    "default_control_path",
    "discard_output",
    "fail",
    "format_count",
    "format_duration",
    "format_rate",
    "format_rtt",
    "format_size",
    "grid_lines",
    "output_problem",
    "run_display",
    "serve_control",
    "serve_metrics",
    "status_tables",
]
