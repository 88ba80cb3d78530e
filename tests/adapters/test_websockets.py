"""WebSockets, whose libraries for Trio take streams as they are."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
import trio_websocket
import websockets.exceptions
import websockets.trio.client
import websockets.trio.server

from tests.helpers.pairs import session_pair
from tests.helpers.tasks import bounded

from .ends import IMAGE, forwarded
from .page import run, shows

pytestmark = pytest.mark.no_cover


async def echo_requests(request: trio_websocket.WebSocketRequest) -> None:
    socket = await request.accept()
    try:
        while True:
            await socket.send_message(await socket.get_message())
    except trio_websocket.ConnectionClosed:
        pass


@shows("trio-websocket")
@bounded()
async def test_trio_websocket() -> None:
    async with session_pair("tcp") as (client, server), trio.open_nursery() as nursery:
        listener: Any = server.listener()  # more than its annotations say that it takes
        await nursery.start(trio_websocket.WebSocketServer(echo_requests, [listener]).run)
        names = await run("trio-websocket", session=client, trio=trio, trio_websocket=trio_websocket, image=IMAGE)
        assert names["answer"] == IMAGE
        nursery.cancel_scope.cancel()


async def echo(socket: websockets.trio.server.ServerConnection) -> None:
    async for message in socket:
        await socket.send(message)


@shows("websockets")
@bounded()
async def test_websockets() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(websockets.trio.server.serve, echo, 0, host="127.0.0.1"))
        async with forwarded(server.listeners[0].socket.getsockname()[1]) as session:
            assert (await run("websockets", session=session, websockets=websockets, image=IMAGE))["answer"] == IMAGE
        nursery.cancel_scope.cancel()
