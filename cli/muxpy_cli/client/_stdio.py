"""-W: standard input and output as one connection, as OpenSSH's ProxyCommand wants it."""

from __future__ import annotations

import os
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
    from ._session import Credentials

__all__ = ["carry_stdio"]


async def carry_stdio(options: ConnectOptions, credentials: Credentials, trace: Trace | None = None) -> None:
    """Carry them until both directions have ended. Raises Failure if the target cannot be reached or is lost."""
    target = options.stdio
    assert target is not None
    # Closed in the opposite order: both may be one terminal, and the second finds it non-blocking already.
    receiving = trio.lowlevel.FdStream(os.dup(0))
    near = trio.StapledStream(trio.lowlevel.FdStream(os.dup(1)), receiving)
    try:
        async with open_session(options, credentials, trace=trace) as session:
            await _carry(near, session, target)
    finally:
        await trio.aclose_forcefully(near)


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
