"""The reader shares the processor: a peer's tiny frames are taken apart a few at a time, its bulk in large reads."""

from __future__ import annotations

import muxpy
from muxpy.session import _reader
from muxpy.transport import _socket
from tests.frame import wire
from tests.helpers.load import until
from tests.helpers.pairs import tcp_pair
from tests.helpers.raw_peer import RawPeer
from tests.helpers.tasks import bounded

FRAME = wire.wnd_inc(3, 1)
MANY = 100_000


@bounded()
async def test_tiny_frames_are_read_a_few_at_a_time_and_bulk_as_before() -> None:
    near, far = await tcp_pair()
    peer = RawPeer(far)
    async with muxpy.open_session(near, client=False, extensions=[]) as session:
        transport = session._engine.reader._transport
        await peer.send(wire.syn(3))
        stream = await session.accept_stream()
        before = session.statistics()
        await peer.send(FRAME * MANY)
        await until(lambda: session.statistics().frames_received == before.frames_received + MANY)
        reads = session.statistics().reads - before.reads
        first = _socket.READ_SIZE // len(FRAME)  # what one read holds, before anything is known
        assert reads >= (MANY - first) / (2 * _reader.WORK_A_TURN)  # what fits into two turns is tried now and then
        assert transport.read_limit < transport.read_size
        for _ in range(20):
            await peer.send(wire.data(3, bytes(16_000)))
            received = 0
            while received < 16_000:
                received += len(await stream.receive_some())
        assert transport.read_limit == transport.read_size
        session.kill()
        await far.aclose()
