"""A server that goes away gracefully in the midst of traffic, seen by muxpy's client."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import pytest
import trio

from muxpy import SessionClosed, StreamReset, http
from tests.helpers.content import named

from .site import sha256

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["ask_for_hash", "check_leaving", "echo_afterwards"]

CONVERSATIONS: Final = 24
ASKING: Final = 16
ENOUGH: Final = 200
"""Answers that must have come before the server leaves."""


class Converse(Protocol):
    """One request that the server has begun to answer when it leaves, and that goes on then."""

    async def __call__(self, client: http.Client, number: int, *, task_status: trio.TaskStatus[None]) -> None: ...


async def check_leaving(
    client: http.Client,
    ask: Callable[[http.Client, int], Awaitable[bool]],
    converse: Converse,
    leave: Callable[[], Awaitable[object]],
) -> None:
    """What the server has begun is answered. Requests follow each other meanwhile: each is answered, or known not to
    be. Later ones are not sent. `ask` and `converse` check what comes back; `ask` returns False for an answer that says
    that nothing was done."""
    answered = 0
    enough = trio.Event()

    async def ask_on(number: int) -> None:
        nonlocal answered
        while True:
            try:
                if not await ask(client, number):
                    return
            except (StreamReset, SessionClosed) as error:
                if not error.retryable:
                    raise
                return
            answered += 1
            if answered == ENOUGH:
                enough.set()

    async with trio.open_nursery() as nursery:
        for number in range(CONVERSATIONS):
            await nursery.start(converse, client, number)
        for number in range(ASKING):
            nursery.start_soon(ask_on, number)
        await enough.wait()
        await leave()
    with pytest.raises(SessionClosed) as error:
        await ask(client, 0)
    assert error.value.retryable


async def ask_for_hash(client: http.Client, number: int) -> bool:
    """A request for a page that says how long the body is and what its hash is."""
    data = named(number, 20_000)
    async with await client.request("POST", "/hash", body=data) as response:
        assert await response.read() == f"{len(data)} {sha256(data)}\n".encode()
    return True


async def echo_afterwards(client: http.Client, number: int, *, task_status: trio.TaskStatus[None]) -> None:
    """A conversation with a page that sends back what comes, and its hash as a trailer."""
    data = named(number, 100_000)
    async with await client.open("POST", "/echo") as response:
        await response.started()
        task_status.started()
        await client.session.wait_going_away()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(response.send_all, data, end=True))
            assert sha256(await response.read()) == sha256(data)
        assert response.trailers == http.Headers({"x-sha256": sha256(data)})
