"""Two correct ends, joined, with random operations at either and bytes delivered in random cuts."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from muxpy import SessionConfig
from muxpy.proto import Phase
from tests.helpers.content import COUNTED

from .pair import End, Half, Pair

pytestmark = pytest.mark.no_cover  # the same many times over

CONFIG = SessionConfig(max_window=300_000, receive_budget=400_000, max_streams=6, accept_backlog=4)
HEARTBEAT_RTT = 0.05

ends = st.booleans()
picks = st.integers(0, 30)
sizes = st.one_of(st.integers(1, 100), st.sampled_from([16383, 16384, 40_000, 65536, 65537, 200_000]))
cuts = st.one_of(st.integers(1, 20), st.sampled_from([1000, 16391, 65536, 1 << 20]))


class TwoEnds(RuleBasedStateMachine):
    """Each rule is one thing that an application, a writer or a transport does."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair(CONFIG)

    def end(self, client: bool) -> End:
        return self.pair.client if client else self.pair.server

    def half(self, client: bool, pick: int) -> Half | None:
        return self.end(client).pick(pick)

    @initialize()
    def first_streams(self) -> None:
        """Begin with two streams that both ends know, one from either side."""
        for end in self.pair.ends:
            end.open()
        self.pair.settle()

    @rule(client=ends, priority=st.sampled_from([0, 0, 1, 0x7FFFFFFF]), fin=st.booleans())
    def open(self, client: bool, priority: int, fin: bool) -> None:
        end = self.end(client)
        if end.core.can_open and len(end.live()) < 12:
            end.open(priority, fin=fin)

    @rule(client=ends, pick=picks, size=sizes, end=st.sampled_from([False, False, True]))
    def submit(self, client: bool, pick: int, size: int, end: bool) -> None:
        if half := self.half(client, pick):
            self.end(client).submit(half, size, end=end)

    @rule(client=ends, pick=picks, size=st.integers(1, 5000), end=st.sampled_from([False, False, True]))
    def submit_small(self, client: bool, pick: int, size: int, end: bool) -> None:
        if half := self.half(client, pick):
            self.end(client).submit_small(half, size, end=end)

    @rule(client=ends, pick=picks, max_bytes=st.one_of(st.none(), sizes))
    def take(self, client: bool, pick: int, max_bytes: int | None) -> None:
        if half := self.half(client, pick):
            self.end(client).take(half, max_bytes, self.pair.now)

    @rule(client=ends)
    def take_all(self, client: bool) -> None:
        self.end(client).take_all(self.pair.now)

    @rule(client=ends, pick=picks)
    def finish(self, client: bool, pick: int) -> None:
        if half := self.half(client, pick):
            self.end(client).finish(half)

    @rule(client=ends, pick=picks, code=st.sampled_from([None, None, 0, 7, 99]))
    def end_both(self, client: bool, pick: int, code: int | None) -> None:
        """Close a stream, or reset it."""
        if not (half := self.half(client, pick)):
            return
        if code is None:
            self.end(client).close(half)
        else:
            self.end(client).reset(half, code)

    @rule(client=ends, pick=picks)
    def withdraw(self, client: bool, pick: int) -> None:
        if half := self.half(client, pick):
            self.end(client).withdraw(half)

    @precondition(lambda self: self.pair.now > 3.0)
    @rule(client=ends)
    def go_away(self, client: bool) -> None:
        self.end(client).core.go_away(0, b"enough")

    @rule(client=ends)
    def accept(self, client: bool) -> None:
        self.end(client).accept()

    @rule(client=ends, limit=st.sampled_from([1, 20_000, 1 << 20]))
    def write(self, client: bool, limit: int) -> None:
        self.pair.write(self.end(client), limit)

    @rule(client=ends, count=cuts)
    def deliver(self, client: bool, count: int) -> None:
        self.pair.deliver(self.end(client), count)

    @rule(client=ends, pick=picks, size=sizes, count=cuts, max_bytes=st.one_of(st.none(), st.integers(1, 9000)))
    def send(self, client: bool, pick: int, size: int, count: int, max_bytes: int | None) -> None:
        if half := self.half(client, pick):
            self.pair.send(self.end(client), half, size, count, max_bytes)

    @rule(client=ends)
    def round_trip(self, client: bool) -> None:
        self.pair.round_trip(self.end(client), HEARTBEAT_RTT)

    @rule(seconds=st.sampled_from([0.001, 0.05, 1.0]))
    def pass_time(self, seconds: float) -> None:
        self.pair.now += seconds

    @rule(client=ends)
    def heartbeat(self, client: bool) -> None:
        self.end(client).core.sample_rtt(HEARTBEAT_RTT)

    @invariant()
    def what_must_hold(self) -> None:
        self.pair.check()

    def teardown(self) -> None:
        self.pair.wind_up()


TestTwoEnds = TwoEnds.TestCase
TestTwoEnds.settings = settings(deadline=None, max_examples=100, stateful_step_count=50)


def test_both_ends_read_all_that_the_other_sent() -> None:
    pair = Pair(SessionConfig())
    near = pair.client.open()
    pair.client.submit(near, len(COUNTED))
    pair.settle()
    pair.client.finish(near)
    pair.settle()
    far = pair.server.halves[near.state.id]
    assert (far.received, far.state.phase) == (len(COUNTED), Phase.REMOTE_DONE)
    pair.server.submit(far, 200_000)
    pair.settle()
    pair.server.finish(far)
    pair.settle()
    assert near.received == 200_000
    pair.check()
    pair.check_end()


def test_streams_opened_while_goaway_is_on_its_way_are_refused_and_retryable() -> None:
    pair = Pair(SessionConfig())
    pair.server.core.go_away(0)
    near = pair.client.open()
    pair.client.submit(near, 100)
    pair.settle()
    assert near.state.retryable
    assert pair.server.halves == {}
    pair.check()
    pair.check_end()


def test_close_while_the_peer_waits_for_window_lets_it_learn_of_it() -> None:
    pair = Pair(SessionConfig())
    near = pair.client.open()
    pair.client.submit(near, 100_000)
    pair.write(pair.client, 1 << 20)
    pair.deliver(pair.server, 1 << 20)
    assert near.state.send_window == 0
    pair.server.close(pair.server.halves[near.state.id])
    pair.check()
    pair.settle()
    assert (near.state.phase, near.state.reset_code, near.state.reset_by_peer) == (Phase.GONE, 7, True)
    pair.check()
    pair.check_end()
