"""What an exchange sees to where a stream does without a checkpoint."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from muxpy import http
from tests.helpers.tasks import bounded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def responded(
    handler: Callable[[http.Exchange], Awaitable[None]], expect: bool = False
) -> tuple[http.Response, bytes]:
    """The response to a request with a body, and its body."""
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(http.serve, handler, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        headers = {"expect": "100-continue"} if expect else {}
        async with http.connect(url) as client, await client.open("POST", "/", headers) as response:
            await response.started()
            body = await response.read()
        nursery.cancel_scope.cancel()
    return response, body


@bounded()
async def test_nothing_goes_before_the_head_or_beyond_its_length() -> None:
    async def handler(exchange: http.Exchange) -> None:
        with pytest.raises(RuntimeError, match="not begun"):
            exchange.send_nowait(b"x")
        near, far = socket.socketpair()
        with near, far, pytest.raises(RuntimeError, match="not begun"):
            exchange.start_splice(near, on_end=print)
        await exchange.start(200, {"content-length": "5"})
        exchange.send_nowait(b"hel")
        with pytest.raises(ValueError, match="content-length"):
            exchange.send_nowait(b"lo!")
        exchange.send_nowait(b"lo")
        await exchange.finish()

    response, body = await responded(handler)
    assert (response.status, body) == (200, b"hello")


@bounded()
async def test_a_client_that_waits_for_it_is_told_to_go_on() -> None:
    async def handler(exchange: http.Exchange) -> None:
        with pytest.raises(trio.WouldBlock):
            exchange.receive_nowait()
        await exchange.respond(200, body=b"asked" if exchange._asked else b"")

    assert (await responded(handler, expect=True))[1] == b"asked"
