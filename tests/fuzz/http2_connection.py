"""Target: one connection of HTTP/2. The input plays its peer, its application, its writer and its clock, as in
`connection`."""

from functools import partial

from muxpy.http import Config, ErrorCode
from muxpy.proto import Opening, Phase
from muxpy.proto.http2 import Connection, HttpStream

from .http2_peer import BEGIN, Peer
from .http2_sent import Sent
from .script import Script

__all__ = ["run"]

WINDOW = 65536
small = partial(Config, max_streams=4, accept_backlog=3, receive_budget=200_000, max_header_bytes=600)
CONFIGS = (
    small(max_control_frames=64),
    small(max_control_frames=16, max_window=100_000),
    small(max_control_bytes=1024, extended_connect=True),
    small(reset_burst=2, reset_rate=1.0, max_header_fields=6),
    Config(receive_budget=0),
    Config(),
)
HEAD = ((b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/"))
OPENINGS = (
    Opening(head=((b":method", b"GET"), *HEAD)),
    Opening(head=((b":method", b"POST"), *HEAD, (b"content-length", b"100"))),
    Opening(head=((b":method", b"CONNECT"), (b":authority", b"a:1"))),
    Opening(head=((b":method", b"HEAD"), *HEAD)),
)
STATUSES = (b"200", b"204", b"404", b"500")
TRAILERS = ((), (), ((b"x-check", b"1"),))
SIZES = (1, 9, 100, 4095, 16384, 20_000, 65535, 70_000)
LIMITS = (1, 100, 16384, 65536, 1 << 20)
TIMES = (0.0, 0.001, 0.05, 1.0, 15.0, 40.0)
SOURCE = bytes(1 << 17)
ANSWER = 40
"""Bytes that one received frame may make us queue: an answer of 431 with its reset is the longest."""
FAREWELL = 17 + 1024
"""Bytes of a GOAWAY with its reason."""
BEGINNING = 200
"""Bytes that a connection begins with."""


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
        self.client = bool(role & 1)
        self.config = script.pick(CONFIGS)
        self.now = 0.0
        self.core = Connection(self.config, client=self.client, clock=lambda: self.now, eager=bool(role & 2))
        self.peer = Peer(client=not self.client)
        self.sent = Sent(client=self.client)
        self.known: list[HttpStream] = []
        self.unaccepted: list[HttpStream] = []
        self.held = b""  # sent by the peer, and not here yet
        if not role & 0x10:
            self.receive(BEGIN[24:] if self.client else BEGIN)
            self.open()
        self.steps = (
            self.arrive,
            self.write,
            self.take,
            self.submit,
            self.open,
            self.accept,
            self.answer,
            self.finish,
            self.close,
            self.reset,
            self.submit_small,
            self.withdraw,
            self.let_go,
            self.pass_time,
            self.inform,
            self.set_direct,
            self.go_away,
            self.push,
            self.ping,
            self.limit,
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

    # ---- what the peer does ----

    def arrive(self) -> None:
        """A part of what the peer sent; the rest comes later."""
        at = len(self.held) * self.script.byte() // 255
        self.receive(self.held[:at])
        self.held = self.held[at:]

    def receive(self, data: bytes) -> None:
        outbox = self.core.sending.outbox
        size, failed = len(outbox.framed), self.core.error is not None
        changes = self.core.receive(data)
        frames = len(data) // 9 + 1
        assert len(outbox.framed) - size <= ANSWER * frames + FAREWELL + BEGINNING
        if failed:
            assert len(outbox.framed) == size
        self.known += changes.opened  # type: ignore[arg-type]
        self.unaccepted += changes.opened  # type: ignore[arg-type]
        for stream in changes.direct:
            self.core.pass_on(stream, stream.incoming.buffered * self.script.byte() // 255)
        for listed in (changes.opened, changes.readable, changes.direct, changes.writable, changes.reset):
            assert len(set(map(id, listed))) == len(listed)

    # ---- what the application does ----

    def stream(self) -> HttpStream | None:
        return self.script.pick(self.known) if self.known else None

    def sendable(self) -> HttpStream | None:
        """A stream, if the shell would let the application send on it."""
        stream = self.stream()
        if stream is None or stream.unsent or stream.cut_short or self.core.error is not None or stream.closed:
            return None
        return stream if stream.phase.sends and (stream.answered or self.client) else None

    def open(self) -> None:
        opening, fin = self.script.pick(OPENINGS), self.script.flag()
        if self.core.can_open and self.core.may_open:
            self.known.append(self.core.open(opening, fin=fin))

    def accept(self) -> None:
        hold = self.script.flag()
        if self.unaccepted:
            self.core.accepted(self.unaccepted.pop(0), hold=hold)

    def let_go(self) -> None:
        stream = self.stream()
        if stream is not None and stream not in self.unaccepted:
            self.core.let_go(stream)

    def answer(self) -> None:
        stream, status, flags = self.stream(), self.script.pick(STATUSES), self.script.byte()
        if stream is None or self.client or stream.answered or not stream.phase.sends or self.core.error is not None:
            return
        length = 100 if flags & 2 else None
        fields = ((b":status", status), *(((b"content-length", b"100"),) if length else ()))
        self.core.send_head(stream, fields, end=bool(flags & 1) and not length, length=length)

    def inform(self) -> None:
        stream = self.stream()
        if stream and not self.client and not stream.answered and stream.phase.sends and self.core.error is None:
            self.core.send_interim(stream, ((b":status", b"103"),))

    def push(self) -> None:
        stream, core = self.stream(), self.core
        if stream is None or self.client or core.is_local(stream.id) or core.error is not None:
            return
        if stream.phase.sends and core.takes_push:
            pushed = core.push(stream, OPENINGS[0].head)
            self.known.append(pushed)
            self.unaccepted.append(pushed)  # the handler runs for it as for any request

    def room(self, stream: HttpStream, size: int) -> int:
        """No more than was announced."""
        return size if stream.announced is None else min(size, stream.announced - stream.sent - stream.unsent)

    def submit(self) -> None:
        size, end = self.script.pick(SIZES), self.script.flag()
        if (stream := self.sendable()) and (size := self.room(stream, size)) > 0:
            end = end and stream.announced in (None, stream.sent + size)
            self.core.sending.submit(stream, memoryview(SOURCE)[:size], end=end)

    def submit_small(self) -> None:
        size = 1 + self.script.byte()
        if (stream := self.sendable()) and (size := self.room(stream, size)) > 0:
            data = SOURCE[:size]
            if not self.core.sending.submit_small(stream, data):
                self.core.sending.submit(stream, memoryview(data))

    def withdraw(self) -> None:
        stream = self.stream()
        if stream is not None and stream.unsent:
            self.core.sending.withdraw(stream)

    def take(self) -> None:
        stream, size = self.stream(), self.script.pick(SIZES)
        if stream is not None:
            assert len(self.core.read(stream, size)) <= size

    def finish(self) -> None:
        trailers = self.script.pick(TRAILERS)
        if (stream := self.sendable()) and not stream.ends:
            self.core.finish(stream, () if stream.tunnel else trailers)

    def close(self) -> None:
        stream = self.stream()
        if stream is not None and not stream.closed:
            if stream.unsent:
                self.core.sending.withdraw(stream)
            self.core.close(stream)

    def reset(self) -> None:
        stream, code = self.stream(), self.script.byte()
        if stream is not None:
            self.core.reset(stream, code)

    def set_direct(self) -> None:
        """The shell passes on what arrives for a stream, or does so no longer."""
        stream = self.stream()
        if stream is not None:
            stream.incoming.direct = not stream.incoming.direct

    def go_away(self) -> None:
        final = self.script.flag()
        if self.core.error is None:
            self.core.go_away(0, b"enough", final=final)

    def ping(self) -> None:
        if self.core.error is None:
            self.core.ping(lambda: None)

    def limit(self) -> None:
        refuse = self.script.flag()
        self.core.refuse_streams(refuse)

    # ---- the rest ----

    def write(self) -> None:
        limit, flags = self.script.pick(LIMITS), self.script.byte()
        batch = self.core.sending.next_batch(limit, quanta=1 + (flags >> 1) % 4, exact=bool(flags & 1))
        if batch is not None:
            written = b"".join(batch.chunks)
            assert len(written) == batch.size
            self.sent.put(written)
            for stream in batch.done:
                if stream.ends:
                    self.core.finish(stream)  # type: ignore[arg-type]

    def pass_time(self) -> None:
        """And the shell looks for what takes too long."""
        self.now += self.script.pick(TIMES)
        if self.core.error is not None:
            return
        if (error := self.core.patience.overdue(self.now)) is not None:
            self.core.fail(error)
            return
        for stream in self.core.patience.reset_stuck(self.now):
            assert stream.phase is Phase.GONE
        self.core.patience.end_requests(self.now)

    # ---- what holds ----

    def check(self) -> None:
        core, config = self.core, self.config
        table = core._table
        if core.error is not None:
            assert core.error.code in ErrorCode.__members__.values()
            assert core.error.reason.isprintable()
        assert 0 <= table.remote_open <= config.max_streams
        # Two for each place, less one, when the last were let in; and these, which may all be reset.
        assert 0 <= table.held < 4 * config.max_streams
        assert table.waiting == len(self.unaccepted)
        asked = [stream for stream in self.unaccepted if not core.is_local(stream.id)]  # and not pushed
        assert len(asked) <= config.accept_backlog
        assert table.local_open + table.remote_open == len(table.live)
        assert core.sending.scheduler.credit <= 0x7FFFFFFF
        unread = [stream for stream in self.known if stream.incoming.buffered]
        assert sum(stream.incoming.buffered for stream in unread) <= WINDOW * len(unread) + config.receive_budget
        grown = sum(stream.incoming.size - WINDOW for stream in self.known)
        assert core.budget.left >= 0
        assert core.budget.left + grown == config.receive_budget
        for stream in self.known:
            self.check_stream(stream)

    def check_stream(self, stream: HttpStream) -> None:
        window = stream.incoming
        assert stream.send_window <= 0x7FFFFFFF
        assert window.available >= 0
        assert WINDOW <= window.size <= self.config.max_window
        assert window.buffered == sum(map(len, window.chunks or ())) - window._offset
        assert window.arriving is None
        assert (stream.id in self.core.streams) == (not stream.phase.over)
        assert stream.announced is None or stream.sent <= stream.announced
        if not stream.phase.reads and not window.buffered:
            assert window.size == WINDOW, "a window that is of no use any more has kept its part of the budget"
        if stream.phase.reads:
            assert window.available + window.buffered + window.owed == window.size

    def end(self) -> None:
        """End everything. Nothing may be left: no stream, no place that is taken, no part of the budget, no output."""
        self.receive(self.held)
        self.core.receive_eof()
        self.check()
        while self.unaccepted:
            self.core.accepted(self.unaccepted.pop())
        for stream in self.known:
            self.core.reset(stream, 8)
            self.core.let_go(stream)
        while batch := self.core.sending.next_batch(1 << 20):
            self.sent.put(b"".join(batch.chunks))
        self.check()
        table = self.core._table
        assert table.live == {}
        assert (table.local_open, table.remote_open, table.held, table.waiting) == (0, 0, 0, 0)
        assert self.core.open_streams == 0
        assert self.core.budget.left == self.config.receive_budget
        assert not self.core.sending.has_output
        assert len(self.sent.errors) == (self.core.error is not None)
