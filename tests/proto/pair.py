"""Two connections joined by two queues of bytes, and what must hold between them at every step."""

from collections import deque
from dataclasses import dataclass, field

from muxpy import SessionConfig
from muxpy.proto import Batch, Opening, Phase, StreamState
from muxpy.proto.muxado import Connection
from tests.frame import wire
from tests.frame.wire import DATA, HEADER, WINDOW, WND_INC
from tests.helpers.content import COUNTED

from .side import MANY


class Wire:
    """Bytes on their way in one direction, with account of the frames that they make up."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self._frames: deque[tuple[int, wire.Frame]] = deque()  # with the offset where each ends
        self._put = self._got = 0

    def put(self, written: bytes) -> None:
        for frame in wire.split(written):
            self._put += HEADER.size + len(frame.body)
            self._frames.append((self._put, frame))
        self.bytes += written

    def get(self, count: int) -> bytes:
        taken = bytes(self.bytes[:count])
        del self.bytes[:count]
        self._got += len(taken)
        while self._frames and self._frames[0][0] <= self._got:
            self._frames.popleft()
        return taken

    def payload(self, stream_id: int) -> int:
        """Payload bytes of a stream that have not arrived."""
        return sum(
            min(len(frame.body), end - self._got)
            for end, frame in self._frames
            if frame.kind == DATA and frame.stream_id == stream_id
        )

    def increments(self, stream_id: int) -> int:
        """Window for a stream that has not arrived."""
        return sum(f.number for _, f in self._frames if f.kind == WND_INC and f.stream_id == stream_id)


def payload(frames: list[wire.Frame], stream_id: int) -> int:
    """Payload bytes of a stream."""
    return sum(len(frame.body) for frame in frames if frame.kind == DATA and frame.stream_id == stream_id)


@dataclass
class Half:
    """What the application at one end knows of a stream."""

    state: StreamState
    sent: int = 0  # bytes submitted and not withdrawn
    received: int = 0
    ending: bool = False  # the direction ends with what was submitted last
    finished: bool = False  # by us, in order
    closed: bool = False

    @property
    def may_submit(self) -> bool:
        state = self.state
        return state.phase.sends and not (state.unsent or state.cut_short or self.ending)


@dataclass
class End:
    """One connection and its application."""

    core: Connection
    config: SessionConfig
    out: Wire
    halves: dict[int, Half] = field(default_factory=dict)
    unaccepted: list[StreamState] = field(default_factory=list)

    def live(self) -> list[Half]:
        """The streams that the application has not done with."""
        return [half for half in self.halves.values() if not half.state.phase.over or half.state.incoming.buffered]

    # ---- what an application does ----

    def open(self, priority: int = 0, *, fin: bool = False) -> Half:
        half = Half(self.core.open(Opening(priority), fin=fin), finished=fin)
        self.halves[half.state.id] = half
        return half

    def submit(self, half: Half, size: int, *, end: bool = False) -> None:
        size = min(size, len(COUNTED) - half.sent)
        if half.may_submit and size:
            self.core.sending.submit(half.state, memoryview(COUNTED)[half.sent : half.sent + size], end=end)
            half.sent += size
            half.ending = end

    def submit_small(self, half: Half, size: int, *, end: bool = False) -> None:
        size = min(size, len(COUNTED) - half.sent)
        if half.may_submit and size:
            data = COUNTED[half.sent : half.sent + size]
            sending = self.core.sending
            if size % 2 and (alone := sending.small_alone(half.state, data, end)) is not None:  # some of those that may
                self.out.put(alone)
                half.finished = end
            elif sending.submit_small(half.state, data, end=end):
                half.finished = end
            else:
                self.core.sending.submit(half.state, memoryview(data), end=end)
            half.sent += size
            half.ending = end

    def withdraw(self, half: Half) -> None:
        half.sent -= half.state.unsent
        self.core.sending.withdraw(half.state)

    def take(self, half: Half, max_bytes: int | None, now: float) -> int:
        data = self.core.read(half.state, max_bytes)
        assert data == COUNTED[half.received : half.received + len(data)], "bytes lost, doubled or out of order"
        half.received += len(data)
        return len(data)

    def finish(self, half: Half) -> None:
        if not half.state.unsent and not half.state.cut_short and self.core.finish(half.state):
            half.finished = True

    def close(self, half: Half) -> None:
        if half.state.unsent:
            self.withdraw(half)
        half.closed = True
        half.finished = half.finished or (half.state.phase.sends and not half.state.cut_short)
        self.core.close(half.state)

    def reset(self, half: Half, code: int) -> None:
        half.closed = True  # whatever is unread is thrown away, also if the stream had ended
        self.core.reset(half.state, code)

    def pick(self, number: int) -> Half | None:
        """One of the streams that the application has not done with."""
        live = [half for half in self.live() if not half.closed]
        return live[number % len(live)] if live else None

    def take_all(self, now: float) -> None:
        """Read what is there, of every stream."""
        for half in self.live():
            while not half.closed and self.take(half, None, now):
                pass

    def accept(self) -> None:
        for stream in self.unaccepted:
            self.core.accepted(stream)
        self.unaccepted.clear()


class Pair:
    """A client and a server, joined."""

    def __init__(self, config: SessionConfig) -> None:
        to_server, to_client = Wire(), Wire()
        self.now = 0.0
        self.client = End(Connection(config, client=True, clock=lambda: self.now), config, to_server)
        self.server = End(Connection(config, client=False, clock=lambda: self.now), config, to_client)
        self.ends = (self.client, self.server)

    def other(self, end: End) -> End:
        return self.server if end is self.client else self.client

    def write(self, end: End, limit: int) -> Batch | None:
        """Let one end put its next batch on the wire."""
        batch = end.core.sending.next_batch(limit)
        if batch is not None:
            end.out.put(b"".join(batch.chunks))
            for stream in batch.done:
                end.halves[stream.id].finished |= end.halves[stream.id].ending
        return batch

    def deliver(self, end: End, count: int) -> None:
        """Let `count` bytes on their way to `end` arrive."""
        arrived = self.other(end).out.get(count)
        if not arrived:
            return
        changes = end.core.receive(arrived)
        for stream in changes.opened:
            end.halves[stream.id] = Half(stream)
            end.unaccepted.append(stream)
        for listed in (changes.opened, changes.readable, changes.reset):
            assert len(set(map(id, listed))) == len(listed)
        for stream in changes.readable:
            assert stream.incoming.buffered or stream.phase.peer_done or stream.reset_code is not None

    def send(self, end: End, half: Half, size: int, count: int, max_bytes: int | None) -> None:
        """Some data goes out, some of it arrives, and some of that is read."""
        far = self.other(end)
        end.submit(half, size)
        self.write(end, 1 << 20)
        self.deliver(far, count)
        there = far.halves.get(half.state.id)
        if there is not None and not there.closed:
            far.take(there, max_bytes, self.now)

    def round_trip(self, end: End, seconds: float) -> None:
        """All that waits at one end goes out, arrives, and is read."""
        far = self.other(end)
        self.write(end, 1 << 20)
        self.deliver(far, 1 << 20)
        far.accept()
        self.now += seconds
        far.take_all(self.now)

    def settle(self) -> None:
        """Let everything arrive, with both applications reading, until nothing moves any more."""
        moved = True
        while moved:
            moved = False
            for end in self.ends:
                while self.write(end, MANY):
                    moved = True
                if end.out.bytes:
                    moved = True
                    self.deliver(self.other(end), MANY)
                    self.other(end).accept()
            for end in self.ends:
                for half in end.halves.values():
                    while end.take(half, None, self.now):
                        moved = True

    # ---- what must hold ----

    def check(self) -> None:
        for end in self.ends:
            assert end.core.error is None, end.core.error
            assert end.core.sending.outbox.control_frames <= end.config.max_control_frames
            self._check_budget(end)
            for half in end.halves.values():
                self._check_stream(end, half)

    def _check_budget(self, end: End) -> None:
        grown = sum(half.state.incoming.size - WINDOW for half in end.halves.values())
        assert end.core.budget.left >= 0
        assert end.core.budget.left + grown == end.config.receive_budget

    def _check_stream(self, end: End, half: Half) -> None:
        state = half.state
        assert 0 <= state.send_window <= 0x7FFFFFFF
        assert state.incoming.available >= 0
        assert WINDOW <= state.incoming.size <= end.config.max_window
        assert (state.id in end.core.streams) == (not state.phase.over)
        if state.phase.reads:
            assert state.incoming.available + state.incoming.buffered + state.incoming.owed == state.incoming.size
        far = self.other(end).halves.get(state.id)
        if far is not None:
            assert half.received + state.incoming.buffered <= far.sent
            if state.phase.peer_done and not half.closed:
                assert far.finished
                assert half.state.reset_code is not None or half.received + state.incoming.buffered == far.sent
        self._check_send_window(end, half, far)

    def _check_send_window(self, end: End, half: Half, far: Half | None) -> None:
        """What a sender may still send, with what is on its way, is what the receiver granted: not a byte more."""
        state = half.state
        if state.phase.over or (far is not None and far.state.phase.over):
            return
        if far is None and state.id <= self.other(end).core._table.last_remote:
            return  # refused: its RST is on the way
        granted = WINDOW if far is None else far.state.incoming.available - far.state.incoming.unwritten
        back = self.other(end).out.increments(state.id)
        framed = payload(
            wire.split(bytes(end.core.sending.outbox.framed)), state.id
        )  # small messages that are not written yet
        assert state.send_window + framed + end.out.payload(state.id) + back == granted

    def wind_up(self) -> None:
        """Deliver everything, finish everything, and see that nothing is left and every place is free again."""
        self.settle()
        self.check()
        for end in self.ends:
            end.accept()
            for half in list(end.halves.values()):
                if half.state.cut_short:
                    end.close(half)
                else:
                    end.finish(half)
        self.settle()
        self.check()
        self.check_end()
        for end in self.ends:
            far = self.other(end)
            if end.core.can_open and not far.core.goaway_sent:
                self._open_as_many_as_allowed(end, far)

    def _open_as_many_as_allowed(self, end: End, far: End) -> None:
        halves = []
        for _ in range(min(far.config.max_streams, 8)):
            halves.append(end.open())
            self.settle()
        assert all(half.state.id in far.core.streams for half in halves)

    def check_end(self) -> None:
        """After `settle`, with every stream finished at both ends: nothing is left, and nothing was lost."""
        for end in self.ends:
            assert end.core.streams == {}
            assert not end.core.sending.has_output
            assert end.core.sending.outbox.control_frames == 0
            assert end.core.budget.left == end.config.receive_budget
            for half in end.halves.values():
                assert half.state.phase.over
                far = self.other(end).halves.get(half.state.id)
                if half.state.phase is Phase.CLOSED:
                    assert far is not None
                    assert half.state.phase.peer_done
                    if not half.closed and far.state.phase is Phase.CLOSED:
                        assert half.received == far.sent
