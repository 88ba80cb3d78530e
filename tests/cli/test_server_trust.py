"""What the listening end says of clients whose certificates, or whose idea of its own, do not fit."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import trio

from muxpy_cli._errors import Failure
from muxpy_cli._options import ConnectOptions, ListenOptions, Output
from muxpy_cli.access import ClientTls, ServerTls, make_keys
from muxpy_cli.client import log_in
from muxpy_cli.net import bind_streams
from muxpy_cli.server import Server
from muxpy_cli.server._turned_away import Tally, is_about_trust, why_no_handshake
from muxpy_cli.specs import Address
from muxpy_cli.view import Console
from tests.helpers.tasks import LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

LOOPBACK = Address("127.0.0.1", 0)


def keys(folder: Path) -> dict[str, Path]:
    """A self-signed certificate, and its key."""
    make_keys(folder, ("127.0.0.1",))
    return {"cert": folder / "cert.pem", "key": folder / "key.pem"}


@asynccontextmanager
async def listening(tls: ServerTls) -> AsyncIterator[tuple[int, Console]]:
    """A listening end: its port, and what it says."""
    console = Console(Output(verbosity=-1))
    bound = await bind_streams(LOOPBACK)
    end = Server(ListenOptions(address=LOOPBACK, tls=tls), console)
    end.listen_on(bound)
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            started = trio.Event()
            nursery.start_soon(end.run, started.set)
            await started.wait()
            yield bound.port, console
            nursery.cancel_scope.cancel()


async def said(console: Console, lines: int) -> str:
    """Wait for so many lines, and no more; the last one."""
    while len(console.events) < lines:  # noqa: ASYNC110 - it is another task that says them
        await trio.sleep(0.01)
    assert len(console.events) == lines, console.events
    return console.events[-1].text


async def stranger(port: int, says: bytes) -> None:
    """Say something, and read to the end."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(says)
            await stream.send_eof()
            async for _ in stream:
                pass


async def check_health(port: int) -> None:
    """A TLS handshake, and no more."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        tls = trio.SSLStream(stream, context)
        await tls.do_handshake()


async def what_is_said(server: ServerTls, client: ClientTls) -> str:
    """What a listening end says of that client, when it has said something of strangers already."""
    async with listening(server) as (port, console):
        await stranger(port, b"GET / HTTP/1.0\r\n\r\n")  # of whom one is told, and the others are counted
        await said(console, 1)
        with pytest.raises(Failure):
            async with log_in(ConnectOptions(address=Address("127.0.0.1", port), tls=client)):
                pass
        return await said(console, 2)


async def test_health_checks_and_scanners_do_not_fill_the_log(tmp_path: Path) -> None:
    async with listening(ServerTls(**keys(tmp_path))) as (port, console):
        for _ in range(5):
            await check_health(port)
            await stranger(port, b"GET / HTTP/1.0\r\n\r\n")
            await stranger(port, b"\x16\x03\x01\x02\x00\x01")  # as a handshake begins
            await stranger(port, b"")
        await said(console, 2)


@pytest.mark.parametrize(
    ("server", "client", "text"),
    [
        (
            lambda own, _: ServerTls(**own),
            lambda _, other: ClientTls(ca=other["cert"]),
            "the client does not take the certificate here: it knows no CA that has signed it",
        ),
        (
            lambda own, _: ServerTls(**own),
            lambda own, _: ClientTls(ca=own["cert"], name="elsewhere.example"),
            "the client does not take the certificate here: it may know this end by a name that the certificate",
        ),
        (
            lambda own, _: ServerTls(**own),
            lambda *_: ClientTls(fingerprint=bytes(32)),
            "it left: the certificate here is not the one that it was told to expect (--fingerprint)",
        ),
        (
            lambda own, other: ServerTls(**own, client_ca=other["cert"]),
            lambda own, _: ClientTls(ca=own["cert"]),
            "the client shows no certificate (--tls-cert), and --client-ca wants one",
        ),
        (
            lambda own, other: ServerTls(**own, client_ca=other["cert"]),
            lambda own, _: ClientTls(ca=own["cert"], **own),
            "the client's certificate is none that --client-ca stands for: self-signed certificate",
        ),
    ],
    ids=["unknown_ca", "other_name", "other_pin", "no_certificate", "foreign_certificate"],
)
async def test_certificates_that_do_not_fit_are_explained(
    server: Callable[..., ServerTls], client: Callable[..., ClientTls], text: str, tmp_path: Path
) -> None:
    own, other = keys(tmp_path / "own"), keys(tmp_path / "other")
    assert f"was not let in: {text}" in await what_is_said(server(own, other), client(own, other))


def test_alerts_that_are_not_about_certificates_are_told_as_they_are() -> None:
    error = ssl.SSLError(1, "no matter")
    error.reason = "UNSUPPORTED_PROTOCOL"
    assert (is_about_trust(error), why_no_handshake(error)) == (False, "TLS failed: unsupported protocol")


def test_health_checks_do_not_hide_a_client_that_does_not_trust_this_end() -> None:
    console = Console(Output(verbosity=-1))
    tally = Tally(console)
    for _ in range(3):
        tally.add("left", "192.0.2.1:1", "it left without a word")
        tally.add("strange", "192.0.2.1:1", "TLS failed")
        tally.add("untrusted", "192.0.2.2:2", "the client does not take the certificate here")
        tally.add("gave_up", "192.0.2.3:3", "it left: the certificate here is another")
    assert [event.text.partition(" ")[0] for event in console.events] == [
        "192.0.2.1:1",
        "192.0.2.1:1",
        "192.0.2.2:2",
        "192.0.2.3:3",
    ]
