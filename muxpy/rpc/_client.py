"""What callers use: an object with the methods of a service, whose calls go over a session."""

from __future__ import annotations

import random
from functools import cache
from math import inf
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

import msgspec
import trio

from muxpy import Stream

from ._alone import CUT, ItemSender, open_call, unavailable
from ._call import Call, around
from ._endpoint import endpoint_of
from ._errors import Code, Error, Unavailable, error_class, named_code
from ._reading import MessageReader
from ._service import describe
from ._wire import JSON, MSGPACK, ErrorBody, Kind, StreamType, pack

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Mapping, Sequence
    from contextlib import AsyncExitStack

    from muxpy import Session

    from ._call import Interceptor
    from ._endpoint import Endpoint
    from ._service import Codec, Method
    from ._wire import Coding, Message

__all__ = ["Route", "client", "error_of", "time_left"]

T = TypeVar("T")

_decode_error: Final = {coding: coding.decoder(ErrorBody) for coding in (MSGPACK, JSON)}


class Route(Protocol):
    """Where calls go."""

    async def endpoint(self) -> Endpoint:
        """The endpoint for the next call. Raises Unavailable if there is none, and there will be none."""

    def again(self, error: Error, method: Method) -> bool:
        """Whether a call that has failed is to be made again."""


class _OneSession:
    """Calls over one session; what it refuses because it is busy is tried again there."""

    def __init__(self, session: Session) -> None:
        self._endpoint = endpoint_of(session)

    async def endpoint(self) -> Endpoint:
        return self._endpoint

    def again(self, error: Error, method: Method) -> bool:
        return error.retryable and not self._endpoint.session.going_away


def client(
    session: Session | Route,
    service: Callable[..., T],
    *,
    priority: int = 0,
    metadata: Mapping[str, str] | None = None,
    interceptors: Sequence[Interceptor] = (),
    json: bool = False,
) -> T:
    """The methods of `service`, a class or a Protocol, as the other side of `session` serves them. `session` may be a
    pool.

    The calls of the object have `priority` (0 to 2^31-1, a higher one gets a larger share of the session; one above 0
    takes a stream for each call) and `metadata`; `interceptors` run around each. With `json`, arguments and answers are
    JSON and not msgpack, for services that have no msgpack; muxpy's take either. An object costs little, so make
    another one for other metadata.

    A call ends when the cancel scope that it is made in ends: deadlines and cancellation reach the handler, and what
    that has called. It raises TypeError for arguments that the method does not take, before anything is sent; an Error
    of the class that the handler has raised; and Unavailable if the session has ended or goes away, whose `retryable`
    says whether the call may have been carried out. What the other side cannot have acted on is sent again, as long
    as the session takes calls.
    """
    if not isinstance(service, type):
        raise TypeError(f"a service is a class, not {service!r}")
    route = session if hasattr(session, "again") else _OneSession(session)
    options = _Options(cast("Route", route), priority, dict(metadata or {}), tuple(interceptors), json=json)
    return cast("T", _proxy_class(service)(options))


class _Options:
    """What all calls of a client have in common."""

    __slots__ = ("interceptors", "json", "metadata", "priority", "route")

    def __init__(
        self,
        route: Route,
        priority: int,
        metadata: dict[str, str],
        interceptors: tuple[Interceptor, ...],
        *,
        json: bool,
    ) -> None:
        self.route = route
        self.priority = priority
        self.metadata = metadata
        self.interceptors = interceptors
        self.json = json

    def codec(self, method: Method) -> Codec:
        """How this client's calls of the method become bytes."""
        return method.json if self.json else method.msgpack


@cache
def _proxy_class(service: type) -> type:
    """A class with a method for each of the service's."""
    described = describe(service)

    def create(self: Any, options: _Options) -> None:  # noqa: ANN401 - of the class that is made here
        self._options = options

    def __repr__(self: object) -> str:
        return f"<muxpy.rpc client of {described.name}>"

    made = {"__slots__": ("_options",), "__init__": create, "__repr__": __repr__, "__doc__": described.doc}
    for name, method in described.methods.items():
        made[name] = _caller(method)
    return type(described.name, (), made)


def _caller(method: Method) -> Callable[..., Any]:
    """The function that calls a method."""
    if method.gives_items:

        def results(self: Any, *arguments: object, **named: object) -> Results:  # noqa: ANN401
            return Results(self._options, method, method.bind(arguments, named))

        results.__qualname__, results.__doc__ = method.name, method.doc
        return results

    async def result(self: Any, *arguments: object, **named: object) -> object:  # noqa: ANN401
        options: _Options = self._options
        values = method.bind(arguments, named)
        if not options.interceptors:
            return await _result(options, method, values, options.metadata)
        call = Call(method.name, None, dict(options.metadata), trio.current_effective_deadline())
        async with await around(options.interceptors, call):
            return await _result(options, method, values, call.metadata)

    result.__qualname__, result.__doc__ = method.name, method.doc
    return result


async def _result(options: _Options, method: Method, values: tuple[object, ...], metadata: Mapping[str, str]) -> object:
    """Make a call that has one answer, again if it is sure that it was not begun."""
    codec = options.codec(method)
    items, arguments = _split(method, codec, values)
    pause = None
    while True:
        endpoint = await options.route.endpoint()
        if method.takes_streams:
            _check_streams(endpoint, method, values)
        body = codec.request(arguments, time_left(), metadata)
        try:
            if items is None:
                answer = await endpoint.call(Kind.CALL | codec.coding.flag, body, options.priority)
            else:
                answer = await _send_items(endpoint, options, codec, body, items)
            value = _value(method, codec, answer)
            return await endpoint.raw.take(value) if method.gives_stream else value
        except Error as error:
            # An iterator may have given some of its items: it cannot be asked again.
            if items is not None or not options.route.again(error, method):
                raise
        pause = pause or _Pause()
        await pause()


def _split(method: Method, codec: Codec, values: tuple[object, ...]) -> tuple[AsyncIterable[object] | None, bytes]:
    """The iterator among the arguments, and the others, encoded. Raises TypeError for what the method does not take."""
    if method.takes_items is None and not method.takes_streams:
        return None, codec.arguments(values)
    arguments = list(values)
    items = cast("AsyncIterable[object]", arguments.pop(method.takes_items)) if method.takes_items is not None else None
    if items is not None and not hasattr(items, "__aiter__"):
        raise TypeError(f"{method.name}: {items!r} is not an async iterator")
    for place in method.takes_streams:
        arguments[place] = _raw_id(method, arguments[place])
    return items, codec.arguments(tuple(arguments))


def _raw_id(method: Method, value: object) -> int:
    if not isinstance(value, Stream) or value.stream_type != StreamType.RAW:
        raise TypeError(f"{method.name}: {value!r} is not a stream that rpc.stream has opened")
    return value.id


def _check_streams(endpoint: Endpoint, method: Method, values: tuple[object, ...]) -> None:
    """An id means something else on every session."""
    for value in values:
        if isinstance(value, Stream) and value.session is not endpoint.session:
            raise TypeError(f"{method.name}: {value!r} belongs to another session than the call")


def time_left() -> float | None:
    """Seconds for which the caller waits; None if there is no end to that."""
    deadline = trio.current_effective_deadline()
    return None if deadline == inf else max(deadline - trio.current_time(), 0.0)


async def _send_items(
    endpoint: Endpoint, options: _Options, codec: Codec, body: bytes, items: AsyncIterable[object]
) -> Message:
    message = pack(Kind.CALL | codec.coding.flag, 0, body)
    stream = await open_call(endpoint.session, options.priority, message, last=False)
    sender = ItemSender(endpoint.session, stream, items, codec.encode_item)
    endpoint.alone += 1
    try:
        return await endpoint.answer_on(stream)
    except Unavailable:
        if sender.error is not None:
            raise sender.error from None
        raise
    finally:
        endpoint.alone -= 1
        await sender.stopped()


def _value(method: Method, codec: Codec, message: Message, expected: int = Kind.RESULT) -> Any:  # noqa: ANN401
    """What a message brings. Raises the Error that stands in its place."""
    kind, _, body = message
    if kind != expected:
        raise error_of(kind, body, codec.coding)
    try:
        return codec.decode_result(body)
    except Exception as error:  # the types are the service's: they may have code of their own
        raise Error(f"{method.name} has returned something else: {error}", code=Code.INTERNAL) from error


def error_of(kind: int, body: bytes, coding: Coding) -> Error:
    """The exception that an ERROR stands for."""
    try:
        if kind != Kind.ERROR:
            raise msgspec.ValidationError(f"a message of kind {kind}")
        said: ErrorBody = _decode_error[coding](body)
        found = error_class(said.name)
        details = coding.decoder(found.details_type | None)(bytes(said.details)) if bytes(said.details) else None
    except Exception as error:  # the details are the service's: they may have code of their own
        return Error(f"the answer cannot be understood: {error}", code=Code.INTERNAL)
    raised = found.__new__(found, said.message)
    Error.__init__(raised, said.message, details=details)  # a class may be made in a way of its own
    raised.code, raised.name, raised.retryable = named_code(said.code), said.name, said.retryable
    raised.remote = True
    return raised


class Results:
    """The values of a call that gives many. The call begins with the first `anext`. It ends with the last value, with
    `aclose`, or when nobody refers to this object any more, as after a `break`."""

    __slots__ = (
        "_arguments",
        "_codec",
        "_items",
        "_method",
        "_options",
        "_over",
        "_reader",
        "_sender",
        "_stack",
        "_stream",
        "_values",
    )

    def __init__(self, options: _Options, method: Method, values: tuple[object, ...]) -> None:
        self._options = options
        self._method = method
        self._values = values
        self._stack: AsyncExitStack | None = None
        self._stream: Stream | None = None
        self._reader: MessageReader | None = None
        self._sender: ItemSender[object] | None = None
        self._over = False
        self._codec = options.codec(method)
        self._items, self._arguments = _split(method, self._codec, values)

    def __aiter__(self) -> Results:
        return self

    async def __anext__(self) -> Any:  # noqa: ANN401 - whatever the method gives
        if self._over:
            raise StopAsyncIteration
        try:
            if self._reader is None:
                self._reader = await self._begin()
            message = self._reader.next_nowait() or await self._next(self._reader)
            if message is None:
                raise Unavailable("the other side has broken the call off")
            if message[0] != Kind.END:
                return _value(self._method, self._codec, message, Kind.ITEM)
        except BaseException as error:  # a cancellation ends the call, too
            await self._finish(error)
            raise
        await self._finish(None)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the call. Its handler is cancelled if it has more values."""
        await self._finish(None)

    def __del__(self) -> None:
        self._let_go()

    async def _begin(self) -> MessageReader:
        options, method, codec = self._options, self._method, self._codec
        call = Call(method.name, None, dict(options.metadata), trio.current_effective_deadline())
        self._stack = await around(options.interceptors, call)
        pause = _Pause()
        while True:
            endpoint = await options.route.endpoint()
            if method.takes_streams:
                _check_streams(endpoint, method, self._values)
            body = codec.request(self._arguments, time_left(), call.metadata)
            message = pack(Kind.CALL | codec.coding.flag, 0, body)
            try:
                self._stream = await open_call(endpoint.session, options.priority, message, last=self._items is None)
                break
            except Error as error:
                if not options.route.again(error, method):
                    raise
            await pause()
        if self._items is not None:
            self._sender = ItemSender(endpoint.session, self._stream, self._items, codec.encode_item)
        return MessageReader(self._stream, endpoint.budget)

    async def _next(self, reader: MessageReader) -> Message | None:
        try:
            return await reader.next()
        except CUT as error:
            if self._sender is not None and self._sender.error is not None:
                raise self._sender.error from None
            raise unavailable(error) from error

    def _let_go(self) -> None:
        self._over = True
        if self._reader is not None:
            self._reader.close()
        if self._stream is not None:
            self._stream.reset()  # no effect if both directions have ended
        if self._sender is not None:
            self._sender.cancel()

    async def _finish(self, error: BaseException | None) -> None:
        self._let_go()
        if self._sender is not None:
            await self._sender.stopped()
        if self._stack is not None:
            stack, self._stack = self._stack, None
            await stack.__aexit__(type(error) if error is not None else None, error, None)


class _Pause:
    """Backoff with jitter."""

    __slots__ = ("_seconds",)

    def __init__(self) -> None:
        self._seconds = 0.005

    async def __call__(self) -> None:
        await trio.sleep(self._seconds * random.uniform(0.5, 1.5))
        self._seconds = min(2 * self._seconds, 1.0)
