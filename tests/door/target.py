"""An echo server in a process of its own: `python -m tests.door.target`. It says at which port."""

from __future__ import annotations

import trio

from tests.cli.program import echo


async def main() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(listeners[0].socket.getsockname()[1], flush=True)
    await trio.serve_listeners(echo, listeners)


if __name__ == "__main__":
    trio.run(main)
