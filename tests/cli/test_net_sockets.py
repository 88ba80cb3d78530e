"""Sockets that are bound: closing them while something else goes on, and what a failure leaves behind."""

from __future__ import annotations

import errno
import gc
import os
import re
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from muxpy_cli._errors import Failure
from muxpy_cli.net import _accept, allow_all, bind_streams, connect_datagrams
from muxpy_cli.net._accept import Shortage
from muxpy_cli.specs import Address, UnixPath
from muxpy_cli.wire import Refused
from tests.helpers.pairs import as_stream

if TYPE_CHECKING:
    from pathlib import Path

    from muxpy_cli.net import Bound

LOOPBACK = Address("127.0.0.1", 0)


async def serve(bound: Bound, scope: trio.CancelScope) -> None:
    """As the forwards of both ends do; take connections, and no more."""
    with scope:
        await bound.serve(lambda connection, _: connection.close())


async def test_closing_while_a_connection_comes() -> None:
    for _ in range(20):  # which of the two tasks is first in their turn is up to Trio
        bound, scope = await bind_streams(LOOPBACK), trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, bound, scope)
            await trio.testing.wait_all_tasks_blocked()
            with socket.create_connection(("127.0.0.1", bound.port)):
                await trio.lowlevel.checkpoint()
                scope.cancel()
                bound.close()


async def test_closing_before_it_serves() -> None:
    bound, scope = await bind_streams(LOOPBACK), trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, bound, scope)
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
            await bound.serve(lambda connection, _: nursery.start_soon(answer, as_stream(connection)))

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


async def test_a_path_that_was_bound_again_immediately_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_accept, "inode", lambda path: (1, 1) if os.path.exists(path) else None)  # as file systems may
    path = UnixPath(str(tmp_path / "socket"))
    bound, scope = await bind_streams(path), trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, bound, scope)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        bound.close()
        again = await bind_streams(path)
    assert path.path in _paths(tmp_path)
    again.close()
    assert not _paths(tmp_path)


async def test_a_path_of_another_file_is_named_as_that(tmp_path: Path) -> None:
    path = tmp_path / "run.py"
    path.write_text("print()")
    with pytest.raises(Failure, match=rf"^cannot listen on .*{path}: there is a file that is no socket$"):
        await bind_streams(UnixPath(str(path)))
    assert path.read_text() == "print()"


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


class Exhausted(socket.socket):
    """A listening socket whose connections cannot be taken."""

    error = errno.EMFILE

    def accept(self) -> tuple[socket.socket, object]:
        raise OSError(self.error, os.strerror(self.error))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errno.EMFILE, "all file descriptors of this process are used up.*ulimit -n.*LimitNOFILE="),
        (errno.ENFILE, "all file descriptors of this machine are used up.*fs.file-max"),
        (errno.ENOBUFS, "no memory left for sockets"),
    ],
)
async def test_connections_that_cannot_be_taken_are_told_once_a_minute_for_all_places(
    error: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(_accept, "_shortage", Shortage(trio.current_time))
    waiting = ExitStack()
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            bound = await bind_streams(LOOPBACK)
            listener = Exhausted(fileno=bound.sockets[0].detach())
            listener.error = error
            bound.sockets[0] = listener
            waiting.enter_context(socket.create_connection(("127.0.0.1", bound.port)))
            nursery.start_soon(serve, bound, trio.CancelScope())
        await trio.sleep(90)
        nursery.cancel_scope.cancel()
    waiting.close()
    assert len(caplog.records) == 2
    for record in caplog.records:
        assert record.levelname == "WARNING"
        assert re.match(f"connections wait until others end: .*{words}", record.getMessage())
