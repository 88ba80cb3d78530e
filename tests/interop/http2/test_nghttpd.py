"""muxpy's client and nghttpd, the server of nghttp2."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from muxpy import http
from tests.cli.program import free_port
from tests.cli.real._programs import require, serving
from tests.helpers.content import named
from tests.helpers.tasks import LIMIT

from .site import HOST, sha256

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from .tls import Tls

pytestmark = pytest.mark.live_peer

FILES = {
    str(number): named(number, size) for number, size in enumerate((0, 1, 16_384, 65_535, 65_536, 100_000, 3_000_000))
}


@pytest.fixture(autouse=True)
def _installed() -> None:
    require("nghttp2-server", "nghttpd")


@asynccontextmanager
async def connected(folder: Path, tls: Tls | None, *options: str) -> AsyncIterator[http.Client]:
    """A client of a server that has FILES."""
    pages = folder / "pages"
    pages.mkdir()
    for name, data in FILES.items():
        (pages / name).write_bytes(data)
    port = free_port()
    files = ("--no-tls",) if tls is None else ()
    command = ["nghttpd", "--address", HOST, "--htdocs", str(pages), *files, *options, str(port)]
    if tls is not None:
        command += [tls.key, tls.chain]
    context = None if tls is None else tls.client
    url = f"{'http' if tls is None else 'https'}://{HOST}:{port}"
    with serving(command, folder / "nghttpd.log", port=port), trio.fail_after(LIMIT):
        async with http.connect(url, ssl_context=context) as client:
            yield client


OPTIONS = {
    "plain": [],
    "padding": ["--padding=200"],
    "one_stream": ["--max-concurrent-streams=1"],
    "small_windows": ["--window-bits=10", "--connection-window-bits=16"],
    "no_table": ["--header-table-size=0", "--encoder-header-table-size=0"],
    "large_table": ["--header-table-size=65536", "--encoder-header-table-size=65536"],
    "no_length": ["--no-content-length"],
    "trailer": ["--trailer=x-after: yes"],
    "early": ["--early-response"],
    "push": ["--push=/0=/1,/2,/3"],
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
async def test_files(options: list[str], tls: Tls | None, tmp_path: Path) -> None:
    async def fetch(client: http.Client, name: str) -> None:
        async with await client.request("GET", f"/{name}") as response:
            assert response.status == 200
            assert sha256(await response.read()) == sha256(FILES[name])
            assert (response.trailers is None) == ("--trailer" not in "".join(options))

    async with connected(tmp_path, tls, *options) as client, trio.open_nursery() as nursery:
        for name in [*FILES] * 5:
            nursery.start_soon(fetch, client, name)


async def test_uploads_that_come_back(tls: Tls | None, tmp_path: Path) -> None:
    async def post(client: http.Client, data: bytes) -> None:
        async with await client.request("POST", "/", {"x-fields": "v" * 1000}, data) as response:
            assert await response.read() == data

    async with connected(tmp_path, tls, "--echo-upload", "--window-bits=14") as client, trio.open_nursery() as nursery:
        for data in FILES.values():
            if data:
                nursery.start_soon(post, client, data)


async def test_what_is_not_there(tls: Tls | None, tmp_path: Path) -> None:
    async with connected(tmp_path, tls) as client:
        for _ in range(3):
            async with await client.request("GET", "/nothing") as response:
                assert response.status == 404
        async with await client.request("HEAD", "/6") as response:
            assert response.content_length == 3_000_000
            assert await response.read() == b""


async def test_a_head_of_many_frames(tls: Tls | None, tmp_path: Path) -> None:
    """A head that needs CONTINUATION."""
    fields = {f"x-{number}": os.urandom(500).hex() for number in range(25)}
    async with connected(tmp_path, tls) as client, await client.request("GET", "/1", fields) as response:
        assert await response.read() == FILES["1"]
