"""Clients that come back while the listening end still believes in their old session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from muxpy_cli.wire import Purpose
from tests.helpers.links import Way
from tests.helpers.tasks import LIMIT

from ..program import Server, echo, run
from .ends import admitted, connected, how_it_ends, ping, started, tell, tunnel

if TYPE_CHECKING:
    from pathlib import Path


async def new_token(file: Path, name: str, *options: str) -> str:
    """Add a user; the token."""
    code, output, errors = await run("token", "new", name, "--file", str(file), *options)
    assert code == 0, errors
    return output.strip()


async def test_a_client_that_comes_back_has_its_port_at_once_and_nobody_else_gets_it(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    with trio.fail_after(LIMIT):
        alice, bob = await new_token(file, "alice", "--max-sessions", "1"), await new_token(file, "bob")
        async with Server(echo) as target:
            forward = f"0:localhost:{target.port}"
            ways: list[Way] = []

            def through(port: int) -> Way:
                ways.append(Way(port))
                return ways[-1]

            listen = "--tokens", str(file)
            async with tunnel("-R", forward, listen=listen, token=alice, through=through) as ends:
                port = ends.ports[0]
                await ways[0].feign_life()
                ways[0].cut_near()
                # The listening end believes in the old session all the time, and one is all she may have.
                assert await ends.connecting.port("forwarding", "again") == port
                (await connected(port)).socket.close()
                assert "in use" not in ends.connecting.text
                assert "max-sessions" not in ends.connecting.text

                # A run of another user, with a client id that may well be the same.
                theft = "-R", f"{port}:localhost:{target.port}"
                async with started("connect", f"127.0.0.1:{ends.port}", *theft, token=bob) as thief:
                    assert await thief.code() == 1
                    assert f"does not forward 127.0.0.1:{port}" in thief.text
                    assert "address already in use" in thief.text
                await ping(held := await connected(port))
                held.socket.close()


async def test_another_run_of_the_same_client_takes_over_from_one_that_is_believed_alive() -> None:
    with trio.fail_after(LIMIT):
        async with Server(echo) as target:
            ways: list[Way] = []

            def through(port: int) -> Way:
                ways.append(Way(port))
                return ways[-1]

            async with tunnel("-R", f"0:localhost:{target.port}", through=through) as ends:
                port = ends.ports[0]
                await ways[0].feign_life()
                ends.connecting.process.kill()
                again = "-R", f"{port}:localhost:{target.port}"
                # Through the same way, since the address of the listening end is part of a client's identity.
                async with started("connect", f"127.0.0.1:{ways[0].port}", *again) as connecting:
                    assert await connecting.port("forwarding") == port
                    (await connected(port)).socket.close()
                    assert len((await ends.listening.snapshot())["sessions"]) == 2


async def test_a_stranger_without_a_name_takes_nothing_over() -> None:
    with trio.fail_after(LIMIT):
        async with started("listen", "0") as listening:
            port = await listening.port("listening on")
            async with admitted(port, client="one", process="1") as one, admitted(port, client="two") as two:
                _, answer = await tell(one, Purpose.LISTEN, {"host": "localhost", "port": 0, "forward": 0})
                place = {"host": "localhost", "port": answer["port"], "forward": 0}
                _, answer = await tell(two, Purpose.LISTEN, place)
                assert answer["error"] == "in use"
                async with admitted(port, client="one", process="2") as again:
                    _, answer = await tell(again, Purpose.LISTEN, place)
                    assert answer == {"port": place["port"]}


async def test_what_a_client_says_of_a_restart_of_its_server_is_what_happened() -> None:
    with trio.fail_after(LIMIT):
        async with Server(echo) as target:
            both = "-L", f"0:localhost:{target.port}", "-R", f"0:localhost:{target.port}"
            async with tunnel(*both, connect=("--connect-wait", "0.2")) as ends:
                client = ends.connecting
                assert await ends.listening.stop() == 0
                await client.said("is ending the session")
                await client.said("cannot connect", "connection refused", "trying again in")
                mark = 0
                for _ in range(8):
                    waiting = await trio.open_tcp_stream("127.0.0.1", ends.ports[0])
                    assert await how_it_ends(waiting) == "reset"
                    waiting.socket.close()
                    mark = mark or len(client.text)
                await client.said("connection refused", "trying again every second while connections want the session")
                found = await client.snapshot()
                assert [one["state"] for one in found["sessions"] + found["forwards"]] == [
                    "waiting",
                    "bound",
                    "waiting",
                ]
                async with started("listen", f"127.0.0.1:{ends.port}"):
                    assert await client.port("forwarding", "again") == ends.ports[1]
                    for port in ends.ports:
                        await ping(again := await connected(port))
                        again.socket.close()
                    assert "trying again in" not in client.text[mark:]  # as it was before anybody came
                    assert "no longer forwards" not in client.text
