"""muxpy's server and the clients of nghttp2: nghttp, whose options reach the corners of the protocol, and h2load."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from muxpy import http
from tests.cli.real._programs import require, run
from tests.helpers.content import named

from .site import serving, sha256

if TYPE_CHECKING:
    from pathlib import Path

    from .tls import Tls

pytestmark = pytest.mark.live_peer

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _installed() -> None:
    require("nghttp2-client", "nghttp", "h2load")


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    file = tmp_path / "upload"
    file.write_bytes(named("up", 3 * MIB))
    return file


UPLOADED = f"{3 * MIB} {sha256(named('up', 3 * MIB))}"


async def nghttp(*arguments: str) -> str:
    """What it shows, without the times. It does not check certificates."""
    done = await run("nghttp", "--no-verify-peer", *arguments)
    assert done.err == ""
    return done.out


def frames(shown: str, kind: str) -> list[str]:
    """The lines of --verbose that begin a frame of this kind."""
    return [line for line in shown.splitlines() if re.match(rf"\[.*\] (recv|send) {kind}", line)]


async def test_pages(tls: Tls | None) -> None:
    async with serving(tls) as site:
        urls = [f"{site.url}/bytes?name={number}&size=100000" for number in range(20)]
        shown = await nghttp("--stat", "--null-out", *urls)
        assert len(re.findall(r"  200  97K /bytes", shown)) == 20
        assert len(site.asked) == 20
        assert len(site.sessions) == 1


async def test_push(tls: Tls | None) -> None:
    async with serving(tls) as site:
        shown = await nghttp("--verbose", "--null-out", "--stat", f"{site.url}/push")
        assert len(frames(shown, "PUSH_PROMISE")) == 3
        assert len(re.findall(r"\* .*  200  19K /pushed", shown)) == 3  # the star says that it was pushed
        assert "GOAWAY" not in "".join(frames(shown, "(GOAWAY|RST_STREAM)")).replace("send GOAWAY", "")


async def test_push_that_the_client_does_not_want(tls: Tls | None) -> None:
    async with serving(tls) as site:
        assert await nghttp("--no-push", f"{site.url}/push") == "pushed 0\n"


async def test_push_up_to_the_limit_of_the_client(tls: Tls | None) -> None:
    async with serving(tls) as site:
        shown = await nghttp("--max-concurrent-streams", "2", "--null-out", "--stat", f"{site.url}/push")
        assert len(re.findall(r"\* .*  200  19K /pushed", shown)) == 2


@pytest.mark.parametrize(
    "options",
    [
        ["--padding=200"],
        ["--continuation"],
        ["--weight=256"],
        ["--no-dep"],
        ["--no-rfc7540-pri"],
        ["--no-content-length"],
        ["--window-bits=13", "--connection-window-bits=16"],
        ["--header-table-size=0"],
        ["--header-table-size=100", "--header-table-size=65536", "--encoder-header-table-size=0"],
        ["--encoder-header-table-size=65536"],
        ["--peer-max-concurrent-streams=1"],
        ["--padding=255", "--continuation", "--trailer=x-after: 1"],
    ],
)
async def test_corners(options: list[str], upload: Path, certificate: Tls) -> None:
    """Uploads beside downloads, with whatever the client may do differently."""
    async with serving(certificate) as site:
        urls = [f"{site.url}/echo?{number}" for number in range(2)]
        urls += [f"{site.url}/hash?{number}" for number in range(3)]
        shown = await nghttp(*options, "--data", str(upload), "--multiply=2", "--stat", "--null-out", *urls)
        assert len(re.findall(r"  200   3M /echo", shown)) == 4
        assert len(re.findall(r"  200 +\S+ /hash", shown)) == 6
        shown = await nghttp(*options, "--data", str(upload), f"{site.url}/hash")
        assert shown.startswith(UPLOADED)


async def test_trailers_of_a_request(tls: Tls | None, upload: Path) -> None:
    async with serving(tls) as site:
        trailers = ("--trailer", "x-one: 1", "--trailer", "x-two: 2")
        assert await nghttp(*trailers, "--data", str(upload), f"{site.url}/hash") == f"{UPLOADED} x-one=1 x-two=2\n"


async def test_trailers_of_a_response(tls: Tls | None) -> None:
    async with serving(tls) as site:
        shown = await nghttp("--verbose", f"{site.url}/bytes?name=a&size=3&trailers=1")
        assert f"x-sha256: {sha256(named('a', 3))}" in shown
        assert len(frames(shown, "HEADERS")) == 3


async def test_a_client_that_waits_before_it_sends_the_body(tls: Tls | None, upload: Path) -> None:
    async with serving(tls) as site:
        shown = await nghttp("--expect-continue", "--verbose", "--data", str(upload), f"{site.url}/hash")
        assert UPLOADED in shown
        assert ":status: 100" in shown
        shown = await nghttp("--expect-continue", "--verbose", "--data", str(upload), f"{site.url}/refuse")
        assert "too much" in shown
        assert ":status: 100" not in shown
        assert frames(shown, "DATA")
        assert not [line for line in frames(shown, "DATA") if "send" in line]


async def test_an_answer_that_does_not_read_the_body(tls: Tls | None, upload: Path) -> None:
    async with serving(tls) as site:
        shown = await nghttp("--verbose", "--data", str(upload), f"{site.url}/refuse")
        assert "too much" in shown
        assert "(error_code=NO_ERROR(0x00))" in shown


async def test_a_head_beyond_the_limit(tls: Tls | None) -> None:
    async with serving(tls, http.Config(max_header_bytes=2000)) as site:
        shown = await nghttp("--verbose", "--header", f"x-large: {'a' * 1900}", f"{site.url}/hello")
        assert ":status: 431" in shown


@pytest.mark.parametrize(("clients", "streams"), [(1, 100), (10, 10)])
async def test_load(tls: Tls | None, clients: int, streams: int, tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(named("up", 4096))
    async with serving(tls) as site:
        many = ("--clients", str(clients), "--max-concurrent-streams", str(streams))
        await succeed(1000, *many, f"{site.url}/hello")
        await succeed(500, *many, "--data", str(upload), f"{site.url}/hash")
        assert len(site.asked) == 1500
        assert len(site.sessions) <= 2 * clients


async def test_load_with_small_windows(certificate: Tls) -> None:
    async with serving(certificate) as site:
        small = ("--window-bits=12", "--connection-window-bits=14", "--clients=2", "--max-concurrent-streams=20")
        await succeed(100, *small, f"{site.url}/bytes?name=a&size=100000")


async def succeed(requests: int, *arguments: str) -> None:
    done = await run("h2load", "--requests", str(requests), *arguments)
    told = f"requests: {requests} total, {requests} started, {requests} done, {requests} succeeded, 0 failed, 0 errored"
    assert told in done.out, done.out
    assert f"status codes: {requests} 2xx, 0 3xx, 0 4xx, 0 5xx" in done.out
