"""muxpy and node's http2 module: its clients and our server, and the other way round."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from muxpy import StreamReset, http
from tests.cli.real._programs import find, require, run
from tests.helpers.content import named
from tests.helpers.processes import Output, started
from tests.helpers.tasks import LIMIT

from .leaving import ask_for_hash, check_leaving, echo_afterwards
from .site import HOST, serving, sha256

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .tls import Tls

pytestmark = pytest.mark.live_peer

PEER = str(Path(__file__).with_name("peer.mjs"))


@pytest.fixture(autouse=True)
def _installed() -> None:
    require("nodejs", "node")


# ---- node's client ----


async def node_asks(what: str, url: str, tls: Tls | None) -> Any:  # noqa: ANN401 - JSON
    done = await run("node", PEER, "ask", what, url, *(() if tls is None else (tls.authority,)))
    return json.loads(done.out)


@pytest.mark.parametrize("what", ["many", "duplex", "expect"])
async def test_traffic_that_node_checks(what: str, tls: Tls | None) -> None:
    async with serving(tls) as site:
        assert await node_asks(what, site.url, tls) == {}
        assert len(site.sessions) == 1


async def test_push(tls: Tls | None) -> None:
    async with serving(tls) as site:
        said = await node_asks("push", site.url, tls)
        pushed = {f"/pushed?name={name}&size=20000": sha256(named(name, 20_000)) for name in "abc"}
        assert said == {"body": "pushed 3\n", "pushed": pushed}


async def test_hints(tls: Tls | None) -> None:
    async with serving(tls) as site:
        links = ["103 </app.css>; rel=preload", "103 </app.js>; rel=preload"]
        assert await node_asks("hints", site.url, tls) == {"body": "hinted\n", "links": links}


async def test_requests_that_are_cancelled(tls: Tls | None) -> None:
    async with serving(tls) as site:
        assert await node_asks("cancel", site.url, tls) == {"after": "hello\n"}
        await site.all_cut.wait()
        for cut in site.cut.values():
            assert isinstance(cut, StreamReset)
            assert cut.code == http.ErrorCode.CANCEL


async def test_answers_without_a_body_and_one_that_reads_none(tls: Tls | None) -> None:
    async with serving(tls) as site:
        assert (await node_asks("plain", site.url, tls))["said"] == [
            *("HEAD 200 6 ", "GET 200 6 hello\n"),
            *("HEAD 204  ", "GET 204  "),
            *("HEAD 304  ", "GET 304  "),
            *("HEAD 500  ", "GET 500 0 "),
            "POST 413 9 too much\n",
        ]


async def test_another_protocol_on_a_stream(tls: Tls | None) -> None:
    async with serving(tls, http.Config(extended_connect=True)) as site:
        assert await node_asks("connect", site.url, tls) == {"back": "to and fro"}
        assert [request.protocol for request in site.asked] == ["websocket"]


async def test_a_graceful_end_while_node_asks_on(tls: Tls | None) -> None:
    """What the server has taken is answered, and node knows of the rest that it was not sent."""
    async with serving(tls) as site, trio.open_nursery() as nursery:
        nursery.start_soon(site.stop_when_asked_for, 224)
        said = await node_asks("leaving", site.url, tls)
        assert 24 + said["answered"] == len(site.asked) >= 224


# ---- node's server ----


@asynccontextmanager
async def connected(tls: Tls | None, config: http.Config | None = None) -> AsyncIterator[http.Client]:
    """A client of a server that runs as long as the block."""
    files = () if tls is None else (tls.chain, tls.key)
    with trio.fail_after(LIMIT):
        async with started([find("node") or "node", PEER, "serve", *files]) as process, trio.open_nursery() as nursery:
            output = Output(process.stdout)
            nursery.start_soon(output.read)
            port = (await output.said("listening at")).split()[-1]
            context = None if tls is None else tls.client
            url = f"{'http' if tls is None else 'https'}://{HOST}:{port}"
            async with http.connect(url, ssl_context=context, config=config) as client:
                yield client
            nursery.cancel_scope.cancel()


async def check_upload(client: http.Client, data: bytes) -> None:
    async with await client.request("POST", "/hash", body=data) as response:
        assert await response.read() == f"{len(data)} {sha256(data)}\n".encode()


async def check_download(client: http.Client, size: int) -> None:
    async with await client.request("GET", f"/bytes?size={size}") as response:
        data = await response.read()
        assert len(data) == size
        assert response.trailers == http.Headers({"x-sha256": sha256(data)})


async def test_many_requests_to_node(tls: Tls | None) -> None:
    async with connected(tls) as client, trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(check_upload, client, named(number, 3000 * number))
            nursery.start_soon(check_download, client, 200_000 - 1500 * number)


async def test_conversations_with_node(tls: Tls | None) -> None:
    async def converse(number: int) -> None:
        sent = b""
        async with await client.open("POST", "/echo") as response:
            for turn in range(20):
                await response.send_all(data := named((number, turn), 1 + turn * 1000))
                sent += data
                back = b""
                while len(back) < len(data):
                    back += await response.receive_some()
                assert back == data
            await response.send_eof()
            assert await response.read() == b""
            assert response.trailers == http.Headers({"x-sha256": sha256(sent)})

    async with connected(tls) as client, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(converse, number)


async def test_trailers_to_node(tls: Tls | None) -> None:
    async with connected(tls) as client, await client.open("POST", "/hash") as response:
        await response.send_all(b"abc")
        await response.finish({"x-after": "yes"})
        assert await response.read() == f"3 {sha256(b'abc')} x-after=yes\n".encode()


async def test_hints_of_node(tls: Tls | None) -> None:
    hinted: list[str] = []
    async with connected(tls) as client:
        response = await client.request("GET", "/hints", informed=lambda _, headers: hinted.append(headers["link"]))
        async with response:
            assert await response.read() == b"hinted\n"
    assert hinted == ["</app.css>; rel=preload", "</app.js>; rel=preload"]


async def test_answers_of_node_without_a_body(tls: Tls | None) -> None:
    async with connected(tls) as client:
        for method, path, status in (
            ("HEAD", "/hello", 200),
            ("GET", "/status?is=204", 204),
            ("GET", "/status?is=304", 304),
        ):
            async with await client.request(method, path) as response:
                assert (response.status, await response.read()) == (status, b"")


async def test_node_may_not_push(tls: Tls | None) -> None:
    async with connected(tls) as client, await client.request("GET", "/push") as response:
        assert await response.read() == b"false\n"


async def test_answers_of_node_that_end_early(tls: Tls | None) -> None:
    async with connected(tls) as client:
        for _ in range(20):
            async with await client.request("GET", "/hang") as response:
                assert await response.receive_some() == b"begun\n"
        cut = b""
        while cut != b"20\n":  # the resets are on their way
            async with await client.request("GET", "/cut") as response:
                cut = await response.read()
        async with await client.request("GET", "/abort") as response:
            with pytest.raises(StreamReset) as reset:
                await response.read()
            assert reset.value.code == http.ErrorCode.INTERNAL_ERROR


@pytest.mark.parametrize("how", ["close", "server", "goaway"])
async def test_node_ends_the_session(how: str, tls: Tls | None) -> None:
    async def leave() -> None:
        async with await client.request("GET", f"/goaway?how={how}") as response:
            assert await response.read() == b"the last one\n"

    # Where node has only said GOAWAY, it does not hear any more that this side ends the connection.
    config = http.Config(linger_timeout=0.1, drain_timeout=0.1) if how == "goaway" else None
    async with connected(tls, config) as client:
        await check_leaving(client, ask_for_hash, echo_afterwards, leave)


async def test_another_protocol_on_a_stream_to_node(tls: Tls | None) -> None:
    async with connected(tls) as client, client.extended_connect("websocket", "/chat") as stream:
        await stream.send_all(b"to and fro")
        await stream.send_eof()
        assert await stream.read() == b"to and fro"
