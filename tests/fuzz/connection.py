"""Target: one connection. The input plays its peer, its application, its writer and its clock.

The first bytes choose the role and the limits. Then each step is a frame of the peer, which may wait to arrive together
with those after it, or one thing that an application does, within what the shell allows it.
"""

from functools import partial

from muxpy import SessionConfig
from muxpy.proto import Opening, StreamState
from tests.frame import wire
from tests.frame.wire import EXTENSION, WINDOW
from tests.proto.invariants import check
from tests.proto.side import Side

from .peer import NUMBERS, Peer
from .script import Script
from .sent import Sent

__all__ = ["run"]

small = partial(SessionConfig, max_streams=4, accept_backlog=3, receive_budget=200_000)
CONFIGS = (
    small(max_control_frames=64),
    small(max_control_frames=16, max_window=100_000),
    small(max_control_bytes=1024),
    small(reset_burst=2, reset_rate=1.0),
    SessionConfig(receive_budget=0),
    SessionConfig(),
)
LAST_IDS = 0x7FFFFFFB
"""Ids from here on leave room for a few streams only."""

SIZES = (0, 1, 9, 100, 4095, 4096, 16383, 16384, 20_000, 65535, 65536, 70_000)
LIMITS = (1, 100, 16384, 65536, 1 << 20)
TIMES = (0.0, 0.001, 0.01, 0.05, 1.0, 15.0)
RTT, ROUND_TRIPS = 0.05, 3
FULL = 16383
"""Bytes of the largest frame."""
SOURCE = bytes(1 << 17)
ANSWER = 16
"""Bytes that one received frame may make us queue: RST is 12, WND_INC too."""
FAREWELL = 16 + 1024
"""Bytes of a GOAWAY with its reason."""


def run(data: bytes) -> None:
    """Play the script, then end everything and see that nothing is left."""
    scene = Scene(Script(data))
    scene.play()
    scene.end()


class Scene:
    """One connection and all around it."""

    def __init__(self, script: Script) -> None:
        self.script = script
        role = script.byte()
        self.side = Side(bool(role & 1), script.pick(CONFIGS), extensions=(EXTENSION,))
        self.core = self.side.core
        if role & 0x40:
            self.core._table._next_id = LAST_IDS + (self.side.ours & 1 == 0)
        self.peer = Peer(self.side.theirs)
        self.sent = Sent(self.core._table._next_id)
        self.known = [self.core.open(Opening())]
        self.unaccepted: list[StreamState] = []
        self.held = b""  # sent by the peer, and not here yet
        self.steps = (
            self.arrive,
            self.write,
            self.take,
            self.submit,
            self.open,
            self.accept,
            self.finish,
            self.close,
            self.reset,
            self.submit_small,
            self.withdraw,
            self.let_go,
            self.pass_time,
            self.sample_rtt,
            self.set_direct,
            self.go_away,
            self.traffic,
        )

    def play(self) -> None:
        """A byte for each step: below 128 a frame of the peer, which below 64 has arrived at once."""
        while self.script:
            choice = self.script.byte()
            if choice < 128:
                self.held += self.peer.frame(self.script)
            if choice < 64:
                self.receive(self.held)
                self.held = b""
            if choice >= 128:
                self.steps[choice % len(self.steps)]()
            self.check()

    def check(self) -> None:
        check(self.side, self.known, self.sent.goaways, may_go_away=self.core.goaway_sent)

    # ---- what the peer does ----

    def arrive(self) -> None:
        """A part of what the peer sent; the rest comes later."""
        at = len(self.held) * self.script.byte() // 255
        self.receive(self.held[:at])
        self.held = self.held[at:]

    def receive(self, data: bytes) -> None:
        outbox = self.core.sending.outbox
        config = self.side.config
        waiting, size, failed = (
            self.core.sending.outbox.control_frames,
            len(outbox.framed),
            self.core.error is not None,
        )
        granting = len(outbox.updates)
        too_many = outbox._counted + granting > config.max_control_frames
        too_much = outbox._counted_bytes + 12 * granting > config.max_control_bytes
        changes = self.core.receive(data)
        frames = len(data) // 8 + 1
        assert self.core.sending.outbox.control_frames - waiting <= frames + 1
        assert len(outbox.framed) - size <= ANSWER * frames + FAREWELL
        assert self.core.error is not None or not (too_many or too_much)
        if failed:
            assert len(outbox.framed) == size
        self.known += changes.opened
        for stream in changes.opened:
            if stream.extension:
                self.core.accepted(stream, hold=True)  # as the shell does
            else:
                self.unaccepted.append(stream)
        for stream in changes.direct:
            self.core.pass_on(stream, stream.incoming.buffered * self.script.byte() // 255)
        for listed in (changes.opened, changes.readable, changes.direct, changes.writable, changes.reset):
            assert len(set(map(id, listed))) == len(listed)

    def traffic(self) -> None:
        """Some round trips of a stream that carries all that its window allows, and is read: its window grows."""
        stream = self.stream()
        self.core.sample_rtt(RTT)
        for _ in range(ROUND_TRIPS):
            if stream.phase.reads:
                frames = min(stream.incoming.available, WINDOW) // FULL
                self.receive(self.held + wire.data(stream.id, bytes(FULL)) * frames)
                self.held = b""
            while self.core.read(stream, None):
                pass
            self.side.now += RTT

    # ---- what the application does ----

    def stream(self) -> StreamState:
        return self.script.pick(self.known)

    def sendable(self) -> StreamState | None:
        """A stream, if the shell would let the application send on it."""
        stream = self.stream()
        idle = not stream.unsent and not stream.cut_short
        return stream if stream.phase.sends and idle and self.core.error is None else None

    def open(self) -> None:
        flags, number = self.script.byte(), self.script.pick(NUMBERS)
        if self.core.can_open:
            stream_type = EXTENSION if flags & 2 else flags
            self.known.append(self.core.open(Opening(number & 0x7FFFFFFF, stream_type), fin=bool(flags & 1)))

    def accept(self) -> None:
        hold = self.script.flag()
        if self.unaccepted:
            self.core.accepted(self.unaccepted.pop(0), hold=hold)

    def let_go(self) -> None:
        stream = self.stream()
        if stream not in self.unaccepted:
            self.core.let_go(stream)

    def submit(self) -> None:
        size = self.script.pick(SIZES)
        if (stream := self.sendable()) and size:
            self.core.sending.submit(stream, memoryview(SOURCE)[:size])

    def submit_small(self) -> None:
        data = SOURCE[: 1 + self.script.byte()]
        if (stream := self.sendable()) and not self.core.sending.submit_small(stream, data):
            self.core.sending.submit(stream, memoryview(data))

    def withdraw(self) -> None:
        stream = self.stream()
        if stream.unsent:
            self.core.sending.withdraw(stream)

    def take(self) -> None:
        size = self.script.pick(SIZES) or None
        taken = self.core.read(self.stream(), size)
        assert size is None or len(taken) <= size

    def finish(self) -> None:
        if stream := self.sendable():
            self.core.finish(stream)

    def close(self) -> None:
        stream = self.stream()
        if stream.unsent:
            self.core.sending.withdraw(stream)
        self.core.close(stream)

    def reset(self) -> None:
        self.core.reset(self.stream(), self.script.byte())

    def set_direct(self) -> None:
        """The shell passes on what arrives for a stream, or does so no longer."""
        stream = self.stream()
        stream.incoming.direct = not stream.incoming.direct

    def go_away(self) -> None:
        if self.core.error is None:
            self.core.go_away(0, b"enough")

    # ---- the rest ----

    def write(self) -> None:
        limit, flags = self.script.pick(LIMITS), self.script.byte()
        batch = self.core.sending.next_batch(limit, quanta=1 + (flags >> 1) % 4, exact=bool(flags & 1))
        if batch is not None:
            written = b"".join(batch.chunks)
            assert len(written) == batch.size
            self.sent.put(written)

    def pass_time(self) -> None:
        self.side.now += self.script.pick(TIMES)

    def sample_rtt(self) -> None:
        self.core.sample_rtt(self.script.pick(TIMES))

    def end(self) -> None:
        """End everything. Nothing may be left: no stream, no place that is taken, no part of the budget, no output."""
        self.receive(self.held)
        self.core.receive_eof()
        self.check()
        for stream in self.unaccepted:
            self.core.accepted(stream)
        for stream in self.known:
            self.core.reset(stream, 7)
            self.core.close(stream)
            self.core.let_go(stream)
        self.sent.put(self.side.sent())
        self.check()
        table = self.core._table
        assert table.live == {}
        for places in (table.places(extension=False), table.places(extension=True)):
            assert (places.in_use, places.waiting) == (0, 0)
        assert self.core.open_streams == 0
        assert self.core.budget.left == self.side.config.receive_budget
        assert not self.core.sending.has_output
        assert self.core.sending.outbox.control_frames == 0
        errors = [frame for frame in self.sent.goaways if any(frame.body[4:8])]
        assert len(errors) == (self.core.error is not None)
