"""dig and dnsmasq through forwarded UDP, and the datagrams themselves."""

from __future__ import annotations

import itertools
import os
import socket
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trio

from ..program import free_port
from ._programs import HOST, Done, require, run, serving
from ._tunnel import tunnel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

NAMES = 60
PIECES = [f"{number:02}" + "x" * 238 for number in range(16)]
"""TXT records of one name: 4 KB."""

_sources = itertools.count(1)

EITHER_END = pytest.mark.parametrize("option", ["-L", "-R"])


@pytest.fixture(scope="module")
def dns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server that knows h0.test and so on, and big.test."""
    require("dnsmasq-base bind9-dnsutils", "dnsmasq", "dig")
    folder, port = tmp_path_factory.mktemp("dns"), free_port()
    config = folder / "dnsmasq.conf"
    options = [
        f"port={port}",
        f"listen-address={HOST}",
        "bind-interfaces",
        "no-resolv",
        "local=/test/",
        "no-hosts",
        "edns-packet-max=4096",
        "user=root" if os.geteuid() == 0 else "",
        *(f"host-record=h{number}.test,10.0.0.{number}" for number in range(NAMES)),
        *(f"txt-record=big.test,{piece}" for piece in PIECES),
    ]
    config.write_text("\n".join(options))
    with serving(["dnsmasq", "--keep-in-foreground", "--pid-file=", "-C", str(config)], folder / "log", port=port):
        yield port


async def dig(port: int, *arguments: str) -> Done:
    """An answer from what listens at the port; one try, since nothing may be lost."""
    # From an address that no other has, since two at once may pick the same port, and get each other's answers.
    source = f"127.0.{next(_sources)}.1"
    return await run("dig", "-r", "-b", source, f"@{HOST}", "-p", str(port), "+tries=1", "+time=10", *arguments)


@EITHER_END
async def test_answers_small_and_large(dns: int, option: str) -> None:
    port = free_port()
    target = f"{port}:{HOST}:{dns}"
    async with tunnel(option, f"{target}/udp", option, target) as ends:
        assert (await dig(port, "+short", "h7.test")).out == "10.0.0.7\n"
        assert "status: NXDOMAIN" in (await dig(port, "nothing.test")).out
        large = await dig(port, "+bufsize=4096", "+ignore", "+notcp", "big.test", "TXT")
        assert "flags: qr aa rd ra;" in large.out  # not truncated
        assert all(f'"{piece}"' in large.out for piece in PIECES)
        assert "(UDP)" in large.out
        # Without EDNS, the answer does not fit; dig then asks the same port by TCP.
        again = await dig(port, "+noedns", "big.test", "TXT")
        assert "Truncated, retrying in TCP mode" in again.out
        assert all(f'"{piece}"' in again.out for piece in PIECES)
        flows = {forward["kind"]: forward["total"] for forward in (await ends.status())["forwards"]}
        assert flows == {"udp": 4, "tcp": 1}


async def test_many_queries_at_once(dns: int) -> None:
    answers: dict[int, str] = {}
    async with tunnel("-L", f"0:{HOST}:{dns}/udp") as ends:

        async def ask(number: int) -> None:
            answers[number] = (await dig(ends.port, "+short", f"h{number}.test")).out

        async with trio.open_nursery() as nursery:
            for number in range(NAMES):
                nursery.start_soon(ask, number)
        assert answers == {number: f"10.0.0.{number}\n" for number in range(NAMES)}
        [forward] = (await ends.status())["forwards"]
        assert forward["total"] == NAMES
        assert forward["failed"] == 0


class Echo(NamedTuple):
    port: int
    senders: set[object]
    """Whom datagrams have come from."""


@asynccontextmanager
async def echoing() -> AsyncIterator[Echo]:
    """A server that sends every datagram back."""
    with trio.socket.socket(type=socket.SOCK_DGRAM) as server:
        await server.bind((HOST, 0))
        senders: set[object] = set()

        async def serve() -> None:
            while True:
                datagram, address = await server.recvfrom(65_535)
                senders.add(address)
                await server.sendto(datagram, address)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            yield Echo(server.getsockname()[1], senders)
            nursery.cancel_scope.cancel()


@EITHER_END
async def test_datagrams_keep_their_boundaries(option: str) -> None:
    sizes = (0, 1, 2, 3, 255, 256, 512, 1472, 1473, 9000, 32_768, 60_000)
    # A few of the largest fill the kernel's buffer of a socket, and the next one is lost, as UDP has it.
    alone = trio.Lock()
    async with echoing() as echo, tunnel(option, f"0:{HOST}:{echo.port}/udp") as ends:

        async def exchange() -> None:
            with trio.socket.socket(type=socket.SOCK_DGRAM) as client:
                await client.connect((HOST, ends.port))
                for size in sizes:
                    datagram = os.urandom(size)
                    async with alone if size > 1500 else nullcontext():
                        await client.send(datagram)
                        assert await client.recv(65_535) == datagram
                # Several on the way at once: each comes alone, and in order.
                burst = [os.urandom(100 + number) for number in range(20)]
                for datagram in burst:
                    await client.send(datagram)
                assert [await client.recv(65_535) for _ in burst] == burst

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(exchange)
        assert len(echo.senders) == 8  # the target, too, can tell the clients apart
        [forward] = (await ends.status())["forwards"]
        assert forward["total"] == 8
        assert forward["failed"] == 0


async def test_nobody_at_the_target_costs_only_the_datagrams() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as closed:
        closed.bind((HOST, 0))
        port = closed.getsockname()[1]
    async with tunnel("-L", f"0:{HOST}:{port}/udp") as ends:
        with trio.socket.socket(type=socket.SOCK_DGRAM) as client, trio.socket.socket(type=socket.SOCK_DGRAM) as server:
            await client.connect((HOST, ends.port))
            for _ in range(3):
                await client.send(b"lost")
            await server.bind((HOST, port))
            while True:  # from some datagram on they arrive, by the same flow
                await client.send(b"found")
                with trio.move_on_after(0.2):
                    datagram, address = await server.recvfrom(100)
                    if datagram == b"found":
                        break
            await server.sendto(b"answer", address)
            assert await client.recv(100) == b"answer"
        assert (await ends.status())["forwards"][0]["total"] == 1
