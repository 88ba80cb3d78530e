"""A call, as handlers and interceptors see it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from contextvars import ContextVar
from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muxpy import Session

__all__ = ["Call", "Interceptor", "around", "current", "current_call"]


class Call:
    """A call that is being made or answered.

    `method`: with the service, as in "Calculator.add". `metadata`: what the caller has said beside the arguments.
    `session`: over which it goes; a handler may call back with `rpc.client(call.session, ...)`. None where a pool has
    yet to choose one. `deadline`: in Trio's time, after which nobody waits for the answer; `math.inf` if there is none.
    """

    __slots__ = ("deadline", "metadata", "method", "session")

    def __init__(self, method: str, session: Session | None, metadata: dict[str, str], deadline: float = inf) -> None:
        self.method = method
        self.session = session
        self.metadata = metadata
        self.deadline = deadline

    def __repr__(self) -> str:
        return f"<muxpy.rpc.Call {self.method}>"


Interceptor = Callable[[Call], AbstractAsyncContextManager[object]]
"""Runs around each call, at either end, whether it is unary or a stream of items: an async context manager. It may
raise an error in place of the call, see how the call ends, measure it, and set context variables for the handler. One
at the caller may add to `call.metadata`."""

current: Final[ContextVar[Call]] = ContextVar("muxpy.rpc.call")


def current_call() -> Call:
    """The call that this handler answers. Raises LookupError outside of handlers."""
    return current.get()


async def around(interceptors: Sequence[Interceptor], call: Call) -> AsyncExitStack:
    """Enter all interceptors, the first outermost."""
    async with AsyncExitStack() as stack:
        for interceptor in interceptors:
            await stack.enter_async_context(interceptor(call))
        return stack.pop_all()
