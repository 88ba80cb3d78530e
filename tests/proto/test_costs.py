"""What a short stream costs the cores, counted and never timed: the library's functions that are entered."""

import sys
from collections import Counter
from types import FrameType

from muxpy import SessionConfig
from muxpy.proto import Opening
from tests.helpers.content import COUNTED

from .pair import Pair
from .side import MANY

QUESTION = COUNTED[:20]


def exchange(pair: Pair) -> None:
    """Open a stream, send a question and FIN, have it answered by as much, and close both ends."""
    client, server = pair.client.core, pair.server.core
    near = client.open(Opening())
    assert client.sending.submit_small(near, QUESTION, end=True)
    client.finish(near)
    batch = client.sending.next_batch(MANY)
    assert batch is not None
    [far] = server.receive(b"".join(batch.chunks)).opened
    server.accepted(far, hold=True)
    assert server.read(far, None) == QUESTION
    assert server.sending.submit_small(far, QUESTION, end=True)
    server.finish(far)
    server.close(far)
    server.let_go(far)
    batch = server.sending.next_batch(MANY)
    assert batch is not None
    client.receive(b"".join(batch.chunks))
    assert client.read(near, None) == QUESTION
    client.close(near)
    assert not client.streams
    assert not server.streams


def test_a_question_and_its_answer_enter_few_functions() -> None:
    """What is added to them is added to the cost of every request."""
    pair = Pair(SessionConfig())
    for _ in range(3):  # what is done once for a connection is over
        exchange(pair)
    entered: Counter[str] = Counter()

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and str(frame.f_globals["__name__"]).startswith("muxpy."):
            entered[frame.f_code.co_name] += 1

    sys.setprofile(note)
    try:
        exchange(pair)
    finally:
        sys.setprofile(None)
    assert sum(entered.values()) <= 69, entered
