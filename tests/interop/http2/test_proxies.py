"""muxpy's client and server with a proxy between them: nghttpx and HAProxy, which speak HTTP/2 both ways."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import trio

from muxpy import StreamReset, http
from tests.cli.program import free_port
from tests.cli.real import _programs as programs
from tests.helpers.content import named
from tests.helpers.tasks import LIMIT

from .site import HOST, Site, serving, sha256

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from .tls import Tls

pytestmark = pytest.mark.live_peer

MIB = 1 << 20

HAPROXY: Final = """
global
    nbthread 1
    tune.ssl.default-dh-param 2048
defaults
    mode http
    timeout connect 300s
    timeout client 300s
    timeout server 300s
    timeout tunnel 300s
frontend all
    bind {host}:{port} {bind}
    default_backend muxpy
backend muxpy
    server muxpy {host}:{backend} proto h2
"""


def nghttpx(folder: Path, port: int, site: Site, tls: Tls | None) -> Sequence[str]:
    certificates = [] if tls is None else [tls.key, tls.chain]
    return (
        *("nghttpx", "--workers=1", "--single-process", "--conf=/dev/null", "--log-level=WARN", "--no-ocsp"),
        *("--backend", f"{HOST},{site.port};;proto=h2"),
        *("--frontend", f"{HOST},{port}" + (";no-tls" if tls is None else "")),
        *certificates,
    )


def haproxy(folder: Path, port: int, site: Site, tls: Tls | None) -> Sequence[str]:
    bind = "proto h2"
    if tls is not None:
        both = folder / "both.pem"
        both.write_bytes(b"".join(Path(file).read_bytes() for file in (tls.chain, tls.key)))
        bind = f"ssl crt {both} alpn h2"
    config = folder / "haproxy.cfg"
    config.write_text(HAPROXY.format(host=HOST, port=port, bind=bind, backend=site.port))
    return ("haproxy", "-f", str(config), "-db")


PROXIES: Final = {"nghttpx": ("nghttp2-proxy", nghttpx), "haproxy": ("haproxy", haproxy)}


@pytest.fixture(params=PROXIES)
def proxy(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    programs.require(PROXIES[name][0], name)
    return name


@asynccontextmanager
async def through(proxy: str, folder: Path, tls: Tls | None) -> AsyncIterator[tuple[http.Client, Site]]:
    """A client whose requests come to a site by the proxy, with TLS up to there."""
    async with serving() as site:
        port = free_port()
        command = PROXIES[proxy][1](folder, port, site, tls)
        context = None if tls is None else tls.client
        url = f"{'http' if tls is None else 'https'}://{HOST}:{port}"
        # It looks whether the proxy listens without a checkpoint, so the site must not be needed for that.
        with programs.serving(command, folder / f"{proxy}.log", port=port), trio.fail_after(LIMIT):
            async with http.connect(url, ssl_context=context) as client:
                yield client, site


async def test_traffic(proxy: str, tls: Tls | None, tmp_path: Path) -> None:
    async def upload(number: int) -> None:
        data = named(("up", number), 3000 * number)
        async with await client.request("POST", "/hash", body=data) as response:
            assert await response.read() == f"{len(data)} {sha256(data)}\n".encode()

    async def download(number: int) -> None:
        size = 200_000 - 1500 * number
        async with await client.request("GET", f"/bytes?name={number}&size={size}&trailers=1") as response:
            assert sha256(await response.read()) == sha256(named(number, size))
            assert response.trailers == http.Headers({"x-sha256": sha256(named(number, size))})

    # Not at the same time: HAProxy 2.6 stops for ever where full streams of both directions share its connections. And
    # fewer than it allows: it counts a stream for some time after its end.
    async with through(proxy, tmp_path, tls) as (client, site):
        for load in (upload, download):
            async with trio.open_nursery() as nursery:
                for number in range(80):
                    nursery.start_soon(load, number)
        assert len(site.asked) == 160


async def test_megabytes(proxy: str, tls: Tls | None, tmp_path: Path) -> None:
    data = named("a", 8 * MIB)
    async with through(proxy, tmp_path, tls) as (client, _):
        async with await client.request("POST", "/hash", body=data) as response:
            assert await response.read() == f"{len(data)} {sha256(data)}\n".encode()
        async with await client.request("GET", f"/bytes?name=a&size={len(data)}") as response:
            assert sha256(await response.read()) == sha256(data)


async def test_conversations(proxy: str, tls: Tls | None, tmp_path: Path) -> None:
    """Each message comes to the other end before the next one is sent, and trailers come both ways."""

    async def converse(number: int) -> None:
        sent = b""
        async with await client.open("POST", "/echo", {"trailer": "x-before"}) as response:
            for turn in range(20):
                await response.send_all(data := named((number, turn), 1 + turn * 500))
                sent += data
                back = b""
                while len(back) < len(data):
                    back += await response.receive_some()
                assert back == data
            await response.finish({"x-before": str(number)})
            assert await response.read() == b""
            assert response.trailers is not None
            assert dict(response.trailers) == {"x-before": str(number), "x-sha256": sha256(sent)}

    async with through(proxy, tmp_path, tls) as (client, _), trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(converse, number)


async def test_answers_without_a_body_and_those_that_read_none(proxy: str, tls: Tls | None, tmp_path: Path) -> None:
    async with through(proxy, tmp_path, tls) as (client, _):
        for method, path, status in (
            ("HEAD", "/hello", 200),
            ("GET", "/status?is=204", 204),
            ("GET", "/status?is=304", 304),
        ):
            async with await client.request(method, path) as response:
                assert (response.status, await response.read()) == (status, b"")
        for _ in range(3):
            async with await client.request("POST", "/refuse", body=bytes(2 * MIB)) as response:
                assert (response.status, await response.read()) == (413, b"too much\n")


async def test_requests_that_are_given_up(proxy: str, tls: Tls | None, tmp_path: Path) -> None:
    async with through(proxy, tmp_path, tls) as (client, site):
        for number in range(20):
            async with await client.request("GET", f"/hang?name={number}&of=20") as response:
                assert await response.receive_some() == b"begun\n"
        await site.all_cut.wait()
        for cut in site.cut.values():
            assert isinstance(cut, StreamReset)
        async with await client.request("GET", "/hello") as response:
            assert await response.read() == b"hello\n"
