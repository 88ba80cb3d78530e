"""What test_interfaces runs in a network of its own: where lo has fe80::7, and 10.9.8.7 and fd09::7,
which are own.test."""

from __future__ import annotations

import re
import socket
import sys
import tempfile
from typing import Final

import trio

from muxpy_cli.access import is_own
from muxpy_cli.net import allow_all, bind_streams, connect_socket
from muxpy_cli.specs import Address, socket_address
from muxpy_cli.wire import Purpose
from tests.helpers.pairs import as_stream

from ..faults.ends import admitted, tell
from ..program import COMMAND, Server, echo, free_port, running

ZONED: Final = "fe80::7%lo"


def port_in(line: str) -> int:
    match = re.search(r"\[fe80::7%lo\]:(\d+)", line)
    assert match is not None, line
    return int(match[1])


async def exchange(stream: trio.SocketStream) -> None:
    async with stream:
        await stream.send_all(b"hello")
        assert await stream.receive_some() == b"hello"


async def zones() -> None:
    """`listen`, the way to it, what -L binds, its target, and -W; with TLS, whose certificate has no zone."""
    target = await bind_streams(Address(ZONED, 0))
    with tempfile.TemporaryDirectory() as keys:
        await trio.run_process([*COMMAND, "keygen", keys, "--name", "fe80::7"], capture_stdout=True)
        tls = "--tls-cert", f"{keys}/cert.pem", "--tls-key", f"{keys}/key.pem", "--insecure"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(target.serve, lambda one, _: nursery.start_soon(echo, as_stream(one)))
            async with running("listen", f"[{ZONED}]:0", *tls, "--allow", "[fe80::/10]:*") as listening:
                server = f"[{ZONED}]:{port_in(await listening.line('listening on'))}"
                await _use(server, f"{keys}/cert.pem", target.port)
            nursery.cancel_scope.cancel()


async def _use(server: str, ca: str, target: int) -> None:
    async with running("connect", server, "--tls-ca", ca, "-L", f"[{ZONED}]:0:[{ZONED}]:{target}") as connecting:
        port = port_in(await connecting.line("forwarding"))
        await exchange(as_stream(await connect_socket(Address(ZONED, port), allow_all)))
    stdio = [*COMMAND, "connect", server, "--tls-ca", ca, "-W", f"{ZONED}:{target}"]
    done = await trio.run_process(stdio, stdin=b"by -W", capture_stdout=True, stderr=sys.stderr)
    assert done.stdout == b"by -W"


async def datagrams() -> None:
    with trio.socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as target:
        await target.bind(socket_address(ZONED, 0))
        forward = "-L", f"[{ZONED}]:0:[{ZONED}]:{target.getsockname()[1]}/udp"
        async with running("listen", "0", "--allow", "[fe80::/10]:*") as listening:
            server = f"localhost:{await listening.port('listening on')}"
            async with running("connect", server, *forward) as connecting:
                with trio.socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
                    await client.connect(socket_address(ZONED, port_in(await connecting.line("forwarding"))))
                    await client.send(b"question")
                    _, address = await target.recvfrom(100)
                    await target.sendto(b"answer", address)
                    assert await client.recv(100) == b"answer"


async def own_addresses() -> None:
    for address in ("10.9.8.7", "fd09::7", ZONED, "::ffff:10.9.8.7"):
        assert is_own(address), address
    for address in ("10.9.8.8", "fd09::8", "fe80::8%lo"):
        assert not is_own(address), address
    metrics = free_port()
    async with Server(echo, host="0.0.0.0") as target:
        by_name, by_address = ("--allow", f"own.test:{target.port}"), ("--allow", "10.0.0.0/8:*")
        async with running("listen", "0", *by_name) as listening:
            port = await listening.port("listening on")
            assert await answer(port, "own.test", target.port) == "forbidden"
        async with running("listen", "0", *by_address, "--metrics", f"*:{metrics}") as listening:
            port = await listening.port("listening on")
            assert await answer(port, "own.test", target.port) is None
            assert await answer(port, "10.9.8.7", metrics) == "forbidden"


async def answer(listening: int, host: str, port: int) -> str | None:
    """What the listening end says to a wish; None if it grants it."""
    async with admitted(listening) as session:
        stream, message = await tell(session, Purpose.CONNECT, {"host": host, "port": port})
        stream.reset()
        error: str | None = message.get("error")
        return error
