"""Off loopback, nobody is let in unseen or unknown: not by what a service manager has bound, and not by a reload."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from muxpy_cli._errors import Failure
from muxpy_cli._options import ListenOptions
from muxpy_cli.access import ServerTls, User
from muxpy_cli.net import Bound
from muxpy_cli.server import Server
from muxpy_cli.server._server import check_bound
from muxpy_cli.specs import Address
from muxpy_cli.view import Console

PLAIN = ListenOptions(address=Address("127.0.0.1", 0))


def bound(host: str) -> Bound:
    return Bound([socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)])


TLS = replace(PLAIN, tls=ServerTls(cert=Path("cert.pem")))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [(PLAIN, "other machines can reach 0.0.0.0:"), (TLS, "anybody who can reach 0.0.0.0:")],
)
def test_what_is_really_bound_counts(options: ListenOptions, complaint: str) -> None:
    everywhere, here = bound("0.0.0.0"), bound("127.0.0.1")
    with pytest.raises(Failure, match=complaint):
        check_bound(options, everywhere)
    for harmless in (
        (options, here),
        (replace(options, insecure=True), everywhere),
        (replace(TLS, tokens=Path("tokens.toml")), everywhere),
        (replace(TLS, users=(User(name="alice"),)), everywhere),
        (replace(TLS, tls=ServerTls(cert=Path("cert.pem"), client_ca=Path("ca.pem"))), everywhere),
    ):
        check_bound(*harmless)
    everywhere.close()
    here.close()


async def test_a_reload_cannot_take_the_protection_away() -> None:
    everywhere = bound("0.0.0.0")
    for one in everywhere.sockets:
        one.setblocking(False)
    server = Server(replace(PLAIN, insecure=True), Console())
    server.listen_on(everywhere)
    started = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run, started.set)
        await started.wait()
        with pytest.raises(Failure, match="other machines can reach"):
            await server.reload(PLAIN)
        await server.drain()


async def test_sockets_of_a_service_manager_are_looked_at() -> None:
    server = Server(PLAIN, Console())
    everywhere = bound("0.0.0.0")
    server.listen_on(everywhere)
    with pytest.raises(Failure, match="other machines can reach"):
        await server.run(lambda: None)
    everywhere.close()
