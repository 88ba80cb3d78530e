"""A peer that writes and reads the messages of calls by hand, right or wrong."""

from __future__ import annotations

import gc
from collections import deque
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import trio

import muxpy
from muxpy import rpc
from muxpy.rpc._wire import MAX_MESSAGE, Kind, Messages, StreamType, pack
from tests.helpers.pairs import session_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from muxpy.rpc._wire import Message

__all__ = ["ByHand", "alive", "call_body", "calling", "error_of", "open_by_hand", "served"]

T = TypeVar("T")


class ByHand:
    """A stream of calls, at either end."""

    def __init__(self, stream: muxpy.Stream) -> None:
        self.stream = stream
        self._messages = Messages(MAX_MESSAGE)
        self._ready: deque[Message] = deque()

    async def send(self, kind: int, call_id: int = 0, body: bytes = b"") -> None:
        await self.stream.send_all(pack(kind, call_id, body))

    async def call(self, call_id: int, method: str, *arguments: object, flag: int = 0) -> None:
        """Begin a call."""
        await self.send(Kind.CALL | flag, call_id, call_body(method, *arguments, flag=flag))

    async def next(self) -> Message | None:
        """The next message; None at the end of the stream."""
        while not self._ready:
            data = await self.stream.receive_some()
            if not data:
                return None
            self._ready.extend(self._messages.feed(data))
        return self._ready.popleft()

    async def answer(self) -> Message:
        """The next message that is no CREDIT."""
        while (message := await self.next()) is not None:
            if message[0] != Kind.CREDIT:
                return message
        raise AssertionError("the stream has ended")

    async def cut(self) -> muxpy.StreamReset:
        """The reset of the stream, which must come."""
        cut = await self.stream.wait_ended()
        assert isinstance(cut, muxpy.StreamReset), cut
        return cut


def call_body(method: str, *arguments: object, flag: int = 0, timeout: Any = None) -> bytes:  # noqa: ANN401 - or wrong
    """The body of a CALL."""
    encode = msgspec.json.encode if flag else msgspec.msgpack.encode
    return encode([method, arguments, timeout] if timeout is not None else [method, arguments])


def error_of(message: Message) -> tuple[int, str, str]:
    """The code, the name and the text of an ERROR in msgpack."""
    kind, _, body = message
    assert kind == Kind.ERROR, message
    code, name, text, *_ = msgspec.msgpack.decode(body)
    return code, name, text


async def open_by_hand(session: muxpy.Session, stream_type: int = StreamType.SHARED) -> ByHand:
    """Open a stream of calls."""
    return ByHand(await session.open_stream(stream_type=stream_type))


@asynccontextmanager
async def served(*services: object, config: muxpy.SessionConfig | None = None) -> AsyncIterator[muxpy.Session]:
    """A session whose other side serves calls, and at this side nobody makes any."""
    async with session_pair("memory", server_config=config) as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(partial(rpc.serve, server, services))
        yield client
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def calling(config: muxpy.SessionConfig | None = None) -> AsyncIterator[tuple[muxpy.Session, muxpy.Session]]:
    """A session on which calls are made, and the one at its other side, where nobody answers them."""
    async with session_pair("memory", client_config=config) as (client, server):
        yield client, server


def alive(kind: type[T]) -> list[T]:
    """All objects of this type that there are."""
    gc.collect()
    return [found for found in gc.get_objects() if type(found) is kind]
