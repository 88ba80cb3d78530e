"""An end that is killed, and one that comes back."""

from __future__ import annotations

import trio

from tests.helpers.tasks import LIMIT

from ..program import Server, closed_port, echo, free_port
from .ends import Load, connected, how_it_ends, ping, started, tunnel

CLIENTS = 8


async def test_a_killed_listening_end_resets_clients_and_is_found_again() -> None:
    port = free_port()
    load = Load()
    with trio.fail_after(LIMIT):
        async with Server(echo) as target:
            forwards = "-L", f"0:localhost:{target.port}", "-R", f"0:localhost:{target.port}"
            # The ends are started at the same time: the connecting one has to wait for the other already here.
            async with started("connect", f"127.0.0.1:{port}", "--connect-wait", "3600", *forwards) as connecting:
                async with started("listen", str(port)) as listening, trio.open_nursery() as nursery:
                    local = await connecting.port("forwarding", "-> 127.0.0.1")
                    remote = await connecting.port("forwarding", " at 127.0.0.1")
                    for _ in range(CLIENTS):
                        nursery.start_soon(load.run, local)
                    await load.going()
                    listening.process.kill()
                assert load.ends == ["reset"] * CLIENTS
                await connecting.said("has ended", "trying again")
                early = await trio.open_tcp_stream("127.0.0.1", local)  # it is bound all the time
                async with started("listen", str(port)) as again:
                    await ping(early)
                    assert await connecting.port("forwarding", " at 127.0.0.1", "again") == remote
                    for client in (early, await connected(local), await connected(remote)):
                        client.socket.close()
                    assert (await again.snapshot())["totals"]["sessions"] == 1


async def test_a_killed_connecting_end_resets_clients_at_the_other_end_which_goes_on() -> None:
    load = Load()
    with trio.fail_after(LIMIT):
        async with Server(echo) as target, tunnel("-R", f"0:localhost:{target.port}") as ends:
            async with trio.open_nursery() as nursery:
                for _ in range(CLIENTS):
                    nursery.start_soon(load.run, ends.ports[0])
                await load.going()
                ends.connecting.process.kill()
            assert load.ends == ["reset"] * CLIENTS
            await ends.listening.said("no longer forwarding")
            assert (await ends.listening.snapshot())["forwards"] == []
            again = f"{ends.ports[0]}:localhost:{target.port}"  # the same port, which is free again
            async with started("connect", f"127.0.0.1:{ends.port}", "-R", again) as connecting:
                (await connected(await connecting.port("forwarding"))).socket.close()


async def test_connections_wait_for_a_session_only_so_long() -> None:
    with trio.fail_after(LIMIT), closed_port() as nobody:
        async with Server(echo) as target:
            forward = "-L", f"0:localhost:{target.port}"
            async with tunnel(*forward, connect=("--connect-wait", "0.5")) as ends:
                ends.listening.process.kill()
                await ends.connecting.said("has ended", "trying again")
                client = await trio.open_tcp_stream("127.0.0.1", ends.ports[0])
                assert await how_it_ends(client) == "reset"
                assert "within 0.5 seconds" in await ends.connecting.said("connection to", "no session with")
                client.socket.close()
        async with started("connect", f"127.0.0.1:{nobody}", "--max-retries", "1", "-L", "0:localhost:1") as connecting:
            assert await connecting.code() == 1
            assert "connection refused (is `muxpy listen` running there?) (tried 2 times)" in connecting.text


async def test_thousands_of_connections_may_wait_for_a_session() -> None:
    with trio.fail_after(LIMIT):
        async with Server(echo) as target:
            forward = "-L", f"0:localhost:{target.port}"
            port = free_port()
            async with started("connect", f"127.0.0.1:{port}", "--connect-wait", "3600", *forward) as connecting:
                async with started("listen", str(port)) as listening:
                    local = await connecting.port("forwarding")
                    listening.process.kill()
                    await connecting.said("has ended", "trying again")
                before = connecting.resident
                waiting = [await trio.open_tcp_stream("127.0.0.1", local) for _ in range(1000)]
                for client in waiting:
                    await client.send_all(b"hello")
                await connecting.until(lambda found: found["forwards"][0]["total"] == len(waiting))
                # A task and a socket for each; their bytes stay in the kernel. 20 KiB is what they took, and some.
                assert connecting.resident - before < len(waiting) * 60_000
                async with started("listen", str(port)), trio.open_nursery() as nursery:
                    for client in waiting:
                        nursery.start_soon(_answered, client)


async def _answered(client: trio.SocketStream) -> None:
    got = b""
    while len(got) < 5:
        chunk = await client.receive_some()
        assert chunk
        got += chunk
    assert got == b"hello"
    client.socket.close()
