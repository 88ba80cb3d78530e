"""TLS has things of its own to say, and errors that come after good data."""

from __future__ import annotations

import ssl
from contextlib import suppress

import pytest
import trio

import muxpy
from muxpy._open import _run_session
from muxpy.frame.muxado import encode_syn
from muxpy.proto import Batch
from muxpy.transport import _tls
from muxpy.transport._tls import MAX_TLS_ANSWERS, TlsTransport
from tests.helpers.pairs import client_context, server_context, unix_pair
from tests.helpers.raw_peer import data
from tests.helpers.tasks import bounded

QUIET = muxpy.SessionConfig(heartbeat_interval=None, linger_timeout=0.2)
BAD_RECORD = b"\x17\x03\x03\x00\x20" + bytes(32)


async def tls_pair() -> tuple[TlsTransport, TlsTransport]:
    """The client's end and the server's, after the handshake."""
    one, two = unix_pair()
    client = TlsTransport(one, client_context(), server_hostname="127.0.0.1")
    server = TlsTransport(two, server_context(), server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.handshake)
        nursery.start_soon(server.handshake)
    return client, server


async def say(transport: TlsTransport, *frames: bytes) -> None:
    """Write frames as a record of their own."""
    data = b"".join(frames)
    await transport.send(Batch([data], [], len(data)))


class Talkative:
    """A TLS connection that has an answer to whatever it reads, as to key updates."""

    def __init__(self, transport: TlsTransport, answer: bytes) -> None:
        assert transport.tls is not None
        self._tls: ssl.SSLObject = transport.tls
        self._outgoing = transport._outgoing
        self._answer = answer
        self.most = 0

    def read(self, size: int, buffer: memoryview) -> int:
        count: int = self._tls.read(size, buffer)  # type: ignore[assignment]
        self._outgoing.write(self._answer)
        self.most = max(self.most, self._outgoing.pending)
        return count

    def pending(self) -> int:
        return self._tls.pending()

    def write(self, content: bytes) -> int:
        return self._tls.write(content)

    def unwrap(self) -> None:
        self._tls.unwrap()


@bounded()
async def test_what_tls_has_to_say_is_written_though_the_session_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = await tls_pair()
    async with _run_session(server, False, QUIET, []) as session:
        monkeypatch.setattr(server, "_tls", Talkative(server, b"an answer"))
        await say(client, encode_syn(3))
        received = b""
        while not received.endswith(b"an answer"):  # after the server's session tickets
            received += await client._stream.receive_some(65536)
        session.kill()
    await client.aclose()


@bounded()
async def test_a_peer_that_asks_tls_for_more_than_it_reads_ends_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = await tls_pair()
    talkative = Talkative(server, bytes(20_000))
    async with _run_session(server, False, QUIET, []) as session:
        monkeypatch.setattr(server, "_tls", talkative)
        await say(client, encode_syn(3))
        for _ in range(300):
            with suppress(OSError):
                await say(client, data(3, b"x"))
            await trio.lowlevel.checkpoint()
            if session._engine.ending.end is not None:
                break
        end = session._engine.ending.end
        assert end is not None
        assert isinstance(end.error, trio.BrokenResourceError)
        assert "asks for more TLS answers" in str(end.error)
        assert talkative.most <= MAX_TLS_ANSWERS + 5 * 20_000
        session.kill()
    await client.aclose()


class Counting:
    """A TLS connection, with its reads counted, and those that found nothing."""

    def __init__(self, transport: TlsTransport) -> None:
        assert transport.tls is not None
        self._tls: ssl.SSLObject = transport.tls
        self.reads = self.vain = 0

    def read(self, size: int, buffer: memoryview) -> int:
        self.reads += 1
        try:
            count: int = self._tls.read(size, buffer)  # type: ignore[assignment]
        except ssl.SSLWantReadError:
            self.vain += 1
            raise
        return count

    def pending(self) -> int:
        return self._tls.pending()


@bounded()
async def test_openssl_is_asked_once_for_each_record_and_never_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = await tls_pair()
    counting = Counting(server)
    monkeypatch.setattr(server, "_tls", counting)
    for number in range(1, 11):
        await say(client, b"message")
        assert bytes(await server.receive()) == b"message"
        assert (counting.reads, counting.vain) == (number, 0)
    await client.aclose()
    await server.aclose()


@bounded()
async def test_a_record_that_is_larger_than_the_rest_of_the_buffer_is_read_in_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What OpenSSL has decrypted and not handed over waits for no further bytes."""
    client, server = await tls_pair()
    monkeypatch.setattr(_tls, "READ_SIZE", 10)
    await say(client, b"a message")
    assert bytes(await server.receive()) == b"a message"
    await say(client, b"a longer message")
    assert bytes(await server.receive()) == b"a longer m"
    assert bytes(await server.receive()) == b"essage"
    await client.aclose()
    await server.aclose()


@bounded()
async def test_a_full_read_of_bulk_is_decrypted_in_one_turn() -> None:
    """Writes of 64 KiB, each with the headers of its five frames."""
    client, server = await tls_pair()
    size = 65536 + 5 * 8
    written = bytearray()
    for _ in range(server.read_size // size):
        client._tls.write(bytes(size))
        written += client._outgoing.read()
    assert server.read_size - size < len(written) <= server.read_limit == server.read_size
    assert server._feed(memoryview(written)) == len(written)
    await client.aclose()
    await server.aclose()


@bounded()
async def test_answers_past_the_bound_are_an_error_of_the_transport() -> None:
    client, server = await tls_pair()
    await say(client, b"x")
    server._outgoing.write(bytes(MAX_TLS_ANSWERS + 1))
    with pytest.raises(trio.BrokenResourceError, match="asks for more TLS answers"):
        await server.receive()
    await client.aclose()
    await server.aclose()


@bounded()
async def test_good_records_before_a_bad_one_are_delivered() -> None:
    client, server = await tls_pair()
    client._tls.write(b"valid bytes")
    await client._stream.send_all(client._outgoing.read() + BAD_RECORD)
    assert bytes(await server.receive()) == b"valid bytes"
    with pytest.raises(ssl.SSLError):
        await server.receive()
    await client.aclose()
    await server.aclose()


@bounded()
async def test_a_bad_record_ends_the_session_and_the_peer_learns_why() -> None:
    client, server = await tls_pair()
    async with _run_session(server, False, QUIET, []) as session:
        client._tls.write(encode_syn(3))
        await client._stream.send_all(client._outgoing.read() + BAD_RECORD)
        assert (await session.accept_stream()).id == 3  # what was right before it counts
        with pytest.raises(ssl.SSLError, match="ALERT"):
            await client.receive()
        await client._stream.send_eof()
        assert isinstance((await session.wait()).error, ssl.SSLError)
    await client.aclose()


@bounded()
async def test_the_end_of_a_direction_is_that_of_the_socket_too() -> None:
    """Some peers, such as gRPC's servers, wait for that. The other direction goes on."""
    client, server = await tls_pair()
    await client.send_eof()
    while await server._stream.receive_some():  # the client's close_notify
        pass
    await say(server, encode_syn(2))
    assert bytes(await client.receive()) == encode_syn(2)
    await client.aclose()
    await server.aclose()


@pytest.mark.parametrize("server_side", [True, False])
@bounded()
async def test_a_handshake_error_is_reported_though_the_alert_cannot_be_sent(
    server_side: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = unix_pair()
    context = server_context() if server_side else client_context()
    transport = TlsTransport(
        one, context, server_side=server_side, server_hostname=None if server_side else "127.0.0.1"
    )

    async def gone() -> None:
        raise BrokenPipeError("the peer is gone")

    monkeypatch.setattr(transport, "_flush", gone)
    transport._incoming.write(b"this is no TLS, not by a long way")
    with pytest.raises(ssl.SSLError):
        await transport.handshake()
    await two.aclose()
    await transport.aclose()
