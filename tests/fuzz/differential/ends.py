"""The two kinds of end: a muxpy session, and the Go peer. Each carries out operations and says what came of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import trio

import muxpy
from tests.interop.gopeer import GoPeerError
from tests.interop.link import read_rest_in_go, sha256

from .operations import content

if TYPE_CHECKING:
    from tests.interop.gopeer import GoPeer

    from .operations import Operation

__all__ = ["End", "GoEnd", "MuxpyEnd", "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """What an application saw: in words that are the same for both kinds of end, and the bytes that it read."""

    words: str
    data: bytes = b""

    def __str__(self) -> str:
        return f"{self.words}, {len(self.data)} bytes {sha256(self.data)[:8]}" if self.data else self.words


class End(Protocol):
    """One end of a session."""

    async def do(self, operation: Operation) -> Outcome:
        """Carry out an operation. Its stream is known by its number among those opened."""

    async def ping(self) -> None:
        """Send a byte on the first stream, which carries nothing else."""

    async def pong(self) -> None:
        """Receive it."""


class MuxpyEnd:
    """A session of muxpy."""

    def __init__(self, session: muxpy.Session) -> None:
        self.session = session
        self.first: muxpy.Stream | None = None
        self.streams: dict[int, muxpy.Stream] = {}

    async def ping(self) -> None:
        if self.first is None:
            self.first = await self.session.open_stream()
        await self.first.send_all(b".")

    async def pong(self) -> None:
        if self.first is None:
            self.first = await self.session.accept_stream()
        assert await self.first.receive_some(1) == b"."

    async def do(self, operation: Operation) -> Outcome:
        data = bytearray()
        try:
            return Outcome(await self._do(operation, data), bytes(data))
        except muxpy.StreamReset as reset:
            words = f"reset {int(reset.code)}"
        except muxpy.SessionGoingAway:
            words = "going away"
        except muxpy.SessionClosed:
            words = "session closed"
        except trio.ClosedResourceError:
            words = "closed"
        return Outcome(words, bytes(data))

    async def _do(self, operation: Operation, data: bytearray) -> str:
        session, number = self.session, operation.stream
        match operation.kind:
            case "open" | "open_fails":
                stream = await session.open_stream(operation.priority, operation.stream_type, operation.fin)
                self.streams[number] = stream
                return f"stream {stream.id}"
            case "accept":
                stream = self.streams[number] = await session.accept_stream()
                return f"stream {stream.id} of type {stream.stream_type}"
            case "go_away":
                session.go_away()
                return "ok"
            case "close_session":
                await self._end_first()
                await session.aclose()
                return "ok"
            case "session_end":
                end = await session.wait()
                return f"code {end.code}, error {type(end.error).__name__}, remote code {end.remote_code}"
        return await self._do_on(self.streams[number], operation, data)

    async def _end_first(self) -> None:
        if self.first is not None:
            await self.first.aclose()

    async def _do_on(self, stream: muxpy.Stream, operation: Operation, data: bytearray) -> str:
        match operation.kind:
            case "write":
                await stream.send_all(content(operation.stream, operation.end, operation.start, operation.size))
            case "half_close":
                sent = content(operation.stream, operation.end, operation.start, operation.size)
                await stream.send_all(sent, end=True)
            case "close":
                await stream.aclose()
            case "reset":
                stream.reset(operation.code)
            case "read":
                while len(data) < operation.size:
                    part = await stream.receive_some(operation.size - len(data))
                    if not part:
                        return "end of stream"
                    data += part
            case "read_to_end" | "read_rest":
                while part := await stream.receive_some():
                    data += part
                return "end of stream"
        return "ok"


class GoEnd:
    """The Go peer."""

    def __init__(self, peer: GoPeer) -> None:
        self.peer = peer
        self.first: int | None = None
        self.streams: dict[int, int] = {}

    async def ping(self) -> None:
        if self.first is None:
            self.first = (await self.peer.call("open"))["stream"]
        await self.peer.call("write", stream=self.first, data=b".")

    async def pong(self) -> None:
        if self.first is None:
            self.first = (await self.peer.call("accept"))["stream"]
        assert (await self.peer.call("read", stream=self.first, max=1))["data"] == b"."

    async def do(self, operation: Operation) -> Outcome:
        data = bytearray()
        try:
            return Outcome(await self._do(operation, data), bytes(data))
        except GoPeerError as error:
            return Outcome(words_of(error.message), bytes(data))

    async def _do(self, operation: Operation, data: bytearray) -> str:
        call, number = self.peer.call, operation.stream
        match operation.kind:
            case "open" | "open_fails":
                opened = await call("open", priority=operation.priority, type=operation.stream_type, fin=operation.fin)
                self.streams[number] = opened["stream"]
                return f"stream {opened['stream']}"
            case "accept":
                accepted = await call("accept")
                self.streams[number] = accepted["stream"]
                return f"stream {accepted['stream']} of type {accepted['type']}"
            case "go_away":
                await call("goaway", code=0)
                return "ok"
            case "close_session":
                await call("session_close")
                return "ok"
        return await self._do_on(self.streams[number], operation, data)

    async def _do_on(self, stream: int, operation: Operation, data: bytearray) -> str:
        call = self.peer.call
        match operation.kind:
            case "write":
                sent = content(operation.stream, operation.end, operation.start, operation.size)
                await call("write", stream=stream, data=sent)
            case "half_close":
                sent = content(operation.stream, operation.end, operation.start, operation.size)
                await call("half_close", stream=stream, data=sent)
            case "close":
                await call("close", stream=stream)
            case "read":
                while len(data) < operation.size:
                    reply = await call("read", stream=stream, max=operation.size - len(data))
                    if reply["eof"]:
                        return "end of stream"
                    data += reply["data"]
            case "read_to_end" | "read_rest":
                rest = await read_rest_in_go(self.peer, stream)
                data += rest.data
                return "end of stream" if rest.error is None else words_of(rest.error)
            case _:
                raise AssertionError(f"the Go peer has no {operation.kind}")
        return "ok"


def words_of(message: str) -> str:
    """An error of the Go package in the words of `Outcome`."""
    if found := re.fullmatch(r"Stream reset by peer with error (\d+)", message):
        return f"reset {found[1]}"
    known = {
        "Stream closed": "closed",
        "Failed to create stream, remote has gone away.": "going away",
        "Session closed": "session closed",
    }
    return known.get(message, f"error: {message}")
