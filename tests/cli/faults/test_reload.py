"""SIGHUP: what is allowed goes on, what is not allowed any more ends, and a broken file changes nothing."""

from __future__ import annotations

import signal
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio

from muxpy_cli.wire import Purpose, pack, receive_message
from tests.helpers.sockets import tcp_sockets_of
from tests.helpers.tasks import LIMIT

from ..program import Server, echo, free_port, run
from .ends import admitted, connected, how_it_ends, ping, started, tell, tunnel

if TYPE_CHECKING:
    from pathlib import Path

    from .ends import End


async def reload(end: End, *words: str) -> None:
    """Have it read all again, and wait for the line that says so."""
    times = sum(all(word in line for word in words) for line in end.text.splitlines())
    end.process.send_signal(signal.SIGHUP)
    await end.said(*words, times=times + 1)


AGAIN = "read the configuration again"
BEFORE = "going on with what was read before"


async def new_user(file: Path, name: str, *options: str) -> str:
    """Add a user, or change one; the token."""
    code, output, errors = await run("token", "new", name, "--file", str(file), *options)
    assert code == 0, errors
    return output.strip()


async def test_users_and_what_they_may_reach(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    with trio.fail_after(LIMIT):
        alice = await new_user(file, "alice")
        bob = await new_user(file, "bob")
        async with Server(echo) as kept, Server(echo) as dropped:
            two = "-L", f"0:localhost:{kept.port}", "-L", f"0:localhost:{dropped.port}"
            remote = "-R", f"0:localhost:{kept.port}", "-R", f"0:localhost:{dropped.port}"
            async with (
                tunnel(*two, *remote, listen=("--tokens", str(file)), token=alice) as ends,
                started("connect", f"127.0.0.1:{ends.port}", *two[:2], token=bob) as other,
            ):
                bobs = await connected(await other.port("forwarding"))
                clients = [await connected(port) for port in ends.ports]

                text = file.read_text()
                for broken in ("[users", text.replace("sha256:", "sha257:"), text + '[users.eve]\nallow = ["x"]\n'):
                    file.write_text(broken)
                    await reload(ends.listening, BEFORE)
                file.unlink()
                await reload(ends.listening, BEFORE)
                for client in (*clients, bobs):
                    await ping(client)

                lines = text[: text.index("[users.bob]")].rstrip().splitlines()
                rules = [f'allow = ["localhost:{kept.port}"]', f'allow-bind = ["127.0.0.1:{ends.ports[2]}"]']
                file.write_text("\n".join([*lines, *rules]) + "\n")
                await reload(ends.listening, AGAIN)
                for client in (clients[0], clients[2]):
                    await ping(client)
                for client in (clients[1], clients[3], bobs):
                    assert await how_it_ends(client) == "reset"
                await ends.listening.said("cut off bob")
                assert f"localhost:{kept.port} of alice" in await ends.listening.said("cut off alice")
                await ends.connecting.said("no longer forwards", str(ends.ports[3]))
                await other.said("the token is not known here")
                for client in (*clients, bobs):
                    client.socket.close()


async def test_a_new_token_with_new_rules_leaves_nothing_of_the_old_ones(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    with trio.fail_after(LIMIT):
        old = await new_user(file, "alice")
        async with Server(echo) as target, started("listen", "0", "--tokens", str(file)) as listening:
            port = await listening.port("listening on")
            place = {"host": "127.0.0.1", "port": target.port}
            async with admitted(port, token=old) as before:
                slow, answer = await tell(before, Purpose.CONNECT, place)
                assert answer == {}
                new = await new_user(file, "alice", "--replace", "--allow", "localhost:1")
                await reload(listening, AGAIN)
                await listening.said("cut off alice")
                async with admitted(port, token=new) as after:  # while the old session may still be dying
                    _, answer = await tell(after, Purpose.CONNECT, place)
                    assert answer["error"] == "forbidden"
                    assert "localhost:1 of alice" in answer["reason"]
                slow.reset()


async def test_the_last_user_is_revoked_and_the_door_stays_shut(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    with trio.fail_after(LIMIT):
        token = await new_user(file, "alice")
        async with tunnel("-L", "0:localhost:1", listen=("--tokens", str(file)), token=token) as ends:
            assert (await run("token", "revoke", "alice", "--file", str(file)))[0] == 0
            await reload(ends.listening, AGAIN)
            await ends.connecting.said("the token is not known here")
            assert not (await ends.listening.snapshot())["sessions"]


async def test_revoked_means_at_once(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    reached: list[trio.SocketStream] = []

    async def note(stream: trio.SocketStream) -> None:
        reached.append(stream)

    with trio.fail_after(LIMIT):
        token = await new_user(file, "alice")
        async with Server(note) as target, started("listen", "0", "--tokens", str(file)) as listening:
            async with admitted(await listening.port("listening on"), token=token) as session:
                silent = [await session.open_stream(stream_type=Purpose.CONNECT) for _ in range(3)]
                opening = pack({"host": "127.0.0.1", "port": target.port})
                half = await session.open_stream(stream_type=Purpose.CONNECT)
                await half.send_all(opening[:10])
                bound = {"host": "127.0.0.1", "port": 0, "forward": 0}
                control, answer = await tell(session, Purpose.LISTEN, bound)
                port = answer["port"]
                assert (await run("token", "revoke", "alice", "--file", str(file)))[0] == 0
                await reload(listening, AGAIN)
                for stream, rest in ((half, opening[10:]), *((one, opening) for one in silent)):
                    with suppress(trio.BrokenResourceError):  # the session has ended by now
                        await stream.send_all(rest)
                        answer, _ = await receive_message(stream)
                        assert answer["error"] == "forbidden"
                with pytest.raises(OSError, match=r"refused|failed"):
                    await trio.open_tcp_stream("127.0.0.1", port)
                with suppress(trio.BrokenResourceError):
                    answer, _ = await receive_message(control)
                    assert answer["error"] == "forbidden"
            assert not reached


async def fingerprint(port: int) -> str:
    """The certificate that is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=context)
    try:
        await stream.do_handshake()
        shown = stream.getpeercert(binary_form=True)
    finally:
        await trio.aclose_forcefully(stream)
    return ssl.DER_cert_to_PEM_cert(shown)


async def test_certificates_of_a_configuration(tmp_path: Path) -> None:
    config = tmp_path / "listen.toml"
    config.write_text('[listen]\naddress = "127.0.0.1:0"\n[listen.tls]\ncert = "cert.pem"\nkey = "key.pem"\n')
    cert = tmp_path / "cert.pem"
    with trio.fail_after(LIMIT):
        assert (await run("keygen", str(tmp_path)))[0] == 0
        async with Server(echo) as target, started("listen", "--config", str(config)) as listening:
            port = await listening.port("listening on")
            trust = "--tls-ca", str(cert), "-L", f"0:localhost:{target.port}"
            async with started("connect", f"localhost:{port}", *trust) as connecting:
                client = await connected(await connecting.port("forwarding"))
                before = await fingerprint(port)
                key = (tmp_path / "key.pem").read_text()
                (tmp_path / "key.pem").write_text("no key")
                await reload(listening, BEFORE)
                assert await fingerprint(port) == before
                (tmp_path / "key.pem").write_text(key)
                assert (await run("keygen", str(tmp_path), "--force"))[0] == 0
                await reload(listening, AGAIN)
                assert (await fingerprint(port)).split() == cert.read_text().split() != before.split()
                await ping(client)
                client.socket.close()
                async with started("connect", f"localhost:{port}", *trust) as with_the_new_one:
                    (await connected(await with_the_new_one.port("forwarding"))).socket.close()


async def test_forwards_of_a_configuration(tmp_path: Path) -> None:
    config = tmp_path / "connect.toml"
    with trio.fail_after(LIMIT):
        async with Server(echo) as target, started("listen", "0") as listening:
            head = f'[connect]\nserver = "127.0.0.1:{await listening.port("listening on")}"\n[forwards]\n'

            def forward(name: str) -> str:
                return f'{name} = {{ type = "local", listen = "127.0.0.1:0", target = "localhost:{target.port}" }}\n'

            config.write_text(head + forward("one") + forward("two"))
            async with started("connect", "--config", str(config)) as connecting:
                ports = [await connecting.port("forwarding", times=number) for number in (1, 2)]
                clients = [await connected(port) for port in ports]
                for broken in (head + forward("one") + "two = 7\n", head):  # the second leaves nothing to forward
                    config.write_text(broken)
                    await reload(connecting, BEFORE)
                for port in ports:
                    (await connected(port)).socket.close()
                config.write_text(head + forward("one") + forward("three"))
                await reload(connecting, AGAIN)
                await connecting.said("no longer forwarding", "two")
                for client in clients:  # those of a forward that is gone finish
                    await ping(client)
                    client.socket.close()
                found = {
                    one["name"]: int(one["bind"].rpartition(":")[2])
                    for one in (await connecting.snapshot())["forwards"]
                }
                assert found["one"] == ports[0]
                for port in found.values():
                    (await connected(port)).socket.close()
                assert set(found) == {"one", "three"}
                # To ask by connecting could find somebody else's new port there.
                bound = {one.ports[0] for one in tcp_sockets_of(connecting.process.pid) if one.listens}
                assert bound == set(found.values())


async def test_forwards_that_change_before_there_is_a_session(tmp_path: Path) -> None:
    config = tmp_path / "connect.toml"
    with trio.fail_after(LIMIT):
        async with Server(echo) as target:
            port = free_port()
            head = f'[connect]\nserver = "127.0.0.1:{port}"\n[forwards]\n'

            def forward(name: str, kind: str) -> str:
                return f'{name} = {{ type = "{kind}", listen = "127.0.0.1:0", target = "localhost:{target.port}" }}\n'

            config.write_text(head + forward("gone", "remote") + forward("left", "local"))
            async with started("connect", "--config", str(config)) as connecting:
                await connecting.said("trying again")
                config.write_text(head + forward("new", "remote") + forward("here", "local"))
                await reload(connecting, AGAIN)
                async with started("listen", str(port)):
                    found = await connecting.until(lambda found: bool(found["ready"]))
                    assert {one["name"] for one in found["forwards"]} == {"new", "here"}
                    for one in found["forwards"]:
                        (await connected(int(one["bind"].rpartition(":")[2]))).socket.close()
                    assert await connecting.stop() == 0
                    assert "error" not in connecting.text
