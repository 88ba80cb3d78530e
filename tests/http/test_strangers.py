"""Programs that speak something else: the log says what, once, and so does what a client raises."""

from __future__ import annotations

import logging

import pytest
import trio

from muxpy import http
from tests.frame import wire as muxado
from tests.helpers.pairs import tcp_pair
from tests.helpers.tasks import bounded, read_all

from .ends import tcp_port

TO_SERVERS = [
    (b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", "an HTTP request"),
    (b"PUT / HTTP/1.1\r\n", "an HTTP request"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS"),
    (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\n", "a PROXY protocol header"),
    (b"\x05\x01\x00", "a SOCKS 5 request"),
    (muxado.syn(3, priority=0x7FFFFFFF, stream_type=muxado.EXTENSION), "muxado"),
]
TO_CLIENTS = [
    (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "an HTTP server's answer"),
    (b"\x15\x03\x03\x00\x02\x02\x46", "TLS"),
    (b"220 mail.example.org ESMTP\r\n", "a mail or FTP server's greeting"),
    (muxado.syn(2, priority=0x7FFFFFFF, stream_type=muxado.EXTENSION), "muxado"),
]


async def nobody(_: http.Exchange) -> None:
    raise AssertionError("there is no request")


@pytest.mark.parametrize(("opening", "name"), TO_SERVERS)
@bounded()
async def test_a_server_says_in_one_line_what_it_met(
    opening: bytes, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with tcp_port(nobody) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(opening)
        await read_all(stream)
    told = [record.getMessage() for record in caplog.records if "not HTTP/2" in record.getMessage()]
    assert len(told) == 1
    assert f"this looks like {name}, not HTTP/2" in told[0]
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


@pytest.mark.parametrize(("opening", "name"), TO_CLIENTS)
@bounded()
async def test_a_client_says_what_it_met(opening: bytes, name: str) -> None:
    near, far = await tcp_pair()
    async with trio.open_nursery() as nursery, far:
        await far.send_all(opening)
        await far.send_eof()
        nursery.start_soon(read_all, far)
        async with http.connect("http://127.0.0.1", stream=near) as client:
            with pytest.raises(trio.BrokenResourceError, match=f"this looks like {name}, not HTTP/2"):
                await client.request("GET")
