"""Target: header compression. Of any blocks our decoder says what another one says, and what it found is encoded so
that both find it again."""

from muxpy.frame.http2 import HpackEncoder
from tests.frame.http2.oracle import Pair

from .script import Script

__all__ = ["run"]

SIZES = (4096, 0, 31, 100, 300)


def run(data: bytes) -> None:
    """The first byte of each step says how long a block follows, or how large the encoder's table may be."""
    script = Script(data)
    received, sent = Pair(), Pair()
    encoder = HpackEncoder()
    while script:
        length = script.byte()
        if length >= 0xF8:
            encoder.set_max_table_size(SIZES[length % len(SIZES)])
            continue
        block = received.decode(script.some(length))
        if block is None:
            return
        for _ in range(3):
            again = sent.decode(encoder.encode(block.fields, block.sensitive))
            assert again is not None
            assert again.fields == block.fields
            assert (block.sensitive or frozenset()) <= (again.sensitive or frozenset())
