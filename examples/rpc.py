"""Calls over a session: one answer or many, errors, deadlines, and calls that are given up. Run it with

    python examples/rpc.py

How it works inside: a small call like `divide` goes by its number over one stream that all small calls share, and a
task that waits for its answer reads for all who wait. `count` has a stream of its own: its window makes a fast handler
wait for a slow caller (backpressure), and its reset tells the handler that nobody wants the rest. The time that is left
goes with each call, and a handler runs in a cancel scope with that deadline. docs/rpc.md explains the library, and
docs/rpc-protocol.md what is sent.
"""

# The hints of a service are read when the program runs: without `from __future__ import annotations` that needs no
# thought.
from collections.abc import AsyncIterator
from functools import partial
from typing import Protocol

import trio

import muxpy
from muxpy import rpc


class DivisionByZero(rpc.Error, code=rpc.Code.INVALID_ARGUMENT):
    """There is no such number."""


# ---- what both sides know ----


@rpc.service
class Numbers(Protocol):
    async def divide(self, a: float, b: float) -> float:
        """One number by another. Raises DivisionByZero."""
        ...

    def count(self, to: int, pause: float = 0.05) -> AsyncIterator[int]:
        """The numbers from 1 to `to`, and a pause in seconds after each."""
        ...


# ---- the side that serves ----


class MyNumbers(Numbers):
    async def divide(self, a: float, b: float) -> float:
        if not b:
            raise DivisionByZero(f"{a:g} / {b:g}")
        return a / b

    async def count(self, to: int, pause: float = 0.05) -> AsyncIterator[int]:
        try:
            for number in range(1, to + 1):
                yield number
                await trio.sleep(pause)
        except trio.Cancelled:
            print("  handler: count was cancelled")
            raise


# ---- the side that calls ----


async def call(port: int) -> None:
    """The ways in which a call can end."""
    async with muxpy.open_tcp_session("127.0.0.1", port) as session:
        numbers = rpc.client(session, Numbers)
        print("divide(1, 4):", await numbers.divide(1, 4))

        try:
            await numbers.divide(1, 0)
        except DivisionByZero as error:
            print("divide(1, 0): there is no", error)

        print("count(3):", [number async for number in numbers.count(3)])

        print("count(1000), but only as far as we like:")
        async for number in numbers.count(1000):
            if number == 3:
                break
        await trio.sleep(0.1)  # so that the handler's line about it comes next

        print("count(1000) with a deadline of 0.2 s:")
        try:
            with trio.fail_after(0.2):
                async for _ in numbers.count(1000):
                    pass
        except trio.TooSlowError:
            print("  caller: too slow")
        await trio.sleep(0.1)


async def main() -> None:
    """Both sides in one process."""
    serve = partial(rpc.serve, services=[MyNumbers()])
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(muxpy.serve_tcp_sessions, serve, 0, host="127.0.0.1"))
        await call(listener.socket.getsockname()[1])
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
