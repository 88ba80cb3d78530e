"""One end of an asyncssh connection, as a program.

    python -m benchmarks.contenders._asyncssh_end server
    python -m benchmarks.contenders._asyncssh_end client SERVER_PORT TARGET_PORT

Prints the port that it listens on, and ends when its stdin does.
"""

from __future__ import annotations

import asyncio
import sys

import asyncssh

from ._base import HOST


async def _serve() -> None:
    class Server(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return False  # no authentication

        def connection_requested(self, *_: object) -> bool:
            return True

    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.create_server(Server, HOST, 0, server_host_keys=[key])
    await _announce(server.get_port())


async def _connect(server_port: int, target: int) -> None:
    async with asyncssh.connect(HOST, server_port, known_hosts=None, config=None) as connection:
        listener = await connection.forward_local_port(HOST, 0, HOST, target)
        await _announce(listener.get_port())


async def _announce(port: int) -> None:
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    part, *ports = sys.argv[1:]
    asyncio.run(_serve() if part == "server" else _connect(int(ports[0]), int(ports[1])))
