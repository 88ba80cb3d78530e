"""Streams and sessions as AnyIO has them, on its Trio backend."""

from __future__ import annotations

from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.abc
import trio

import muxpy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["ByteStream", "Listener"]


class ByteStream(anyio.abc.ByteStream):
    """A stream of a session, which it closes."""

    def __init__(self, stream: muxpy.Stream) -> None:
        self._stream = stream

    async def receive(self, max_bytes: int = 65536) -> bytes:
        with _as_anyio("reading from"):
            data = await self._stream.receive_some(max_bytes)
        if not data:
            raise anyio.EndOfStream
        return data

    async def send(self, item: bytes) -> None:
        with _as_anyio("writing to"):
            await self._stream.send_all(item)

    async def send_eof(self) -> None:
        with _as_anyio("writing to"):
            await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


class Listener(anyio.abc.Listener[ByteStream]):
    """The streams that the peer of a session opens."""

    def __init__(self, session: muxpy.Session) -> None:
        self._listener = session.listener()

    async def serve(self, handler: Callable[[ByteStream], Any], task_group: anyio.abc.TaskGroup | None = None) -> None:
        """Run `handler(stream)` in a task of its own for each stream that the peer opens; it closes the stream.

        Returns when no more can come, and, without a `task_group`, all handlers have returned. Raises
        anyio.BrokenResourceError if the session ended with an error, and anyio.ClosedResourceError after `aclose`.
        """
        async with AsyncExitStack() as stack:
            if task_group is None:
                task_group = await stack.enter_async_context(anyio.create_task_group())
            error = await self._serve(handler, task_group)
        if error is not None:  # only now, since a group would wrap it, and cancel the handlers
            raise error

    async def _serve(self, handler: Callable[[ByteStream], Any], tasks: anyio.abc.TaskGroup) -> Exception | None:
        """Until no more come; the error that says why, if it is one."""
        try:
            while True:
                with _as_anyio("accepting from"):
                    stream = await self._listener.accept()
                tasks.start_soon(handler, ByteStream(stream))
        except anyio.ClosedResourceError as error:
            return error
        except anyio.BrokenResourceError as error:
            closed = error.__cause__
            assert isinstance(closed, muxpy.SessionClosed)
            return error if closed.end is not None and closed.end.error is not None else None

    async def aclose(self) -> None:
        await self._listener.aclose()


@contextmanager
def _as_anyio(action: str) -> Iterator[None]:
    try:
        yield
    except trio.BusyResourceError as error:
        raise anyio.BusyResourceError(action) from error
    except trio.ClosedResourceError as error:
        raise anyio.ClosedResourceError from error
    except trio.BrokenResourceError as error:
        raise anyio.BrokenResourceError from error
