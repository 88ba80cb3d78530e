"""Target: two correct ends, joined. The input says what the applications do, and when which bytes arrive."""

from muxpy import SessionConfig
from tests.proto.pair import End, Half, Pair

from .script import Script

__all__ = ["run"]

CONFIGS = (
    SessionConfig(max_window=300_000, receive_budget=400_000, max_streams=6, accept_backlog=4),
    SessionConfig(max_window=300_000, receive_budget=0, max_streams=2, accept_backlog=1),
    SessionConfig(),
)
PRIORITIES = (0, 0, 1, 0x7FFFFFFF)
SIZES = (1, 7, 100, 4095, 4096, 16383, 16384, 40_000, 65536, 65537, 200_000)
CUTS = (1, 3, 8, 12, 1000, 16391, 65536, 1 << 20)
LIMITS = (1, 20_000, 1 << 20)
TIMES = (0.001, 0.05, 1.0)
CODES = (0, 7, 99)
MOST_STREAMS = 12
RTT, ROUND_TRIPS = 0.05, 4


def run(data: bytes) -> None:
    """Play the script, checking after each step, then finish everything and see that all has arrived."""
    play = Play(Script(data))
    while play.script:
        play.step()
        play.pair.check()
    play.pair.wind_up()


class Play:
    """The pair, and the steps that a script may take."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.pair = Pair(script.pick(CONFIGS))
        for end in self.pair.ends:
            end.open()
        self.pair.settle()
        self.steps = (
            self.send,
            self.submit,
            self.write,
            self.deliver,
            self.take,
            self.round_trip,
            self.open,
            self.accept,
            self.finish,
            self.close,
            self.reset,
            self.withdraw,
            self.take_all,
            self.pass_time,
            self.heartbeat,
            self.go_away,
            self.submit_small,
            self.bulk,
            self.submit_last,
            self.submit_last_small,
        )

    def step(self) -> None:
        """One byte says which end does what."""
        choice = self.script.byte()
        self.steps[choice % len(self.steps)](self.pair.ends[choice >> 7])

    def half(self, end: End) -> Half | None:
        return end.pick(self.script.byte())

    def max_bytes(self) -> int | None:
        return self.script.pick((None, 1, 9000, *SIZES))

    def open(self, end: End) -> None:
        flags = self.script.byte()
        if end.core.can_open and len(end.live()) < MOST_STREAMS:
            end.open(PRIORITIES[(flags >> 1) % len(PRIORITIES)], fin=bool(flags & 1))

    def submit(self, end: End) -> None:
        if half := self.half(end):
            end.submit(half, self.script.pick(SIZES))

    def submit_small(self, end: End) -> None:
        if half := self.half(end):
            end.submit_small(half, 1 + self.script.byte() ** 2 % 5000)

    def submit_last(self, end: End) -> None:
        if half := self.half(end):
            end.submit(half, self.script.pick(SIZES), end=True)

    def submit_last_small(self, end: End) -> None:
        if half := self.half(end):
            end.submit_small(half, 1 + self.script.byte() ** 2 % 5000, end=True)

    def take(self, end: End) -> None:
        if half := self.half(end):
            end.take(half, self.max_bytes(), self.pair.now)

    def take_all(self, end: End) -> None:
        end.take_all(self.pair.now)

    def finish(self, end: End) -> None:
        if half := self.half(end):
            end.finish(half)

    def close(self, end: End) -> None:
        if half := self.half(end):
            end.close(half)

    def reset(self, end: End) -> None:
        if half := self.half(end):
            end.reset(half, self.script.pick(CODES))

    def withdraw(self, end: End) -> None:
        if half := self.half(end):
            end.withdraw(half)

    def go_away(self, end: End) -> None:
        if self.pair.now > 1.0:  # not as the first thing: little happens after it
            end.core.go_away(0, b"enough")

    def accept(self, end: End) -> None:
        end.accept()

    def write(self, end: End) -> None:
        self.pair.write(end, self.script.pick(LIMITS))

    def deliver(self, end: End) -> None:
        self.pair.deliver(end, self.script.pick(CUTS))

    def send(self, end: End) -> None:
        if half := self.half(end):
            self.pair.send(end, half, self.script.pick(SIZES), self.script.pick(CUTS), self.max_bytes())

    def bulk(self, end: End) -> None:
        """Some round trips of a stream that carries all that its window allows, and is read: its window grows."""
        if half := self.half(end):
            for _ in range(ROUND_TRIPS):
                end.submit(half, 65536)
                self.pair.round_trip(end, RTT)
                self.pair.round_trip(self.pair.other(end), RTT)

    def round_trip(self, end: End) -> None:
        self.pair.round_trip(end, RTT)

    def pass_time(self, end: End) -> None:
        self.pair.now += self.script.pick(TIMES)

    def heartbeat(self, end: End) -> None:
        end.core.sample_rtt(RTT)
