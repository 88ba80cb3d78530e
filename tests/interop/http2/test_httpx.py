"""muxpy's server and httpx, whose HTTP/2 is h2's.

It is not asked what it does not do: it says nothing when it gives up a response, and does not hear of a server that
wants no more of a body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
import trio

from tests.helpers.content import named

from .site import serving, sha256

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from .tls import Tls

pytestmark = pytest.mark.live_peer

MIB = 1 << 20


def client(tls: Tls | None) -> httpx.AsyncClient:
    """Without TLS it must not know of HTTP/1, or it would speak that."""
    verify: ssl.SSLContext | bool = True if tls is None else tls.client
    return httpx.AsyncClient(http1=False, http2=True, verify=verify, trust_env=False, timeout=300)


async def test_many_requests(tls: Tls | None) -> None:
    async def ask(number: int) -> None:
        data = named(number, 3000 * number)
        response = await web.post(f"{site.url}/hash", content=data)
        assert response.text == f"{len(data)} {sha256(data)}\n"
        response = await web.get(f"{site.url}/bytes?name={number}&size=50000")
        assert (response.http_version, response.content) == ("HTTP/2", named(number, 50_000))

    async with serving(tls) as site, client(tls) as web:
        await web.get(f"{site.url}/hello")
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(ask, number)
        assert len(site.sessions) == 1


async def test_a_body_in_parts_and_back(tls: Tls | None) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for number in range(16):
            yield named(number, MIB // 16)

    data = b"".join([part async for part in parts()])
    async with serving(tls) as site, client(tls) as web:
        response = await web.post(f"{site.url}/hash", content=parts())
        assert response.text == f"{MIB} {sha256(data)}\n"


async def test_answers_without_a_body(tls: Tls | None) -> None:
    async with serving(tls) as site, client(tls) as web:
        response = await web.head(f"{site.url}/hello")
        assert (response.headers["content-length"], response.content) == ("6", b"")
        for status in (204, 304, 500):
            response = await web.get(f"{site.url}/status?is={status}")
            assert (response.status_code, response.content) == (status, b"")
