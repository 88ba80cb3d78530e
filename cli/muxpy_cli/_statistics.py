"""Figures of ended sessions in a file, for the demo."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ._errors import Failure, describe

if TYPE_CHECKING:
    import muxpy

__all__ = ["write_statistics"]


def write_statistics(path: str | None, session: muxpy.Session) -> None:
    """Append the session's figures to a file, as a line of JSON. Raises Failure if that cannot be written."""
    if path is None:
        return
    try:
        with Path(path).open("a") as file:
            file.write(json.dumps(asdict(session.statistics())) + "\n")
    except OSError as error:
        raise Failure(f"cannot write the statistics to {path}: {describe(error)}") from error
