"""Two joined sessions, one of which serves."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from muxpy import rpc
from tests.helpers.pairs import session_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import muxpy

__all__ = ["offered"]


@asynccontextmanager
async def offered(
    *services: object, reflection: bool = False
) -> AsyncIterator[tuple[muxpy.Session, muxpy.Session, trio.Event]]:
    """The session that calls, the one that serves, and when that has ended in order."""
    over = trio.Event()
    async with session_pair() as (caller, server), trio.open_nursery() as nursery:

        async def serve() -> None:
            await rpc.serve(server, services, reflection=reflection)
            over.set()

        nursery.start_soon(serve)
        yield caller, server, over
        nursery.cancel_scope.cancel()
