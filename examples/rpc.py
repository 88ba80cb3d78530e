"""A small RPC library on typed streams, with a stream for each call. Run the demonstration with

    python examples/rpc.py

A stream of type CALL carries lines of JSON. The caller sends the request and ends its direction; the answer is a line
for each result, then the end of the stream:

    caller                                              handler
    {"method": "count", "args": {...}, "timeout": 5} ─►
                                                 FIN ─►
                                                     ◄─ {"result": 1}
                                                     ◄─ {"result": 2}
                                                     ◄─ FIN, or {"error": "ValueError", "message": "..."} and FIN

Streams do the rest. A call that is given up, by its deadline, by the program or because enough results came, resets its
stream, and `serve_streams` at the other side cancels the handler, whatever it is busy with. So does the end of the
session. The stream's window makes a fast handler wait for a slow caller (backpressure). A hundred parallel calls are a
hundred streams, none of which holds up another.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar

import trio

import muxpy

CALL: Final = 1
"""The stream type of a call: other types on the same session are free for other uses."""

MAX_LINE: Final = 1 << 20
"""Bytes of one request or result at most: input from the network needs a bound."""

Method = Callable[..., Awaitable[Any] | AsyncGenerator[Any, None]]
M = TypeVar("M", bound=Method)


class RemoteError(Exception):
    """The handler raised: `kind` is the name of its exception's type."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


# ---- the caller ----


async def call(session: muxpy.Session, method: str, timeout: float = 60, **args: Any) -> Any:  # noqa: ANN401, ASYNC109
    """Call a method and return its result, or the first of several.

    Raises RemoteError if the handler raised, trio.TooSlowError after `timeout` seconds, and muxpy.StreamReset or
    muxpy.SessionClosed, whose `retryable` says whether the call can be made again without being carried out twice.
    """
    async with calling(session, method, timeout, **args) as results:
        async for result in results:
            return result


@asynccontextmanager
async def calling(
    session: muxpy.Session,
    method: str,
    timeout: float = 60,  # noqa: ASYNC109 - it travels with the call
    **args: Any,  # noqa: ANN401
) -> AsyncIterator[AsyncIterator[Any]]:
    """Call a method and iterate over its results as they come. Leaving the block ends the call. Raises like `call`."""
    with trio.fail_after(timeout):
        stream = await session.open_stream(stream_type=CALL)
        try:
            await _send(stream, {"method": method, "args": args, "timeout": timeout})
            await stream.send_eof()
            async with aclosing(_results(stream)) as results:
                yield results
        finally:
            stream.reset()  # tells the handler that nobody wants the rest; no effect if the answer is complete


async def _results(stream: muxpy.Stream) -> AsyncGenerator[Any, None]:
    async with aclosing(_receive(stream)) as answers:
        async for answer in answers:
            if answer.get("error") == "TooSlowError":
                raise trio.TooSlowError  # our deadline, noticed first by the other side
            if "error" in answer:
                raise RemoteError(answer["error"], answer["message"])
            yield answer["result"]


# ---- the handler ----


class Service:
    """Methods that the other side may call: async functions, and async generators for many results."""

    def __init__(self) -> None:
        self._methods: dict[str, Method] = {}

    def method(self, function: M) -> M:
        """A decorator: offer `function` under its name."""
        self._methods[function.__name__] = function
        return function

    async def serve(self, session: muxpy.Session) -> None:
        """Answer calls until the session ends. Either side of a session may serve, or both."""
        await session.serve_streams(self._answer, cancel_handlers=True)

    async def _answer(self, stream: muxpy.Stream) -> None:
        if stream.stream_type != CALL:
            stream.reset(muxpy.ErrorCode.REFUSED_STREAM)
            return
        async with aclosing(_receive(stream)) as requests:
            request = await anext(requests, None)
        if request is not None:  # otherwise the caller ended the stream without a request
            await self._run(stream, **request)

    async def _run(self, stream: muxpy.Stream, method: str, args: dict[str, Any], timeout: float) -> None:  # noqa: ASYNC109
        try:
            with trio.fail_after(timeout):
                if method not in self._methods:
                    raise LookupError(f"there is no method {method!r}")
                outcome = self._methods[method](**args)
                if isinstance(outcome, AsyncGenerator):
                    async with aclosing(outcome):
                        async for result in outcome:
                            await _send(stream, {"result": result})
                else:
                    await _send(stream, {"result": await outcome})
        except Exception as error:
            await _send(stream, {"error": type(error).__name__, "message": str(error)})


# ---- both: lines of JSON ----


async def _send(stream: muxpy.Stream, value: dict[str, Any]) -> None:
    await stream.send_all(json.dumps(value).encode() + b"\n")


async def _receive(stream: muxpy.Stream) -> AsyncGenerator[Any, None]:
    rest = b""
    async for data in stream:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield json.loads(line)
        if len(rest) > MAX_LINE:
            raise ValueError(f"a line of more than {MAX_LINE} bytes")


# ---- a demonstration ----

service = Service()


@service.method
async def divide(a: float, b: float) -> float:
    """One result, or an error."""
    return a / b


@service.method
async def count(to: int, pause: float = 0.05) -> AsyncGenerator[int, None]:
    """Many results."""
    try:
        for number in range(1, to + 1):
            yield number
            await trio.sleep(pause)
    except trio.Cancelled:
        print("  handler: count was cancelled")
        raise


async def show(session: muxpy.Session) -> None:
    """The ways in which a call can end."""
    print("divide(1, 4):", await call(session, "divide", a=1, b=4))

    try:
        await call(session, "divide", a=1, b=0)
    except RemoteError as error:
        print("divide(1, 0):", error)

    async with calling(session, "count", to=3) as numbers:
        print("count(3):", [number async for number in numbers])

    print("count(1000), but only as far as we like:")
    async with calling(session, "count", to=1000) as numbers:
        async for number in numbers:
            if number == 3:
                break
    await trio.sleep(0.1)  # so that the handler's line about it comes next

    print("count(1000) with a deadline of 0.2 s:")
    try:
        async with calling(session, "count", timeout=0.2, to=1000) as numbers:
            async for _ in numbers:
                pass
    except trio.TooSlowError:
        print("  caller: too slow")
    await trio.sleep(0.1)

    print("count(1000), cancelled by the program:")
    with trio.move_on_after(0.2):
        async with calling(session, "count", to=1000) as numbers:
            async for _ in numbers:
                pass
    await trio.sleep(0.1)


async def main() -> None:
    """Serve and call in one process."""
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(muxpy.serve_tcp_sessions, service.serve, 0, host="127.0.0.1"))
        async with muxpy.open_tcp_session("127.0.0.1", listener.socket.getsockname()[1]) as session:
            await show(session)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
