"""Sockets that are bound: closing them while something else goes on, and what a failure leaves behind."""

from __future__ import annotations

import gc
import os
import socket
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from muxpy_cli.net import _accept, allow_all, bind_streams, connect_datagrams
from muxpy_cli.specs import Address, UnixPath
from muxpy_cli.wire import Refused

if TYPE_CHECKING:
    from pathlib import Path

    from muxpy_cli.net import Bound

LOOPBACK = Address("127.0.0.1", 0)


async def close(stream: trio.SocketStream) -> None:
    """Take a connection, and no more."""
    stream.socket.close()


async def serve(bound: Bound, scope: trio.CancelScope, nursery: trio.Nursery) -> None:
    """As the forwards of both ends do."""
    with scope:
        await bound.serve(close, nursery)


async def test_closing_while_a_connection_comes() -> None:
    for _ in range(20):  # which of the two tasks is first in their turn is up to Trio
        bound, scope = await bind_streams(LOOPBACK), trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, bound, scope, nursery)
            await trio.testing.wait_all_tasks_blocked()
            with socket.create_connection(("127.0.0.1", bound.port)):
                await trio.lowlevel.checkpoint()
                scope.cancel()
                bound.close()


async def test_closing_before_it_serves() -> None:
    bound, scope = await bind_streams(LOOPBACK), trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, bound, scope, nursery)
        scope.cancel()
        bound.close()


async def test_connections_that_wait_to_be_taken_when_it_finishes_are_taken() -> None:
    bound, scope = await bind_streams(LOOPBACK), trio.CancelScope()
    served: list[trio.SocketStream] = []

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"served")

    async def take() -> None:
        with scope:
            await bound.serve(answer, nursery)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await trio.testing.wait_all_tasks_blocked()
        # More than are taken in one turn, and all of them before this task lets another one run.
        clients = [socket.create_connection(("127.0.0.1", bound.port)) for _ in range(100)]
        scope.cancel()
        bound.finish()
        assert bound.closed
        for client in clients:
            client.setblocking(False)
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(client))
            assert await stream.receive_some() == b"served"
            served.append(stream)
            stream.socket.close()
    assert len(served) == 100


async def test_finishing_what_nobody_serves_is_closing_it() -> None:
    bound = await bind_streams(LOOPBACK)
    with socket.create_connection(("127.0.0.1", bound.port)) as client:
        bound.finish()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def _paths(folder: Path) -> list[str]:
    return [str(path) for path in folder.iterdir()]


async def test_a_path_that_was_bound_again_at_once_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_accept, "inode", lambda path: (1, 1) if os.path.exists(path) else None)  # as file systems may
    path = UnixPath(str(tmp_path / "socket"))
    bound, scope = await bind_streams(path), trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, bound, scope, nursery)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        bound.close()
        again = await bind_streams(path)
    assert path.path in _paths(tmp_path)
    again.close()
    assert not _paths(tmp_path)


async def test_an_address_that_takes_no_datagrams_leaves_no_socket() -> None:
    gc.disable()
    try:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            with pytest.raises(Refused):  # who sends to all has to ask for it
                await connect_datagrams(Address("255.255.255.255", 9), allow_all)
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        gc.enable()
