"""Target: a connection that only receives. How its input is cut must change nothing."""

from muxpy import SessionConfig
from tests.frame.wire import EXTENSION
from tests.proto.invariants import check_same_outcome
from tests.proto.side import Side

from .decoder import cut
from .peer import Peer
from .script import Script

__all__ = ["run"]

CONFIGS = (
    SessionConfig(max_streams=4, accept_backlog=3, receive_budget=200_000),
    SessionConfig(reset_burst=3, reset_rate=1.0),
)


def run(data: bytes) -> None:
    """Script: role and limits, where to cut, frames."""
    script = Script(data)
    client = script.flag()
    config = script.pick(CONFIGS)
    steps = [1 + script.byte() * script.byte() for _ in range(script.byte() % 8)]
    whole, parts = (Side(client, config, extensions=(EXTENSION,)) for _ in range(2))
    for side in (whole, parts):
        side.open()
        side.open()
    peer = Peer(whole.theirs)
    received = b""
    while script:
        received += peer.frame(script)
    known = {stream.id: stream for stream in whole.receive(received).opened}
    seen = {stream.id: stream for part in cut(received, steps) for stream in parts.receive(part).opened}
    check_same_outcome(whole, known, parts, seen)
