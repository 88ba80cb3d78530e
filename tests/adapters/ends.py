"""The other end of what docs/adapters.md shows: servers that run as long as a block, and a session that leads there."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from tests.helpers.content import named
from tests.helpers.pairs import session_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    import muxpy

__all__ = ["DIGEST", "IMAGE", "digest", "forwarded", "in_asyncio", "in_thread"]


def digest(data: bytes) -> str:
    """What servers answer."""
    return hashlib.sha256(data).hexdigest()


IMAGE: Final = named("image", 300_000)
"""What is sent: more than a window."""
DIGEST: Final = digest(IMAGE)

T = TypeVar("T")


@asynccontextmanager
async def forwarded(target: int | Path) -> AsyncIterator[muxpy.Session]:
    """A session whose peer connects streams to a target. Nothing is left open on it in the end."""
    async with session_pair("tcp") as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.forward_to, target)
        yield client
        with trio.fail_after(client.config.drain_timeout - 1):
            await client.aclose()


@asynccontextmanager
async def in_asyncio(server: Callable[[], AbstractAsyncContextManager[T]]) -> AsyncIterator[T]:
    """Run `server` in a thread with asyncio; the value is what it yields."""
    started, ready = trio.open_memory_channel[tuple[asyncio.AbstractEventLoop, asyncio.Event, T]](1)

    async def run() -> None:
        async with server() as value:
            stop = asyncio.Event()
            trio.from_thread.run_sync(started.send_nowait, (asyncio.get_running_loop(), stop, value))
            await stop.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, lambda: asyncio.run(run()))
        loop, stop, value = await ready.receive()
        try:
            yield value
        finally:
            loop.call_soon_threadsafe(stop.set)


@contextmanager
def in_thread(serve: Callable[[], object], stop: Callable[[], object]) -> Iterator[None]:
    """Run `serve` in a thread, until `stop` has ended it."""
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join()
