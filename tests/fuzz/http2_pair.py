"""Target: a client and a server of HTTP/2, joined. The input says what the applications do, and when which bytes
arrive. What each application saw must agree: heads and trailers as they were sent, bytes in order, and an end only
where the other side has ended."""

from dataclasses import dataclass, field
from functools import partial

from muxpy.http import Config
from muxpy.proto import Opening
from muxpy.proto.http2 import Connection, HttpStream
from tests.helpers.content import COUNTED

from .script import Script

__all__ = ["run"]

WINDOW = 65536
small = partial(Config, max_window=300_000, reset_burst=10_000)
CONFIGS = (
    small(receive_budget=400_000, max_streams=6, accept_backlog=4),
    small(receive_budget=0, max_streams=2, accept_backlog=2),
    Config(reset_burst=10_000),
)
SIZES = (1, 7, 100, 4096, 16384, 16385, 40_000, 65535, 65536, 200_000)
CUTS = (1, 3, 9, 12, 1000, 16393, 65536, 1 << 20)
LIMITS = (1, 20_000, 1 << 20)
TIMES = (0.001, 0.05, 1.0)
CODES = (0, 8, 99)
MOST_STREAMS = 12
MANY = 1 << 20
TRAILERS = ((), ((b"x-check", b"1"),), ((b"x-check", b"2"), (b"x-more", b"a" * 300)))


@dataclass
class Half:
    """What the application at one end knows of a stream."""

    state: HttpStream
    sent: int = 0
    received: int = 0
    head: tuple[tuple[bytes, bytes], ...] = ()
    trailers: tuple[tuple[bytes, bytes], ...] = ()
    ending: bool = False
    finished: bool = False  # in order, by this side
    closed: bool = False

    @property
    def may_submit(self) -> bool:
        state = self.state
        idle = not (state.unsent or state.cut_short or self.ending or self.closed)
        return state.phase.sends and idle and bool(self.head)

    @property
    def room(self) -> int:
        announced = self.state.announced
        return (len(COUNTED) if announced is None else announced) - self.sent


@dataclass
class End:
    """One connection and its application."""

    core: Connection
    config: Config
    out: bytearray = field(default_factory=bytearray)
    halves: dict[int, Half] = field(default_factory=dict)
    unaccepted: list[HttpStream] = field(default_factory=list)

    def pick(self, number: int) -> Half | None:
        living = [half for half in self.halves.values() if not half.closed]
        return living[number % len(living)] if living else None


def run(data: bytes) -> None:
    """Play the script, checking after each step, then finish everything and see that all has arrived."""
    play = Play(Script(data))
    while play.script:
        play.step()
        play.check()
    play.wind_up()


class Play:
    """The pair, and the steps that a script may take."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.now = 0.0
        config = script.pick(CONFIGS)
        clock = lambda: self.now  # noqa: E731 - both have the same one
        eager = script.flag()
        self.client = End(Connection(config, client=True, clock=clock), config)
        self.server = End(Connection(config, client=False, clock=clock, eager=eager), config)
        self.ends = (self.client, self.server)
        self.open(self.client)
        self.settle()
        self.steps = (
            self.submit,
            self.write,
            self.deliver,
            self.take,
            self.round_trip,
            self.open,
            self.accept,
            self.answer,
            self.finish,
            self.close,
            self.reset,
            self.withdraw,
            self.take_all,
            self.pass_time,
            self.submit_small,
            self.ping,
            self.go_away,
            self.submit_last,
        )

    def step(self) -> None:
        """One byte says which end does what."""
        choice = self.script.byte()
        self.steps[choice % len(self.steps)](self.ends[choice >> 7])

    def half(self, end: End) -> Half | None:
        return end.pick(self.script.byte())

    def other(self, end: End) -> End:
        return self.server if end is self.client else self.client

    # ---- what an application does ----

    def open(self, end: End) -> None:
        flags = self.script.byte()
        core = end.core
        if not core.can_open or not core.may_open or len(core.streams) >= MOST_STREAMS:
            return
        if flags & 3 == 3:
            head: tuple[tuple[bytes, bytes], ...] = ((b":method", b"CONNECT"), (b":authority", b"db:%d" % (flags >> 4)))
        else:
            rest = ((b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/%d" % (flags >> 5)))
            head = ((b":method", b"POST"), *rest, *(((b"content-length", b"9000"),) if flags & 8 else ()))
        fin = flags & 12 == 4
        state = core.open(Opening(head=head), fin=fin)
        end.halves[state.id] = Half(state, head=head, finished=fin)

    def answer(self, end: End) -> None:
        half, flags = self.half(end), self.script.byte()
        if half is None or end is self.client or half.head or not half.state.phase.sends:
            return
        length = 5000 if flags & 1 else None
        half.head = ((b":status", b"200"), *(((b"content-length", b"5000"),) if length else ()))
        end.core.send_head(half.state, half.head, length=length)

    def submit(self, end: End, *, last: bool = False) -> None:
        half, size = self.half(end), self.script.pick(SIZES)
        if half is None or not half.may_submit:
            return
        size = min(size, half.room)
        if size > 0:
            last = last and half.state.announced in (None, half.sent + size)
            view = memoryview(COUNTED)[half.sent : half.sent + size]
            end.core.sending.submit(half.state, view, end=last)
            half.sent += size
            half.ending = last

    def submit_last(self, end: End) -> None:
        self.submit(end, last=True)

    def submit_small(self, end: End) -> None:
        half, size = self.half(end), 1 + self.script.byte()
        if half is None or not half.may_submit:
            return
        data = COUNTED[half.sent : half.sent + min(size, half.room)]
        if data:
            if not end.core.sending.submit_small(half.state, data):
                end.core.sending.submit(half.state, memoryview(data))
            half.sent += len(data)

    def withdraw(self, end: End) -> None:
        if (half := self.half(end)) and half.state.unsent:
            half.sent -= half.state.unsent
            half.ending = False
            end.core.sending.withdraw(half.state)

    def finish(self, end: End) -> None:
        half, trailers = self.half(end), self.script.pick(TRAILERS)
        if half is not None and half.may_submit:
            self.end_direction(end, half, () if half.state.tunnel else trailers)

    @staticmethod
    def end_direction(end: End, half: Half, trailers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        whole = half.state.announced in (None, half.sent)
        if end.core.finish(half.state, trailers) and whole:
            half.finished, half.trailers = True, trailers

    def close(self, end: End) -> None:
        if half := self.half(end):
            if half.state.unsent:
                half.sent -= half.state.unsent
                end.core.sending.withdraw(half.state)
            whole = half.state.announced in (None, half.sent)
            half.closed = True
            half.finished |= half.state.phase.sends and not half.state.cut_short and whole
            end.core.close(half.state)

    def reset(self, end: End) -> None:
        half, code = self.half(end), self.script.pick(CODES)
        if half is not None:
            half.closed = True
            end.core.reset(half.state, code)

    def take(self, end: End) -> None:
        half, size = self.half(end), self.script.pick((None, *SIZES))
        if half is not None:
            self.read(end, half, size)

    @staticmethod
    def read(end: End, half: Half, size: int | None) -> int:
        data = end.core.read(half.state, size)
        assert data == COUNTED[half.received : half.received + len(data)], "bytes lost, doubled or out of order"
        half.received += len(data)
        return len(data)

    def take_all(self, end: End) -> None:
        for half in end.halves.values():
            while not half.closed and self.read(end, half, None):
                pass

    def accept(self, end: End) -> None:
        for stream in end.unaccepted:
            end.core.accepted(stream)
        end.unaccepted.clear()

    def ping(self, end: End) -> None:
        end.core.ping(lambda: None)

    def go_away(self, end: End) -> None:
        if self.now > 1.0:  # not as the first thing: little happens after it
            end.core.go_away(0, b"enough", final=self.script.flag())

    # ---- what is between them ----

    def write(self, end: End) -> None:
        self.write_some(end, self.script.pick(LIMITS))

    @staticmethod
    def write_some(end: End, limit: int) -> bool:
        batch = end.core.sending.next_batch(limit)
        if batch is None:
            return False
        end.out += b"".join(batch.chunks)
        for stream in batch.done:
            half = end.halves[stream.id]
            if half.ending:
                half.ending = False
                half.finished = end.core.finish(half.state) or half.finished
        return True

    def deliver(self, end: End) -> None:
        self.deliver_some(end, self.script.pick(CUTS))

    def deliver_some(self, end: End, count: int) -> None:
        """Let bytes on their way to `end` arrive."""
        far = self.other(end)
        arrived = bytes(far.out[:count])
        del far.out[:count]
        if not arrived:
            return
        changes = end.core.receive(arrived)
        for stream in changes.opened:
            assert isinstance(stream, HttpStream)
            end.halves[stream.id] = Half(stream)
            end.unaccepted.append(stream)
            sent = far.halves[stream.id].head
            assert stream.request.method == sent[0][1]
            assert (b":path", stream.request.path) in sent or stream.request.method == b"CONNECT"

    def round_trip(self, end: End) -> None:
        self.write_some(end, MANY)
        self.deliver_some(self.other(end), MANY)
        self.accept(self.other(end))
        self.now += 0.05
        self.take_all(self.other(end))

    def pass_time(self, end: End) -> None:
        self.now += self.script.pick(TIMES)
        end.core.patience.reset_stuck(self.now)
        end.core.patience.end_requests(self.now)

    def settle(self) -> None:
        """Let everything arrive, with both applications reading, until nothing moves any more."""
        moved = True
        while moved:
            moved = False
            for end in self.ends:
                while self.write_some(end, MANY):
                    moved = True
                if end.out:
                    moved = True
                    self.deliver_some(self.other(end), MANY)
                    self.accept(self.other(end))
            for end in self.ends:
                for half in end.halves.values():
                    while not half.closed and self.read(end, half, None):
                        moved = True

    # ---- what must hold ----

    def check(self) -> None:
        for end in self.ends:
            core = end.core
            assert core.error is None, core.error
            grown = sum(half.state.incoming.size - WINDOW for half in end.halves.values())
            assert core.budget.left + grown == end.config.receive_budget
            for half in end.halves.values():
                self.check_half(end, half)

    def check_half(self, end: End, half: Half) -> None:
        state, window = half.state, half.state.incoming
        assert window.available >= 0
        assert (state.id in end.core.streams) == (not state.phase.over)
        if state.phase.reads:
            assert window.available + window.buffered + window.owed == window.size
        far = self.other(end).halves.get(state.id)
        if far is None:
            return
        assert half.received + window.buffered <= far.sent
        if state.answer is not None:
            assert state.answer.status == 200
            assert far.head
        if state.phase.peer_done and not half.closed and state.reset_code is None:
            assert far.finished, "an end where the other side has not ended"
            assert half.received + window.buffered == far.sent, "a clean end, and not all is there"
            assert (state.trailers or ()) == far.trailers

    def wind_up(self) -> None:
        """Finish everything, and see that nothing is left."""
        self.settle()
        self.check()
        for end in (self.server, self.client):
            for half in end.halves.values():
                if half.may_submit and half.state.announced in (None, half.sent) and half.head:
                    self.end_direction(end, half)
                elif not half.state.phase.over:
                    half.closed = True
                    end.core.reset(half.state, 8)
            self.settle()
        self.check()
        for end in self.ends:
            assert end.core.streams == {}
            assert not end.core.sending.has_output
            assert end.core.budget.left == end.config.receive_budget
            assert end.core.open_streams == 0
