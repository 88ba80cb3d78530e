"""A flood of made-up senders: UDP has its share, and what else the client forwards goes on."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
import trio

from muxpy_cli.entrances import FLOWS
from tests.helpers.tasks import LIMIT

from ..program import Server, echo, free_port
from ._programs import HOST, muxpy
from ._tunnel import started, tunnel

if TYPE_CHECKING:
    from pathlib import Path

FLOOD = 1300
"""More than the 1,024 streams that a session may have."""

EITHER_END = pytest.mark.parametrize("option", ["-L", "-R"])


async def flood(port: int, count: int) -> None:
    """So many datagrams from a port each. Slowly enough that few are lost on the way in."""
    senders = []
    for _ in range(count):
        senders.append(trio.socket.socket(type=socket.SOCK_DGRAM))
        await senders[-1].sendto(b"x", (HOST, port))
        await trio.sleep(0.001)
    for sender in senders:
        sender.close()


async def check_echo(port: int) -> None:
    """A connection through the tunnel works."""
    async with await trio.open_tcp_stream(HOST, port) as stream:
        await stream.send_all(b"ping")
        assert await stream.receive_some(10) == b"ping"


async def test_connections_go_on_beside_a_flood_of_senders() -> None:
    silent = socket.socket(type=socket.SOCK_DGRAM)
    silent.bind((HOST, 0))
    with silent:
        async with Server(echo) as target:
            forwards = ("-L", f"0:{HOST}:{silent.getsockname()[1]}/udp", "-L", f"0:{HOST}:{target.port}")
            async with tunnel(*forwards) as ends:
                await flood(ends.ports[0], FLOOD)
                await check_echo(ends.ports[1])
                status = await ends.status()
                flows = next(one for one in status["forwards"] if one["kind"] == "udp")
                assert flows["total"] > FLOWS  # they came through, each in the place of another
                assert 0 < flows["connections"] <= FLOWS
                asked = await socket_pair(silent, ends.ports[0])
                assert asked == b"the last one is served"


async def socket_pair(target: socket.socket, port: int) -> bytes:
    """Ask through a new flow, and answer; what comes back."""
    near = trio.socket.from_stdlib_socket(target.dup())
    with near, trio.socket.socket(type=socket.SOCK_DGRAM) as client, trio.fail_after(LIMIT):
        await client.connect((HOST, port))
        while True:  # a flood may leave no place for a moment
            await client.send(b"question")
            with trio.move_on_after(1):
                datagram, address = await near.recvfrom(100)
                while datagram != b"question":
                    datagram, address = await near.recvfrom(100)
                await near.sendto(b"the last one is served", address)
                return await client.recv(100)


async def test_flows_are_connections_of_the_user_and_leave_some_to_others(tmp_path: Path) -> None:
    file = str(tmp_path / "tokens.toml")
    token = (await muxpy("token", "new", "alice", "--file", file, "--max-streams", "12")).out.strip()
    silent = socket.socket(type=socket.SOCK_DGRAM)
    silent.bind((HOST, 0))
    with silent:
        async with Server(echo) as target:
            forwards = ("-R", f"0:{HOST}:{silent.getsockname()[1]}/udp", "-R", f"0:{HOST}:{target.port}")
            async with tunnel(*forwards, listen=("--tokens", file), MUXPY_TOKEN=token) as ends:
                await flood(ends.ports[0], 60)
                [session] = (await ends.status(listening=True))["sessions"]
                assert 0 < session["streams"] <= 3  # a quarter
                held = [await trio.open_tcp_stream(HOST, ends.ports[1]) for _ in range(9)]
                for stream in held:
                    await stream.send_all(b"ping")
                    assert await stream.receive_some(10) == b"ping"
                for stream in held:
                    await stream.aclose()


async def test_a_datagram_without_a_session_is_counted_and_told_in_words() -> None:
    with trio.fail_after(LIMIT), socket.socket(type=socket.SOCK_DGRAM) as closed:
        closed.bind((HOST, 0))
        arguments = "-L", f"{HOST}:{free_port()}:{HOST}:9/udp", "--connect-wait", "300ms"
        async with started("connect", f"{HOST}:1", *arguments) as connecting:
            await connecting.line("trying again")
            forward = await only_forward(connecting.process.pid)
            with socket.socket(type=socket.SOCK_DGRAM) as client:
                client.sendto(b"lost", (HOST, int(forward["bind"].split(":")[1].split("/")[0])))
                line = await connecting.line("no session")
            assert "internal error" not in connecting.output
            assert "127.0.0.1:9" in line
            forward = await only_forward(connecting.process.pid)
            assert [forward["total"], forward["failed"]] == [1, 1]


async def only_forward(pid: int) -> dict[str, Any]:
    [forward] = json.loads((await muxpy("status", str(pid), "--json")).out)["forwards"]
    found: dict[str, Any] = forward
    return found


@EITHER_END
async def test_answers_come_from_the_address_that_was_asked(option: str) -> None:
    with trio.socket.socket(type=socket.SOCK_DGRAM) as target:
        await target.bind((HOST, 0))
        port = target.getsockname()[1]
        listen = ("--allow-bind", "*:*")
        forward = f"*:0:{HOST}:{port}/udp"
        async with tunnel(option, forward, listen=listen) as ends, trio.open_nursery() as nursery:

            async def serve() -> None:
                while True:
                    datagram, address = await target.recvfrom(100)
                    await target.sendto(datagram + str(address[1]).encode(), address)

            nursery.start_soon(serve)
            [forward_state] = (await ends.status(listening=option == "-R"))["forwards"]
            bound = int(forward_state["bind"].split(",")[0].split("/")[0].rpartition(":")[2])
            with trio.socket.socket(type=socket.SOCK_DGRAM) as client:
                await client.bind(("0.0.0.0", 0))
                flows = set()
                for host in ("127.0.0.2", "127.0.0.3", "127.0.0.2"):
                    await client.sendto(b"asked ", (host, bound))
                    answer, address = await client.recvfrom(100)
                    assert address == (host, bound)
                    flows.add((host, answer))
                assert len(flows) == 2  # one for each address that was asked, and kept
            nursery.cancel_scope.cancel()
