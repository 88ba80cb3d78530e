"""-W: standard input and output as one connection, as OpenSSH's ProxyCommand wants it."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import trio

from .._errors import NOT_ALLOWED, Failure
from ..relay import Unanswered, receive_answer, relay
from ..wire import Purpose, Refused, pack, pack_endpoint
from ._session import open_session

if TYPE_CHECKING:
    import muxpy

    from .._options import ConnectOptions
    from .._tracing import Trace
    from ..specs import Address
    from ._progress import Tell
    from ._session import Credentials

__all__ = ["carry_stdio"]


async def carry_stdio(
    options: ConnectOptions, credentials: Credentials, trace: Trace | None = None, tell: Tell | None = None
) -> None:
    """Carry them until both directions have ended; `tell` is given a sentence if the session takes long. Raises Failure
    if the target cannot be reached or is lost."""
    target = options.stdio
    assert target is not None
    # Closed in the opposite order: both may be one terminal, and the second finds it non-blocking already.
    receiving = trio.lowlevel.FdStream(os.dup(0))
    near = trio.StapledStream(_Output(), receiving)
    try:
        async with open_session(options, credentials, trace=trace, tell=tell) as session:
            await _carry(near, session, target)
    finally:
        await trio.aclose_forcefully(near)


class _Output(trio.abc.SendStream):
    """Standard output that can come to its end before this process does."""

    def __init__(self) -> None:
        self._out = trio.lowlevel.FdStream(os.dup(1))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._out.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._out.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        if stat.S_ISSOCK(os.fstat(1).st_mode):  # which standard input may be as well: closing would end nothing
            with suppress(OSError), socket.socket(fileno=os.dup(1)) as one:
                one.shutdown(socket.SHUT_WR)
            await trio.lowlevel.checkpoint()
        else:
            _leave_output()
            await self._out.aclose()

    async def aclose(self) -> None:
        await self._out.aclose()


def _leave_output() -> None:
    """An end comes with the last descriptor, and that must not be ours."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


async def _carry(near: trio.abc.HalfCloseableStream, session: muxpy.Session, target: Address) -> None:
    try:
        far = await session.open_stream(stream_type=Purpose.CONNECT)
        await far.send_all(pack(pack_endpoint(target)))
        whole = await relay(near, far, head=partial(receive_answer, far))
        await far.aclose()
    except Refused as refused:
        code = NOT_ALLOWED if refused.error == "forbidden" else 1
        verb = "does not allow it:" if code == NOT_ALLOWED else "cannot reach"
        raise Failure(f"the other end {verb} {refused}", code) from refused
    except (Unanswered, trio.BrokenResourceError) as error:
        raise Failure(f"connection to {target}: {error}") from error
    if not whole:
        raise Failure(f"connection to {target}: it was reset")
