"""muxpy's server and curl."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.real._programs import curl, require
from tests.helpers.content import named

from .site import serving, sha256

if TYPE_CHECKING:
    from pathlib import Path

    from .tls import Tls

pytestmark = pytest.mark.live_peer

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _installed() -> None:
    require("curl", "curl")


def way(tls: Tls | None) -> tuple[str, ...]:
    """How curl comes to speak HTTP/2: it knows that it may, or ALPN says so."""
    return ("--http2-prior-knowledge",) if tls is None else ("--http2", "--cacert", tls.authority)


async def test_a_page(tls: Tls | None) -> None:
    async with serving(tls) as site:
        done = await curl(*way(tls), "--write-out", "%{http_version} %{http_code}", f"{site.url}/hello")
        assert done.out == "hello\n2 200"


async def test_megabytes_each_way(tls: Tls | None, tmp_path: Path) -> None:
    upload, download = tmp_path / "upload", tmp_path / "download"
    upload.write_bytes(data := named("up", 8 * MIB))
    async with serving(tls) as site:
        done = await curl(*way(tls), "--data-binary", f"@{upload}", f"{site.url}/hash")
        assert done.out == f"{len(data)} {sha256(data)}\n"
        await curl(*way(tls), "--output", str(download), f"{site.url}/bytes?name=down&size={8 * MIB}")
        assert sha256(download.read_bytes()) == sha256(named("down", 8 * MIB))
        done = await curl(*way(tls), "--data-binary", f"@{upload}", "--output", str(download), f"{site.url}/echo")
        assert sha256(download.read_bytes()) == sha256(data)


async def test_a_body_without_a_length(tls: Tls | None, tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(data := named("up", MIB))
    async with serving(tls) as site:
        chunked = ("--header", "transfer-encoding: chunked")  # curl takes it for its own, and sends no length
        done = await curl(*way(tls), "--upload-file", str(upload), *chunked, f"{site.url}/hash")
        assert done.out == f"{len(data)} {sha256(data)}\n"
        assert "content-length" not in site.asked[0].headers


async def test_trailers(tls: Tls | None, tmp_path: Path) -> None:
    async with serving(tls) as site:
        done = await curl(*way(tls), "--include", f"{site.url}/bytes?name=a&size=0&trailers=1")
        assert done.out.endswith(f"x-sha256: {sha256(b'')}\n".replace("\n", "\r\n"))


async def test_a_client_that_expects_100_and_does_not_wait(tls: Tls | None, tmp_path: Path) -> None:
    """curl waits with HTTP/1 only."""
    upload = tmp_path / "upload"
    upload.write_bytes(data := named("up", 2 * MIB))
    async with serving(tls) as site:
        expects = ("--header", "expect: 100-continue")
        done = await curl(*way(tls), *expects, "--upload-file", str(upload), f"{site.url}/hash")
        assert done.out == f"{len(data)} {sha256(data)}\n"


async def test_answers_without_a_body(tls: Tls | None) -> None:
    async with serving(tls) as site:
        done = await curl(*way(tls), "--head", f"{site.url}/bytes?name=a&size=1000")
        assert "content-length: 1000\r\n" in done.out
        for status in (204, 304):
            done = await curl(*way(tls), "--include", f"{site.url}/status?is={status}")
            assert done.out.startswith(f"HTTP/2 {status} ")
            assert done.out.endswith("\r\n\r\n")
            assert "content-length" not in done.out


async def test_hints(tls: Tls | None) -> None:
    async with serving(tls) as site:
        done = await curl(*way(tls), "--include", f"{site.url}/hints")
        heads, hinted = done.out.split("HTTP/2 200"), [line for line in done.out.split("\r\n") if "preload" in line]
        assert heads[0].count("HTTP/2 103") == 2
        assert hinted == ["link: </app.css>; rel=preload", "link: </app.js>; rel=preload"]
        assert done.out.endswith("hinted\n")


# Without TLS, curl 7.88 fails where it sends a second request on a connection; with nghttpd and with Go's server too.
# And it is not asked what it makes of an answer that reads none of its body: it may lose that, whoever the server is.


async def test_many_at_the_same_time_over_one_connection(certificate: Tls, tmp_path: Path) -> None:
    count, size = 100, 100_000
    async with serving(certificate) as site:
        urls = f"{site.url}/bytes?name=[0-{count - 1}]&size={size}"
        parallel = ("--parallel", "--parallel-max", str(count))
        await curl(*way(certificate), *parallel, "--output", f"{tmp_path}/#1", urls)
        for number in range(count):
            assert sha256((tmp_path / str(number)).read_bytes()) == sha256(named(number, size))
        assert len(site.asked) == count
        assert len(site.sessions) == 1
