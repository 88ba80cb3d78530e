"""What is refused: targets, ports, places; each with its reason."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio

from muxpy_cli.wire import Purpose
from tests.helpers.tasks import LIMIT

from ..program import Server, closed_port, echo
from .ends import admitted, connected, how_it_ends, started, tell, tunnel

if TYPE_CHECKING:
    from .ends import Ends


async def refused(port: int) -> None:
    """A connection to a forwarded port is reset, without a byte."""
    try:
        client = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError:  # so soon that connecting has failed already
        return
    assert await how_it_ends(client) == "reset"
    client.socket.close()


async def socks_code(ends: Ends, host: str, port: int, index: int = 0) -> int:
    """What a SOCKS5 client is answered that asks for a name."""
    async with await trio.open_tcp_stream("127.0.0.1", ends.ports[index]) as client:
        name = host.encode()
        await client.send_all(b"\5\1\0" + b"\5\1\0\3" + bytes([len(name)]) + name + port.to_bytes(2, "big"))
        data = b""
        while len(data) < 4:
            chunk = await client.receive_some()
            assert chunk, data
            data += chunk
        assert data[:3] == b"\5\0\5"
        return data[3]


async def test_refused_targets_close_the_connection_and_give_the_right_socks_code() -> None:
    with trio.fail_after(LIMIT), closed_port() as nobody:
        async with (
            Server(echo) as target,
            tunnel("-L", f"0:localhost:{nobody}", "-L", "0:192.0.2.1:80", "-D", "0") as ends,
        ):
            await refused(ends.ports[0])
            await ends.connecting.said("cannot reach localhost", "connection refused")
            await refused(ends.ports[1])
            await ends.connecting.said("does not allow it: 192.0.2.1:80 is not in allow = 127.0.0.0/8:*, [::1]:*")
            assert await socks_code(ends, "localhost", target.port, 2) == 0
            assert await socks_code(ends, "localhost", nobody, 2) == 5
            assert await socks_code(ends, "192.0.2.1", 80, 2) == 2
            assert await socks_code(ends, "nothing.invalid", 80, 2) == 4


async def test_the_target_of_a_reverse_proxy_is_named() -> None:
    with trio.fail_after(LIMIT), closed_port() as nobody:
        async with Server(echo) as target, tunnel("-R", "0", connect=("-v",)) as ends:
            await ends.connecting.said("forwarding", "-> what this end reaches (socks)")
            assert await socks_code(ends, "localhost", target.port) == 0
            await ends.connecting.said(f"to localhost:{target.port} has ended")
            assert await socks_code(ends, "localhost", nobody) == 5
            await ends.connecting.said(f"cannot reach localhost:{nobody}")


async def test_what_a_proxy_s_client_asked_for_is_named_where_there_is_no_session() -> None:
    with trio.fail_after(LIMIT):
        async with tunnel("-D", "0", connect=("--connect-wait", "0.1")) as ends:
            ends.listening.process.kill()
            await ends.connecting.said("trying again")
            assert await socks_code(ends, "db.example", 5432) == 1
            await ends.connecting.said("connection to db.example:5432: no session with")


ELSEWHERE = [
    "0.0.0.0",
    "::",
    "::ffff:0.0.0.0",
    "::ffff:192.0.2.1",
    "192.0.2.1",
    "3221225985",  # 192.0.2.1, decimal
    "0300.0.2.1",  # octal
    "0xc0000201",
    "192.513",
    "127.0.0.2",
    "2130706434",  # 127.0.0.2
    "0177.0.0.2",
    "127.2",
    "::ffff:127.0.0.2",
    "::ffff:7f00:2",
    "::2",
    "64:ff9b::7f00:1",
    "localhost.example.invalid",
]


@pytest.mark.parametrize("rule", ["127.0.0.1", "trusted.example"])
async def test_targets_off_the_list_are_refused_however_they_are_written(rule: str) -> None:
    """By an address, which is what counts, and by a name, which no number is."""
    with trio.fail_after(LIMIT):
        async with Server(echo) as target, started("listen", "0", "--allow", f"{rule}:{target.port}") as listening:
            port = await listening.port("listening on")
            async with admitted(port) as session:
                for host in ELSEWHERE:
                    _, answer = await tell(session, Purpose.CONNECT, {"host": host, "port": target.port})
                    if answer["error"] == "unresolved":  # it is a name here: that leads nowhere either
                        assert host in answer["reason"]
                        continue
                    assert answer["error"] == "forbidden", (host, answer)
                    assert f"is not in allow = {rule}:{target.port}" in answer["reason"]
                for host in ("127.0.0.1", "::ffff:127.0.0.1", "2130706433", "localhost"):
                    _, answer = await tell(session, Purpose.CONNECT, {"host": host, "port": target.port})
                    assert (answer == {}) == (rule == "127.0.0.1"), (host, answer)
                _, answer = await tell(session, Purpose.CONNECT, {"host": "127.0.0.1", "port": target.port ^ 1})
                assert answer["error"] == "forbidden"
                for path in ("/run/docker.sock", "/../etc/passwd", "x", "/tmp/\ud800"):
                    try:
                        _, answer = await tell(session, Purpose.CONNECT, {"unix": path})
                    except trio.BrokenResourceError:
                        assert not path.isprintable()
                        continue
                    assert answer["error"] == "forbidden"


async def test_remote_ports_that_are_full_or_forbidden_end_the_client_with_the_reason() -> None:
    with trio.fail_after(LIMIT), socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        rules = "--allow-bind", f"127.0.0.1:{port}", "--allow-bind", "127.0.0.1:0"
        async with started("listen", "0", *rules) as listening:
            address = f"127.0.0.1:{await listening.port('listening on')}"
            cases = [
                (f"{port}:localhost:1", 1, "address already in use"),
                (f"{port ^ 1}:localhost:1", 3, f"127.0.0.1:{port ^ 1} is not in allow-bind = 127.0.0.1:{port}"),
                ("*:0:localhost:1", 3, "*:0 is not in allow-bind"),
                ("0.0.0.0:0:localhost:1", 3, "0.0.0.0:0 is not in allow-bind"),
                ("[::]:0:localhost:1", 3, "[::]:0 is not in allow-bind"),
                ("127.0.0.2:0:localhost:1", 3, "127.0.0.2:0 is not in allow-bind"),
                ("/tmp/muxpy-no.sock:localhost:1", 3, "unix:/tmp/muxpy-no.sock is not in allow-bind"),
            ]

            async def try_one(spec: str, code: int, reason: str) -> None:
                async with started("connect", address, "-R", spec) as connecting:
                    assert await connecting.code() == code, connecting.text
                    assert reason in connecting.text
                    assert connecting.text.count("muxpy: ") == 1

            async with trio.open_nursery() as nursery:
                for case in cases:
                    nursery.start_soon(try_one, *case)


async def test_a_port_of_the_systems_choice_stays_when_only_any_port_is_allowed() -> None:
    """The rule allows port 0, and not the number that it has become: which is asked for after a reconnect."""
    with trio.fail_after(LIMIT):
        async with started("listen", "0", "--allow-bind", "127.0.0.1:0") as listening:
            port = await listening.port("listening on")
            async with admitted(port, client="one") as one, admitted(port, client="one") as again:
                any_port = {"host": "127.0.0.1", "port": 0, "forward": 0}
                _, answer = await tell(one, Purpose.LISTEN, any_port)
                same = {**any_port, "port": answer["port"]}
                assert (await tell(again, Purpose.LISTEN, same))[1] == answer
                async with admitted(port, client="two") as two:
                    assert (await tell(two, Purpose.LISTEN, same))[1]["error"] == "forbidden"


async def test_a_listening_end_that_allows_any_port_only_gives_another_one_after_a_restart() -> None:
    with trio.fail_after(LIMIT):
        rule = "--allow-bind", "127.0.0.1:0"
        async with Server(echo) as target, tunnel("-R", f"0:localhost:{target.port}", listen=rule) as ends:
            ends.listening.process.kill()
            await ends.connecting.said("trying again")
            async with started("listen", str(ends.port), *rule):
                port = await ends.connecting.port("forwarding", "again")
                (await connected(port)).socket.close()


async def test_a_place_by_a_name_is_looked_up_only_if_a_rule_could_allow_it() -> None:
    """And the refusal does not tell where the name leads: numbers as inet_aton(3) has them are looked up, too."""
    rules = "--allow-bind", "127.0.0.1:8000-8099", "--allow-bind", "192.0.2.0/24:8000"
    with trio.fail_after(LIMIT):
        async with started("listen", "0", *rules) as listening, admitted(await listening.port("listening on")) as one:

            async def refusal(host: str, port: int) -> tuple[str, str]:
                _, answer = await tell(one, Purpose.LISTEN, {"host": host, "port": port, "forward": 0})
                return answer["error"], answer["reason"]

            assert await refusal("nothing.invalid", 80) == (
                "forbidden",
                f"nothing.invalid:80 is not in allow-bind = {', '.join(rules[1::2])}",
            )
            assert (await refusal("nothing.invalid", 8000))[0] == "unresolved"
            error, reason = await refusal("2130706434", 8000)  # 127.0.0.2
            assert error == "forbidden"
            assert reason.startswith("2130706434:8000 is not in allow-bind")
            error, reason = await refusal("3221226219", 8000)  # 192.0.2.235, which is not here
            assert error == "in use"
            assert reason.startswith("cannot listen on 3221226219:8000: ")
