"""Sessions with the live Go peer over TLS."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trio
import trustme

import muxpy
from tests.helpers.content import named
from tests.helpers.tasks import LIMIT
from tests.interop.gopeer import GoPeer, GoPeerError
from tests.interop.link import QUIET, check_usable, open_by, sha256

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from tests.interop.link import Role

pytestmark = [pytest.mark.live_peer, pytest.mark.usefixtures("go_program")]


class Tls(NamedTuple):
    """A certificate for localhost: contexts for muxpy, files for Go."""

    client: ssl.SSLContext
    server: ssl.SSLContext
    go_listens: tuple[str, ...]
    go_dials: tuple[str, ...]


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    """Made for this test."""
    return make_tls(tmp_path)


def make_tls(folder: Path) -> Tls:
    ca = trustme.CA()
    cert = ca.issue_cert("localhost")
    client, server = ssl.create_default_context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.configure_trust(client)
    cert.configure_cert(server)
    folder.mkdir(exist_ok=True)
    files = {name: str(folder / f"{name}.pem") for name in ("ca", "chain", "key")}
    ca.cert_pem.write_to_path(files["ca"])
    for index, blob in enumerate(cert.cert_chain_pems):
        blob.write_to_path(files["chain"], append=index > 0)
    cert.private_key_pem.write_to_path(files["key"])
    return Tls(
        client,
        server,
        ("-tls-cert", files["chain"], "-tls-key", files["key"]),
        ("-tls-ca", files["ca"], "-tls-name", "localhost"),
    )


@asynccontextmanager
async def linked_by_tls(
    role: Role, tls: Tls, *go_options: str, config: muxpy.SessionConfig | None = None
) -> AsyncGenerator[tuple[muxpy.Session, GoPeer], None]:
    with trio.fail_after(LIMIT):
        if role == "client":
            async with (
                GoPeer.listen(*tls.go_listens, *go_options) as peer,
                muxpy.open_tcp_session(
                    peer.host, peer.port, ssl_context=tls.client, server_hostname="localhost", config=config
                ) as session,
            ):
                yield session, peer
        else:
            async with (
                serving(tls, config) as (port, sessions),
                GoPeer.dial("127.0.0.1", port, *tls.go_dials, *go_options) as peer,
                await sessions.receive() as session,
            ):
                yield session, peer


@asynccontextmanager
async def serving(
    tls: Tls, config: muxpy.SessionConfig | None = None
) -> AsyncGenerator[tuple[int, trio.MemoryReceiveChannel[muxpy.Session]], None]:
    """A muxpy server over TLS: its port, and the sessions that come, each open until the block is left."""
    send, receive = trio.open_memory_channel[muxpy.Session](10)

    async def handle(session: muxpy.Session) -> None:
        await send.send(session)
        await session.wait()

    serve = partial(muxpy.serve_tcp_sessions, handle, 0, host="127.0.0.1", ssl_context=tls.server, config=config)
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(serve)
        yield listener.socket.getsockname()[1], receive
        nursery.cancel_scope.cancel()


async def test_traffic_both_ways(role: Role, tls: Tls) -> None:
    size = 4 << 20
    async with linked_by_tls(role, tls) as (session, peer):
        await check_usable(session, peer)
        stream = await open_by("go", session, peer)
        data, sums = named("data", size), list[str]()

        async def read_in_go() -> None:
            sums.append((await peer.call("read_all", stream=stream.id))["sha256"])

        async def write_in_go() -> None:
            sums.append((await peer.call("write_random", stream=stream.id, size=size, seed=1, fin=True))["sha256"])

        async def send() -> None:
            await stream.send_all(data)
            await stream.send_eof()

        async with trio.open_nursery() as nursery:
            for task in (send, read_in_go, write_in_go):
                nursery.start_soon(task)
            received = b"".join([chunk async for chunk in stream])

        assert sorted(sums) == sorted([sha256(data), sha256(received)])
        assert len(received) == size


async def test_the_close_of_go_is_a_clean_end(role: Role, tls: Tls) -> None:
    async with linked_by_tls(role, tls, "-no-heartbeat", config=QUIET) as (session, peer):
        await check_usable(session, peer)
        await peer.call("session_close")

        end = await session.wait()
        assert (end.code, end.error, end.remote_code) == (0, None, 0)


async def test_our_close_reaches_go(role: Role, tls: Tls) -> None:
    async with linked_by_tls(role, tls) as (session, peer):
        session.go_away(0, b"good bye")
        await session.aclose()

        end = await peer.call("wait")
        assert (end["err"], end["debug"]) == ("EOF", b"good bye")


async def test_muxpy_does_not_talk_to_a_go_peer_whose_certificate_it_cannot_check(tls: Tls, tmp_path: Path) -> None:
    other = make_tls(tmp_path / "other")
    with trio.fail_after(LIMIT):
        async with GoPeer.listen(*tls.go_listens) as peer:
            with pytest.raises(ssl.SSLCertVerificationError):
                async with muxpy.open_tcp_session(
                    peer.host, peer.port, ssl_context=other.client, server_hostname="localhost"
                ):
                    raise AssertionError("a session with a stranger")


async def test_a_go_client_that_mistrusts_us_does_not_stop_the_server(tls: Tls, tmp_path: Path) -> None:
    other = make_tls(tmp_path / "other")
    with trio.fail_after(LIMIT):
        async with serving(tls) as (port, sessions):
            with pytest.raises(GoPeerError, match="certificate signed by unknown authority"):
                async with GoPeer.dial("127.0.0.1", port, *other.go_dials):
                    raise AssertionError("a session with a stranger")

            async with (
                GoPeer.dial("127.0.0.1", port, *tls.go_dials) as peer,
                await sessions.receive() as session,
            ):
                await check_usable(session, peer)
