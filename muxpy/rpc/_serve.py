"""Serving calls, and streams beside them."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import trio

from muxpy import ErrorCode

from ._endpoint import endpoint_of
from ._reflection import Reflecting
from ._wire import StreamType

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from muxpy import Session, Stream

    from ._call import Interceptor

__all__ = ["serve", "stream"]

log = logging.getLogger("muxpy.rpc")


async def serve(
    session: Session,
    services: Iterable[object],
    *,
    interceptors: Sequence[Interceptor] = (),
    tracebacks: bool = False,
    reflection: bool = False,
) -> None:
    """Carry out the calls of the other side, with the methods of these objects, until the session ends or this side has
    called `Session.go_away` and all calls are answered. Either side of a session may serve, or both.

    Behind a port:

        await muxpy.serve_tcp_sessions(partial(rpc.serve, services=[MyCalculator()]), 4000)

    Each call is carried out in a task of its own, with a context (contextvars) of its own. It is cancelled when its
    caller gives up, or its time is over, or the session ends. An Error that it raises goes to the caller; any other
    exception is logged here, and the caller gets its name only, or with `tracebacks` all of it.

    With `reflection`, the other side may ask what there is: services, methods, their docs and types (see `Reflection`),
    as the program `muxpy call` does.

    It takes all streams of the session, as `Session.serve_streams` does. Raises TypeError for an object that cannot be
    a service, ValueError for two services of one name, and SessionClosed if the session ends with an error.
    """
    endpoint = endpoint_of(session)
    offered = list(services)
    if reflection:
        offered.append(Reflecting(offered))
    endpoint.handling.serve(offered, interceptors, tracebacks=tracebacks)
    try:
        await endpoint.served.wait()
    finally:
        endpoint.handling.serve((), (), tracebacks=False)
    if endpoint.error is not None:
        raise endpoint.error


async def stream(session: Session, handler: Callable[[Stream], Awaitable[object]] | None = None) -> Stream:
    """Open a stream that can be an argument or a result: the other side gets its other end.

    With a `handler`, a task of the session runs that with the stream, and closes it, or resets it if the handler
    raises; the stream is then only to be passed on. Raises the exceptions of `Session.open_stream`.
    """
    opened = await session.open_stream(stream_type=StreamType.RAW)
    if handler is not None:
        session.start_soon(partial(_handle, opened, handler))
    return opened


async def _handle(stream: Stream, handler: Callable[[Stream], Awaitable[object]]) -> None:
    try:
        await handler(stream)
    except Exception as error:
        if isinstance(error, trio.BrokenResourceError):
            log.info("%r: handler ended: %s", stream, error)
        else:
            log.exception("%r: handler failed, the stream is reset", stream)
        stream.reset(ErrorCode.INTERNAL_ERROR)
    except BaseException:
        stream.reset()
        raise
    else:
        await stream.aclose()
