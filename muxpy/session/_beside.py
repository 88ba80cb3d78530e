"""Tasks beside a block."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["tasks_beside"]


@asynccontextmanager
async def tasks_beside() -> AsyncIterator[trio.Nursery]:
    """A nursery for tasks beside the block. What is raised in the block cancels them, and leaves as it is, and not in
    an ExceptionGroup."""
    failure = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except BaseException as error:
            failure = error  # kept until the nursery is closed, which would wrap it
            nursery.cancel_scope.cancel()
    if failure is not None:
        try:
            raise failure
        finally:
            del failure  # whose frames are this one, too: a circle
