"""Both ends as processes whose output is read all the time, and traffic through them that is checked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import trio

import muxpy
from muxpy_cli.wire import Message, Purpose, pack, receive_message
from tests.helpers import processes
from tests.helpers.processes import Output

from ..program import ADDRESS, COMMAND, ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class End(Output):
    """`muxpy ...` under way. Its output, both streams together, is in `text`."""

    def __init__(self, process: trio.Process, control: Path) -> None:
        super().__init__(process.stdout)
        self.process = process
        self.control = control

    async def port(self, *words: str, times: int = 1) -> int:
        """The first port in such a line."""
        match = ADDRESS.search(await self.said(*words, times=times))
        assert match is not None
        return int(match[2])

    async def code(self) -> int:
        """Wait for its end; the exit code, with all output read."""
        code = await self.process.wait()
        await self.ended()
        return code

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit code."""
        self.process.send_signal(number)
        return await self.code()

    async def snapshot(self) -> dict[str, Any]:
        """What it says of itself at its control socket."""
        async with await trio.open_unix_socket(str(self.control)) as stream:
            found = json.loads(b"".join([bytes(chunk) async for chunk in stream]))
        assert isinstance(found, dict)
        return found

    async def until(self, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Ask until the answer is as wanted."""
        while not true(found := await self.snapshot()):  # noqa: ASYNC110 - another process has the event
            await trio.sleep(0.02)
        return found

    @property
    def resident(self) -> int:
        """Bytes of memory that are in use."""
        return processes.resident(self.process.pid)

    @property
    def descriptors(self) -> int:
        """Open ones."""
        return processes.descriptors(self.process.pid)


@asynccontextmanager
async def started(*arguments: str, token: str | None = None) -> AsyncIterator[End]:
    """`muxpy` with these arguments and a control socket; killed at the end of the block if it still runs."""
    environment = {key: value for key, value in ENVIRONMENT.items() if key != "MUXPY_TOKEN"}
    if token is not None:
        environment["MUXPY_TOKEN"] = token
    with TemporaryDirectory(prefix="mux") as folder:
        control = Path(folder, "control")
        command = [*COMMAND, arguments[0], "--control", str(control), *arguments[1:]]
        options = {"stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "env": environment}
        async with processes.started(command, **options) as process, trio.open_nursery() as nursery:
            end = End(process, control)
            nursery.start_soon(end.read)
            yield end
            nursery.cancel_scope.cancel()


class Ends:
    """A tunnel under way: the listening end's port, and those of the forwards as they were given."""

    def __init__(self, listening: End, connecting: End, port: int, ports: list[int]) -> None:
        self.listening = listening
        self.connecting = connecting
        self.port = port
        self.ports = ports


@asynccontextmanager
async def tunnel(
    *forwards: str,
    listen: tuple[str, ...] = (),
    connect: tuple[str, ...] = (),
    token: str | None = None,
    through: Callable[[int], AsyncExitStack | Any] | None = None,
) -> AsyncIterator[Ends]:
    """Both ends; `forwards` are -L and -R in this order. `through(port)` makes a Path that lies between them."""
    async with AsyncExitStack() as stack:
        listening = await stack.enter_async_context(started("listen", "0", *listen))
        port = await listening.port("listening on")
        way = (await stack.enter_async_context(through(port))).port if through is not None else port
        connecting = await stack.enter_async_context(
            started("connect", f"127.0.0.1:{way}", *connect, *forwards, token=token)
        )
        ports = [await connecting.port("forwarding", times=number + 1) for number in range(len(forwards) // 2)]
        yield Ends(listening, connecting, port, ports)


async def ping(stream: trio.abc.Stream, data: bytes = b"ping") -> None:
    """Have an echo server answer."""
    await stream.send_all(data)
    got = b""
    while len(got) < len(data):
        chunk = await stream.receive_some()
        assert chunk, "it ended"
        got += chunk
    assert got == data


async def connected(port: int) -> trio.SocketStream:
    """A connection to a port of this machine that an echo server answers."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    try:
        await ping(stream)
    except BaseException:
        stream.socket.close()
        raise
    return stream


async def how_it_ends(stream: trio.SocketStream) -> str:
    """Read up to the end: "reset" or "end"."""
    try:
        while await stream.receive_some():
            pass
    except trio.BrokenResourceError:
        return "reset"
    return "end"


class Load:
    """Echo traffic on some connections; each byte is checked, and how each connection ended is noted."""

    def __init__(self) -> None:
        self.ends: list[str] = []
        self.rounds = 0
        self._news = trio.lowlevel.ParkingLot()

    async def run(self, port: int) -> None:
        """One connection, until it breaks."""
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        try:
            while True:
                data = os.urandom(20_000)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(stream.send_all, data)
                    got = b""
                    while len(got) < len(data):
                        chunk = await stream.receive_some()
                        if not chunk:
                            raise EOFError
                        got += chunk
                assert got == data
                self.rounds += 1
                self._news.unpark_all()
        except BaseExceptionGroup as group:
            # Sending learns of the reset, or receiving: the system tells it once, and then there is just an end.
            reset, rest = group.split(trio.BrokenResourceError)
            if rest is not None and rest.split(EOFError)[1] is not None:
                raise
            self.ends.append("reset" if reset is not None else "end")
        finally:
            stream.socket.close()

    async def going(self) -> None:
        """Wait until some more has been carried."""
        wanted = self.rounds + 20
        while self.rounds < wanted:
            await self._news.park()


async def tell(session: muxpy.Session, purpose: int, message: Message) -> tuple[muxpy.Stream, Message]:
    """Open a stream with a first message; it, and the answer."""
    stream = await session.open_stream(stream_type=purpose)
    await stream.send_all(pack(message))
    answer, _ = await receive_message(stream)
    return stream, answer


@asynccontextmanager
async def admitted(port: int, **hello: object) -> AsyncIterator[muxpy.Session]:
    """A session of our own with a listening end, past the greeting; killed at the end."""
    async with muxpy.open_tcp_session("127.0.0.1", port) as session:
        _, answer = await tell(session, Purpose.HELLO, hello)
        assert "error" not in answer, answer
        try:
            yield session
        finally:
            session.kill()
