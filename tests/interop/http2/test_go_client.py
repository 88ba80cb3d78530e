"""muxpy's server and Go's clients: golang.org/x/net by prior knowledge, net/http with TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from muxpy import StreamReset, http

from .gopeer import PROGRAM, go_asks
from .site import HOST, echoing, serving

if TYPE_CHECKING:
    from .tls import Tls

pytestmark = pytest.mark.live_peer


@pytest.fixture(autouse=True)
def _built() -> None:
    PROGRAM.require()
    PROGRAM.build()


async def test_many_uploads_and_downloads_at_the_same_time(tls: Tls | None) -> None:
    async with serving(tls) as site:
        await go_asks("many", site.url, tls)
        assert len(site.asked) == 200


async def test_more_than_we_allow(tls: Tls | None) -> None:
    """Go tries those again that were refused, on more connections."""
    async with serving(tls, http.Config(max_streams=10)) as site:
        await go_asks("many", site.url, tls, 20)
        assert len(site.asked) == 40


async def test_conversations_on_many_streams(tls: Tls | None) -> None:
    async with serving(tls) as site:
        await go_asks("duplex", site.url, tls, 30)


async def test_requests_that_are_cancelled(tls: Tls | None) -> None:
    async with serving(tls) as site:
        assert await go_asks("cancel", site.url, tls, 50) == {"after": "hello\n"}
        await site.all_cut.wait()
        assert len(site.cut) == 50
        for cut in site.cut.values():
            assert isinstance(cut, StreamReset)
            assert cut.code == http.ErrorCode.CANCEL


async def test_a_client_that_waits_before_it_sends_the_body(tls: Tls | None) -> None:
    async with serving(tls) as site:
        said = await go_asks("expect", site.url, tls)
        assert said == {"continued": 1, "status": 413, "said": "too much\n", "read": 0}


async def test_hints(tls: Tls | None) -> None:
    async with serving(tls) as site:
        links = ["103 </app.css>; rel=preload", "103 </app.js>; rel=preload"]
        assert await go_asks("hints", site.url, tls) == {"links": links, "body": "hinted\n"}


async def test_answers_without_a_body_and_those_that_read_none(tls: Tls | None) -> None:
    async with serving(tls) as site:
        said = (await go_asks("plain", site.url, tls))["said"]
        assert said == [
            *("HEAD 200 6 ", "GET 200 6 hello\n"),
            *("HEAD 204  ", "GET 204  "),
            *("HEAD 304  ", "GET 304  "),
            *("HEAD 500  ", "GET 500 0 "),
            *("POST 413 9 too much\n",) * 3,
        ]


async def test_a_graceful_end_in_the_midst_of_traffic(tls: Tls | None) -> None:
    """What the server has taken is answered, and what it has not taken is safe to try again."""
    async with serving(tls) as site, trio.open_nursery() as nursery:
        nursery.start_soon(site.stop_when_asked_for, 300)
        said = await go_asks("traffic", site.url, tls, 40)
        assert said["lost"] == []
        assert said["succeeded"] == len(site.asked) >= 300


async def test_tunnels(tls: Tls | None) -> None:
    async with serving(tls) as site, echoing() as port:
        await go_asks("tunnel", site.url, tls, 20, target=f"{HOST}:{port}")
        assert [request.method for request in site.asked] == ["CONNECT"] * 20
