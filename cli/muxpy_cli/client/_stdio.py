"""-W: standard input and output as one connection, for OpenSSH's ProxyCommand.

It does not reconnect: its one connection is lost with the session, and ssh, which runs it, says so.
"""

from __future__ import annotations

import os
import socket
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import trio

from .._errors import NOT_ALLOWED, Failure, describe
from .._standard import is_readable, is_writable
from ..relay import Answer, Unanswered, relay
from ..wire import Purpose, Refused, pack, pack_endpoint
from ._session import log_in, refusal_verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    import muxpy

    from .._options import ConnectOptions
    from .._tracing import Trace
    from ..specs import Address
    from ._retrying import Tell
    from ._session import Credentials

__all__ = ["carry_stdio"]


async def carry_stdio(
    options: ConnectOptions, credentials: Credentials, trace: Trace | None = None, tell: Tell | None = None
) -> None:
    """Carry them until both directions have ended; `tell` is called with a sentence if the session takes long. Raises
    Failure if the target cannot be reached, or if data is cut off."""
    target = options.stdio
    assert target is not None
    _check_open()
    near = _Stdio()
    try:
        async with log_in(options, credentials, trace=trace, tell=tell) as session:
            await _carry(near, session, target)
    finally:
        await trio.aclose_forcefully(near)


def _check_open() -> None:
    for name, usable, instead in (
        ("standard input", is_readable(0), "< /dev/null sends nothing"),
        ("standard output", is_writable(1), "> /dev/null throws away what comes"),
    ):
        if not usable:
            raise Failure(f"-W carries {name}, and that is closed: {instead}", 2)


class _Stdio(trio.abc.HalfCloseableStream):
    """Standard input and standard output, which can end before this process does."""

    def __init__(self) -> None:
        self.problem: str | None = None
        """What is wrong with one of them, if anything."""
        self._in = trio.lowlevel.FdStream(os.dup(0))
        self._out = trio.lowlevel.FdStream(os.dup(1))

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        with self._noting("standard input"):
            return await self._in.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self._noting("standard output"):
            await self._out.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._out.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        if stat.S_ISSOCK(os.fstat(1).st_mode):  # it may be standard input as well, so closing would end nothing
            with suppress(OSError), socket.socket(fileno=os.dup(1)) as one:
                one.shutdown(socket.SHUT_WR)
            await trio.lowlevel.checkpoint()
        else:
            _leave_output()
            await self._out.aclose()

    async def aclose(self) -> None:
        # In reverse order: both may be one terminal, which the second found non-blocking already.
        try:
            await self._out.aclose()
        finally:
            await self._in.aclose()

    @contextmanager
    def _noting(self, name: str) -> Iterator[None]:
        try:
            yield
        except trio.BrokenResourceError as error:
            self.problem = self.problem or f"{name}: {describe(error)}"
            raise


def _leave_output() -> None:
    """The reader sees the end when the last descriptor is closed, so ours must not stay open."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


async def _carry(near: _Stdio, session: muxpy.Session, target: Address) -> None:
    try:
        far = await session.open_stream(stream_type=Purpose.CONNECT)
        await far.send_all(pack(pack_endpoint(target)))
        whole = await relay(near, far, head=Answer())
        await far.aclose()
    except Refused as refused:
        code = NOT_ALLOWED if refused.error == "forbidden" else 1
        raise Failure(f"the other end {refusal_verb(refused)} {refused}", code) from refused
    except (Unanswered, trio.BrokenResourceError) as error:
        raise Failure(f"connection to {target}: {error}") from error
    if not whole:
        raise Failure(near.problem or f"connection to {target}: it was reset")
