"""How gRPC puts messages into bodies: each is a byte that says whether it is compressed, its length, and what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import muxpy

__all__ = ["Messages", "prefixed"]


def prefixed(message: bytes) -> bytes:
    """As it is sent; not compressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message


class Messages:
    """The messages of a body, each as soon as it is there."""

    def __init__(self, stream: muxpy.Stream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._buffer and not await self._more():
            raise StopAsyncIteration
        while len(self._buffer) < (end := self._end):
            assert await self._more(), "the body ends in the middle of a message"
        message = bytes(self._buffer[5:end])
        del self._buffer[:end]
        return message

    @property
    def _end(self) -> int:
        """Where the first message ends, as far as it can be told."""
        return 5 if len(self._buffer) < 5 else 5 + int.from_bytes(self._buffer[1:5], "big")

    async def _more(self) -> bool:
        chunk = await self._stream.receive_some()
        self._buffer += chunk
        return bool(chunk)
