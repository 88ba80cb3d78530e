"""What is called: where it is, and how to get there."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..client import reach
from ..view import Console
from ._failures import failing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import muxpy

    from .._options import ConnectOptions

__all__ = ["Target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server."""

    options: ConnectOptions
    seconds: float | None
    """For all of it; None if there is no limit."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """For each call."""
    silent: bool = False
    """Do not say what takes long."""

    @asynccontextmanager
    async def session(self, what: str) -> AsyncIterator[muxpy.Session]:
        """A session to ask for `what`. All that goes wrong in the block is a Failure."""
        tell = None if self.silent else Console(to_stderr=True).event
        with failing(what, self.seconds):
            async with reach(self.options, tell) as session:
                yield session
