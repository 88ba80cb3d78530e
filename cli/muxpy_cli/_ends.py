"""What the listening and the connecting end have in common."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import muxpy

from ._errors import Failure, describe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._wire import Message

__all__ = ["DRAINING", "GRACE", "hello", "serve_streams", "write_statistics"]

DRAINING: Final = "finishing open connections (Ctrl-C again ends at once)"

GRACE: Final = 5.0
"""Seconds that relays have after the end of their session to deliver what had already arrived. Those that only
wait for a socket which never says anything are reset then."""


def program_version() -> str:
    """The installed version; "unknown" in a checkout that is not installed."""
    try:
        return version("muxpy")
    except PackageNotFoundError:
        return "unknown"


def hello() -> Message:
    """What each end says about itself."""
    return {"program": f"muxpy {program_version()}"}


async def serve_streams(session: muxpy.Session, handler: Callable[[muxpy.Stream], Awaitable[object]]) -> None:
    """`Session.serve_streams`, quiet about how the session ends: that is told by `Session.wait`."""
    with suppress(muxpy.SessionClosed):
        await session.serve_streams(handler)


def write_statistics(path: str | None, session: muxpy.Session) -> None:
    """Append the session's figures to a file, as a line of JSON. Raises Failure if that cannot be written."""
    if path is None:
        return
    try:
        with Path(path).open("a") as file:
            file.write(json.dumps(asdict(session.statistics())) + "\n")
    except OSError as error:
        raise Failure(f"cannot write the statistics to {path}: {describe(error)}") from error
