"""What is called: where it is, and how to get there."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import muxpy
from muxpy import rpc

from .._errors import Failure
from ..client import reach
from ..view import Console
from ._failures import failing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

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
                try:
                    yield session
                except rpc.Unavailable as error:
                    if (said := self._what_listens(session, error)) is None:
                        raise
                    raise Failure(f"{what}: {said}") from error

    def _what_listens(self, session: muxpy.Session, error: rpc.Unavailable) -> str | None:
        """What is to be said of a server that is none, or not for calls; None if it may be one."""
        cause = error.__cause__
        if not session.statistics().bytes_received:
            return f"{error}: what listens at {self.options.address} may be no muxpy server"
        if isinstance(cause, muxpy.StreamReset) and cause.by_peer and cause.code == muxpy.ErrorCode.PROTOCOL_ERROR:
            return f"what listens at {self.options.address} does not serve calls (muxpy.rpc): {error}"
        return None
