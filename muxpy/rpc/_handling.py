"""Carrying out a call, whichever way it came: its request, its handler, and what comes of it."""

from __future__ import annotations

import logging
import traceback
from contextlib import asynccontextmanager
from math import inf, isnan
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from muxpy import ErrorCode, Stream

from ._call import Call, around, current
from ._errors import Code, DeadlineExceeded, Error, InvalidArgument, Unimplemented
from ._service import services_of
from ._wire import IN_JSON, JSON, MAX_MESSAGE, MSGPACK, ErrorBody, Kind, Request

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
    from contextlib import AsyncExitStack

    from muxpy import Session

    from ._call import Interceptor
    from ._service import Codec, Method
    from ._wire import Coding

__all__ = ["Begun", "Handling", "Outcome", "error_body"]

log = logging.getLogger("muxpy.rpc")

LONGEST_NAME: Final = 100
"""Characters of an unknown name that are said again."""

LONGEST_TEXT: Final = 100_000
"""Characters of a traceback."""

Outcome = tuple[int, bytes]
"""What a call is answered with: the kind of the message, and its body."""

CODINGS: Final = {0: MSGPACK, IN_JSON: JSON}
_requests: Final = {flag: coding.decoder(Request) for flag, coding in CODINGS.items()}


class Begun:
    """A call that can be carried out."""

    __slots__ = ("arguments", "call", "codec", "function", "method")

    def __init__(
        self, method: Method, function: Callable[..., Any], codec: Codec, arguments: tuple[Any, ...], call: Call
    ) -> None:
        self.method = method
        self.function = function
        self.codec = codec
        self.arguments = arguments
        self.call = call


class Handling:
    """The services of one end of a session, and how their methods are called. `stream_of` finds the stream of an id."""

    def __init__(self, session: Session, stream_of: Callable[[int], Awaitable[Stream]]) -> None:
        self._session = session
        self._stream_of = stream_of
        self._served: dict[str, tuple[Method, Callable[..., Any]]] = {}
        self._interceptors: Sequence[Interceptor] = ()
        self._tracebacks = False

    def serve(
        self, implementations: Iterable[object], interceptors: Sequence[Interceptor], *, tracebacks: bool
    ) -> None:
        """Offer these services from now on, and no others."""
        served: dict[str, tuple[Method, Callable[..., Any]]] = {}
        for implementation in implementations:
            for service in services_of(implementation):
                for method in service.methods.values():
                    if method.name in served:
                        raise ValueError(f"two services are named {service.name!r}")
                    served[method.name] = method, method.called_by_position(getattr(implementation, method.attribute))
        self._served = served
        self._interceptors = interceptors
        self._tracebacks = tracebacks

    def begin(self, body: bytes, flag: int) -> Begun:
        """Understand a request. Raises Error for one that cannot be carried out."""
        try:
            request: Request = _requests[flag](body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidArgument(f"the request cannot be understood: {error}") from None
        if request.timeout is not None and isnan(request.timeout):
            raise InvalidArgument("the request cannot be understood: its timeout is no number")
        found = self._served.get(request.method)
        if found is None:
            raise self._unknown(request.method)
        method, function = found
        try:
            codec = method.json if flag else method.msgpack
            arguments = codec.decode_arguments(bytes(request.arguments))
        except Exception as error:  # the types are the service's: they may have code of their own
            raise InvalidArgument(f"{method.name}: {error}") from None
        deadline = inf if request.timeout is None else trio.current_time() + request.timeout
        call = Call(method.name, self._session, request.metadata or {}, deadline)
        return Begun(method, function, codec, arguments, call)

    def _unknown(self, name: str) -> Error:
        name = name[:LONGEST_NAME]
        service = name.partition(".")[0]
        others = [method for method in self._served if method.startswith(f"{service}.")]
        if others:
            return Unimplemented(f"there is no method {name!r}; there are {', '.join(others)}")
        services = sorted({method.partition(".")[0] for method in self._served})
        return Unimplemented(f"there is no service {service!r}; there are {', '.join(services) or 'none'}")

    async def result(self, begun: Begun, items: AsyncIterator[object] | None = None) -> Outcome:
        """Carry out a call that has one answer. Raises what the handler raises."""
        current.set(begun.call)
        if not self._interceptors and items is None and not begun.method.takes_streams:
            value = await begun.function(*begun.arguments)
        else:
            async with await around(self._interceptors, begun.call) as stack:
                value = await begun.function(*await self._arguments(begun, items, stack))
        if begun.method.gives_stream:
            value = value.id
        return Kind.RESULT, begun.codec.encode_result(value)

    @asynccontextmanager
    async def results(
        self, begun: Begun, items: AsyncIterator[object] | None
    ) -> AsyncGenerator[AsyncIterable[object], None]:
        """Carry out a call that has many, as far as they are asked for in the block."""
        current.set(begun.call)
        async with await around(self._interceptors, begun.call) as stack:
            yield begun.function(*await self._arguments(begun, items, stack))

    async def _arguments(
        self, begun: Begun, items: AsyncIterator[object] | None, stack: AsyncExitStack
    ) -> list[object]:
        """What the method is called with: streams in place of their ids, and the items. `stack` closes the streams."""
        arguments = list(begun.arguments)
        for place in begun.method.takes_streams:
            stream = await self._stream_of(arguments[place])
            stack.push_async_exit(_closing(stream))
            arguments[place] = stream
        if begun.method.takes_items is not None:
            arguments.insert(begun.method.takes_items, items)
        return arguments

    def failure(self, error: Exception, begun: Begun) -> Outcome:
        """What a call is answered with whose handler has raised `error`."""
        while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        try:
            # What another side has not understood is a fault of this handler, and not of its caller.
            if isinstance(error, Error) and not (error.remote and isinstance(error, Unimplemented | InvalidArgument)):
                return Kind.ERROR, error_body(error, begun.codec.coding)
        except TypeError as wrong:
            error = wrong
        if isinstance(error, trio.TooSlowError):
            return Kind.ERROR, error_body(DeadlineExceeded("the handler was too slow"), begun.codec.coding)
        log.error("%r: %s failed", self._session, begun.method.name, exc_info=error)
        unexpected = Error("the service has failed; its log says more", code=Code.INTERNAL)
        unexpected.name = type(error).__name__
        if self._tracebacks:
            unexpected.message, unexpected.details = _text(error), _text("".join(traceback.format_exception(error)))
        return Kind.ERROR, error_body(unexpected, begun.codec.coding)


def error_body(error: Error, coding: Coding, *, retryable: bool = False) -> bytes:
    """The body of an ERROR. Raises TypeError if the details are not of their type, or it cannot be sent. An error that
    a handler has got from elsewhere is not retryable here, whatever it was there: this call has been begun."""
    try:
        details = msgspec.Raw(coding.encode(error.details))
        coding.decoder(error.details_type | None)(bytes(details))
        body = coding.encode(ErrorBody(int(error.code), error.name, error.message, retryable, details))
    except Exception as wrong:  # msgspec's, and what the types' own code raises
        raise TypeError(f"{error.name} cannot be sent: {wrong}") from None
    if len(body) > MAX_MESSAGE:
        raise TypeError(f"{error.name} cannot be sent: {len(body)} bytes are too many")
    return body


def _text(value: object) -> str:
    """Any text as one that can be sent."""
    return str(value)[:LONGEST_TEXT].encode(errors="backslashreplace").decode()


def _closing(stream: Stream) -> Callable[..., Awaitable[None]]:
    """Closes the stream when its handler has ended, or resets it if that has raised."""

    async def close(kind: object, error: BaseException | None, _: object) -> None:
        if error is None:
            await stream.aclose()
        else:
            stream.reset(ErrorCode.INTERNAL_ERROR if isinstance(error, Exception) else ErrorCode.CANCEL)

    return close
