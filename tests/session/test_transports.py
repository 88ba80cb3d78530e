"""What the session relies on, over every transport alike: bytes in order, ends and errors, and who may do what when."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy._open import _run_session
from muxpy.frame.muxado import encode_goaway, encode_syn
from muxpy.proto import Batch
from muxpy.transport import TRANSPORT_ERRORS
from muxpy.transport._base import StreamTransport, Transport
from muxpy.transport._socket import SocketTransport
from muxpy.transport._tls import TlsTransport
from tests.helpers.pairs import client_context, server_context, tcp_pair, transport_pair, unix_pair
from tests.helpers.raw_peer import data
from tests.helpers.tasks import bounded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from muxpy.frame import Buffer

KINDS = ("tcp", "unix", "tls", "ssl_stream", "memory", "pipes")
HALF_CLOSEABLE = ("tcp", "unix", "tls", "memory", "pipes")
OVER_TCP = ("tcp", "tls", "ssl_stream")
QUIET = muxpy.SessionConfig(heartbeat_interval=None, linger_timeout=0.2)

every_kind = pytest.mark.parametrize("kind", KINDS)


class Pair:
    """Two joined transports, and the sockets below them if there are any."""

    def __init__(self, near: Transport, far: Transport, *below: trio.SocketStream) -> None:
        self.near = near
        self.far = far
        self.below = below


@asynccontextmanager
async def joined(kind: str) -> AsyncIterator[Pair]:
    """Transports of a kind, ready for bytes; closed in the end, whatever they have been through."""
    pair = await make(kind)
    try:
        yield pair
    finally:
        for transport in (pair.near, pair.far):
            await trio.aclose_forcefully(transport)


async def make(kind: str) -> Pair:
    if kind in ("tcp", "unix"):
        one, two = await tcp_pair() if kind == "tcp" else unix_pair()
        return Pair(SocketTransport(one), SocketTransport(two), one, two)
    if kind == "tls":
        one, two = await tcp_pair()
        client = TlsTransport(one, client_context(), server_hostname="127.0.0.1")
        server = TlsTransport(two, server_context(), server_side=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.handshake)
            nursery.start_soon(server.handshake)
        return Pair(client, server, one, two)
    if kind == "ssl_stream":
        one, two = await tcp_pair()
        near = trio.SSLStream(one, client_context(), server_hostname="127.0.0.1")
        far = trio.SSLStream(two, server_context(), server_side=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.do_handshake)
            nursery.start_soon(far.do_handshake)
        return Pair(StreamTransport(near), StreamTransport(far), one, two)
    if kind == "pipes":
        there, back = os.pipe(), os.pipe()
        return Pair(
            StreamTransport(trio.StapledStream(trio.lowlevel.FdStream(there[1]), trio.lowlevel.FdStream(back[0]))),
            StreamTransport(trio.StapledStream(trio.lowlevel.FdStream(back[1]), trio.lowlevel.FdStream(there[0]))),
        )
    left, right = await transport_pair(kind)
    return Pair(StreamTransport(left), StreamTransport(right))


def batch_of(*chunks: Buffer) -> Batch:
    return Batch(list(chunks), [], sum(map(len, chunks)))


async def receive_exactly(transport: Transport, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        part = await transport.receive()
        assert part, f"the transport ended after {len(received)} of {size} bytes"
        received += part
    return bytes(received)


async def send_for_ever(transport: Transport) -> None:
    """TCP takes what it can until it hears that nobody is there."""
    while True:
        await transport.send(batch_of(bytes(100_000)))


def reset(stream: trio.SocketStream) -> None:
    """Close a TCP connection with RST."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


# ---- bytes ----


@every_kind
@bounded()
async def test_more_than_any_buffer_goes_both_ways_at_once(kind: str) -> None:
    """In batches of pieces of all sizes; what arrives is compared by its digest."""
    size = 6 * 1024 * 1024
    payload = os.urandom(size)
    cuts = random.Random(size)
    digests = []

    async def send(transport: Transport) -> None:
        position = 0
        lengths: tuple[int, ...]
        count, lengths = 1500, (3000,)  # more pieces than one writev takes
        while position < size:
            pieces = []
            for _ in range(count):
                length = cuts.choice(lengths)
                pieces.append(memoryview(payload)[position : position + length])
                position += length
            batch = batch_of(*pieces)
            await transport.send(batch)
            assert not batch.chunks
            count, lengths = cuts.randrange(1, 700), (1, 8, 100, 5000)

    async def receive(transport: Transport) -> None:
        received = hashlib.sha256()
        left = size
        while left:
            part = await transport.receive()
            assert part
            left -= len(part)
            received.update(part)
        digests.append(received.digest())

    async with joined(kind) as pair, trio.open_nursery() as nursery:
        for transport in (pair.near, pair.far):
            nursery.start_soon(send, transport)
            nursery.start_soon(receive, transport)
    assert digests == [hashlib.sha256(payload).digest()] * 2


@every_kind
@bounded()
async def test_what_try_send_could_not_write_is_sent_after_it(kind: str) -> None:
    """A batch that nobody reads does not fit. `send` goes on where `try_send` stopped: nothing twice, nothing lost."""
    chunks = [os.urandom(50_000) for _ in range(200)]
    async with joined(kind) as pair, trio.open_nursery() as nursery:
        batch = batch_of(*chunks)
        assert not pair.near.try_send(batch)
        assert not pair.near.try_send(batch)  # nor is there room now
        nursery.start_soon(pair.near.send, batch)
        assert await receive_exactly(pair.far, 10_000_000) == b"".join(chunks)
        await wait_all_tasks_blocked()
        assert not batch.chunks
        await pair.near.send(batch_of(b"the next"))
        assert await receive_exactly(pair.far, 8) == b"the next"


@pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])
@bounded()
async def test_a_socket_takes_a_batch_that_fits_without_waiting(kind: str) -> None:
    async with joined(kind) as pair:
        before = pair.near.writes
        for chunks in ([b"one piece"], [b"many", b"small", b"pieces"], [bytes(5000), bytes(5000), bytes(5000)]):
            batch = batch_of(*chunks)
            assert pair.near.try_send(batch)
            assert not batch.chunks
            whole = b"".join(chunks)
            assert await receive_exactly(pair.far, len(whole)) == whole
        assert pair.near.writes - before == 3


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@bounded()
async def test_a_socket_takes_of_a_lone_frame_what_fits(kind: str) -> None:
    frame = os.urandom(50_000)
    async with joined(kind) as pair:
        before = pair.near.writes
        assert pair.near.try_write(frame) == len(frame)
        assert pair.near.writes - before == 1
        assert await receive_exactly(pair.far, len(frame)) == frame
        taken = 0
        while (count := pair.near.try_write(frame)) == len(frame):
            taken += count
        while more := pair.near.try_write(frame[count:]):
            count += more
        assert await receive_exactly(pair.far, taken + count) == frame * (taken // len(frame)) + frame[:count]
        await pair.near.aclose()
        with pytest.raises(trio.ClosedResourceError):
            pair.near.try_write(frame)


@pytest.mark.parametrize("kind", ["tls", "ssl_stream", "memory", "pipes"])
@bounded()
async def test_where_a_lone_frame_has_no_shorter_way_nothing_of_it_is_written(kind: str) -> None:
    async with joined(kind) as pair:
        before = pair.near.writes
        assert pair.near.try_write(b"in a batch") == 0
        await wait_all_tasks_blocked()
        assert not pair.near.has_output
        assert pair.near.writes == before


@pytest.mark.parametrize("kind", ["ssl_stream", "memory", "pipes"])
@bounded()
async def test_a_stream_of_trio_writes_nothing_without_waiting(kind: str) -> None:
    async with joined(kind) as pair:
        batch = batch_of(b"not yet")
        assert not pair.near.try_send(batch)
        assert batch.chunks == [b"not yet"]
        assert pair.near.try_send(batch_of())
        assert pair.near.writes == 0


@every_kind
@bounded()
async def test_a_message_is_one_write_and_one_read(kind: str) -> None:
    async with joined(kind) as pair:
        for sender, receiver in ((pair.near, pair.far), (pair.far, pair.near)):
            await sender.send(batch_of(b"what the handshake left to read"))  # TLS tickets come with it
            await receive_exactly(receiver, 31)
            before = sender.writes, receiver.reads
            for number in range(1, 21):
                await sender.send(batch_of(b"%d" % number, b" some", b" pieces"))
                text = b"%d some pieces" % number
                assert await receiver.receive() == text
                assert (sender.writes - before[0], receiver.reads - before[1]) == (number, number)


@every_kind
@bounded()
async def test_received_bytes_are_right_until_the_next_read_of_any_transport(kind: str) -> None:
    """Sockets of one run share a read buffer; whoever reads takes its bytes out before it waits again."""
    async with joined(kind) as first, joined(kind) as second:
        for number in range(20):
            for sender, text in ((first.near, b"first %d" % number), (second.near, b"second %d" % number)):
                await sender.send(batch_of(text))
            one = bytes(await first.far.receive())
            two = await second.far.receive()
            assert (one, bytes(two)) == (b"first %d" % number, b"second %d" % number)


@every_kind
@bounded()
async def test_what_a_session_has_received_stays_as_it_is(kind: str) -> None:
    """Chunks that the application keeps are not of the buffer that other sessions read into meanwhile."""
    payloads = [bytes([number]) * 10_000 for number in range(1, 11)]
    async with joined(kind) as first, joined(kind) as second:
        async with (
            _run_session(first.far, False, QUIET, []) as one,
            _run_session(second.far, False, QUIET, []) as two,
        ):
            for number, payload in enumerate(payloads):
                stream_id = 3 + 2 * number
                pair = (first, second)[number % 2]
                await pair.near.send(batch_of(encode_syn(stream_id), data(stream_id, payload)))
                await wait_all_tasks_blocked()
            kept = []
            for number, payload in enumerate(payloads):
                stream = await (one, two)[number % 2].accept_stream()
                received = b""
                while len(received) < len(payload):
                    received += await stream.receive_some()
                kept.append(received)
            one.kill()
            two.kill()
        assert kept == payloads


# ---- ends ----


@pytest.mark.parametrize("kind", HALF_CLOSEABLE)
@bounded()
async def test_one_direction_may_end_before_the_other(kind: str) -> None:
    async with joined(kind) as pair:
        assert pair.near.half_closeable
        await pair.near.send(batch_of(b"the last"))
        await pair.near.send_eof()
        assert await receive_exactly(pair.far, 8) == b"the last"
        assert await pair.far.receive() == b""
        assert await pair.far.receive() == b""  # and stays so
        await pair.far.send(batch_of(bytes(50_000)))
        assert await receive_exactly(pair.near, 50_000) == bytes(50_000)
        await pair.far.send_eof()
        assert await pair.near.receive() == b""


@bounded()
async def test_where_no_direction_can_end_alone_the_session_is_told() -> None:
    async with joined("ssl_stream") as pair:
        assert not pair.near.half_closeable
        await pair.near.send_eof()
        await pair.near.send(batch_of(b"still open"))
        assert await receive_exactly(pair.far, 10) == b"still open"


@every_kind
@bounded()
async def test_an_end_without_goaway_is_an_error(kind: str) -> None:
    async with joined(kind) as pair, _run_session(pair.far, False, QUIET, []) as session:
        await pair.near.send(batch_of(encode_syn(3), data(3, b"not all")))
        stream = await session.accept_stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.near.aclose)
            assert await stream.receive_some() == b"not all"
            with pytest.raises(muxpy.SessionClosed):
                await stream.receive_some()
        end = await session.wait()
        assert end.code == muxpy.ErrorCode.INTERNAL_ERROR
        assert isinstance(end.error, TRANSPORT_ERRORS)


@pytest.mark.parametrize("kind", HALF_CLOSEABLE)
@bounded()
async def test_an_end_after_goaway_is_in_order(kind: str) -> None:
    async with joined(kind) as pair, _run_session(pair.far, False, QUIET, []) as session:
        await pair.near.send(batch_of(encode_goaway(0, 0)))
        await pair.near.send_eof()
        end = await session.wait()
        assert (end.code, end.error, end.remote_code) == (muxpy.ErrorCode.NO_ERROR, None, 0)


@pytest.mark.parametrize("kind", OVER_TCP)
@bounded()
async def test_a_reset_of_the_peer_is_an_error_for_whoever_receives(kind: str) -> None:
    async with joined(kind) as pair:
        reset(pair.below[0])
        with pytest.raises(TRANSPORT_ERRORS):
            await pair.far.receive()


@pytest.mark.parametrize("kind", ["tls", "ssl_stream"])
@bounded()
async def test_a_connection_cut_below_tls_does_not_pass_for_an_end(kind: str) -> None:
    async with joined(kind) as pair:
        await pair.near.send(batch_of(b"a part"))
        await pair.below[0].send_eof()
        assert await receive_exactly(pair.far, 6) == b"a part"
        with pytest.raises(trio.BrokenResourceError):
            await pair.far.receive()


@every_kind
@bounded()
async def test_a_peer_that_is_gone_is_an_error_for_whoever_sends(kind: str) -> None:
    async with joined(kind) as pair:
        await pair.far.send(batch_of(b"unread"))
        await trio.aclose_forcefully(pair.near)
        with pytest.raises(TRANSPORT_ERRORS):
            await send_for_ever(pair.far)


@every_kind
@bounded()
async def test_closing_ends_a_receive_that_waits(kind: str) -> None:
    async with joined(kind) as pair:
        failed = trio.Event()

        async def receive() -> None:
            with pytest.raises(TRANSPORT_ERRORS):
                await pair.far.receive()
            failed.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            await trio.aclose_forcefully(pair.far)
            await failed.wait()
        with pytest.raises(TRANSPORT_ERRORS):
            await pair.far.receive()


@pytest.mark.parametrize("kind", ["tcp", "unix", "tls", "memory", "pipes"])
@bounded()
async def test_nothing_is_sent_on_a_transport_that_was_closed(kind: str) -> None:
    """Least of all to another file that has got the number of its descriptor."""
    async with joined(kind) as pair:
        await trio.aclose_forcefully(pair.near)
        innocent = [os.pipe() for _ in range(4)]
        with pytest.raises(trio.ClosedResourceError):
            await pair.near.send(batch_of(b"to whom?"))
        for reading, writing in innocent:
            os.close(writing)
            assert os.read(reading, 100) == b""
            os.close(reading)


@every_kind
@bounded()
async def test_a_transport_at_rest_has_nothing_of_its_own_to_say(kind: str) -> None:
    async with joined(kind) as pair:
        for sender, receiver in ((pair.near, pair.far), (pair.far, pair.near)):
            await sender.send(batch_of(b"hello"))
            assert await receive_exactly(receiver, 5) == b"hello"
            assert not sender.has_output
            assert not receiver.has_output


@bounded()
async def test_what_tls_has_to_say_goes_with_an_empty_batch() -> None:
    async with joined("tls") as pair:
        assert isinstance(pair.near, TlsTransport)
        pair.near._tls.write(b"of its own")
        assert pair.near.has_output
        assert pair.near.try_send(batch_of())
        assert not pair.near.has_output
        assert await receive_exactly(pair.far, 10) == b"of its own"


@every_kind
@bounded()
async def test_a_receive_that_is_cancelled_loses_nothing(kind: str) -> None:
    async with joined(kind) as pair:
        for number in range(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pair.far.receive)
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            await pair.near.send(batch_of(b"%d" % number))
            assert await receive_exactly(pair.far, 1) == b"%d" % number
