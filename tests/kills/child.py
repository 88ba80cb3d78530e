"""What runs in a process that is to be killed. It imports nothing of the tests, whose leavings would stay behind."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

__all__ = ["run_muxpy"]


def run_muxpy(output: Connection, arguments: Sequence[str], runtime: str) -> None:
    """`muxpy ...` in a process of its own; forked from one that has imported it, which saves most of the time."""
    from muxpy_cli._main import cli

    os.dup2(output.fileno(), 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.environ["XDG_RUNTIME_DIR"] = runtime
    sys.argv = ["muxpy", *arguments]
    cli()
