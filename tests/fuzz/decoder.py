"""Target: the decoder. The same bytes whole and cut where the input says must come to the same frames."""

from itertools import pairwise

from muxpy._codes import ProtocolError
from muxpy.frame.muxado import (
    DATA,
    FIN,
    GOAWAY,
    HEADER_SIZE,
    MAX_PAYLOAD,
    RST,
    SYN,
    WND_INC,
    Decoder,
    encode_goaway,
    encode_rst,
    encode_syn,
    encode_wnd_inc,
    parse_code,
    parse_goaway,
    parse_increment,
    parse_syn,
)
from tests.frame.wire import Frame

from .script import Script

__all__ = ["run"]

MANY = 200
"""Cuts that are enough: more only take time."""

Reading = tuple[list[Frame], str, bool]
"""The frames, with what is there of the last, the error, and whether the bytes ended inside a frame."""


def run(data: bytes) -> None:
    """Decode `data` twice: its first bytes say where it is cut, the rest is decoded."""
    script = Script(data)
    steps = [1 + script.byte() for _ in range(script.byte() % 8)]
    received = script.rest()
    whole = read([received])
    assert whole == read(cut(received, steps))
    for frame in whole[0]:
        check_again(frame)


def cut(data: bytes, steps: list[int]) -> list[bytes]:
    """`data` in pieces of these sizes, in turns; what is left after many of them is one piece."""
    edges = [0]
    while steps and edges[-1] < len(data) and len(edges) < MANY:
        edges.append(min(edges[-1] + steps[len(edges) % len(steps)], len(data)))
    if edges[-1] < len(data):
        edges.append(len(data))
    return [data[start:stop] for start, stop in pairwise(edges)]


def read(chunks: list[bytes]) -> Reading:
    """Feed the chunks to a decoder; all that it made of them."""
    decoder = Decoder()
    frames: list[Frame] = []
    error: ProtocolError | None = None
    rest = held = 0
    try:
        for chunk in chunks:
            passed = 0
            for kind, flags, stream_id, body, left in decoder.feed(chunk):
                assert 0 <= left <= MAX_PAYLOAD
                assert not left or kind == DATA
                passed += len(body)
                if rest:
                    assert (kind, flags, stream_id, len(body) + left) == (DATA, *frames[-1][1:3], rest)
                    frames[-1] = frames[-1]._replace(body=frames[-1].body + bytes(body))
                else:
                    frames.append(Frame(kind, flags, stream_id, bytes(body)))
                rest = left
            assert len(decoder._partial) < HEADER_SIZE + MAX_PAYLOAD
            held = held + len(chunk) - passed  # of a control frame the header is not handed on: what is kept is less
            assert len(decoder._partial) <= held
    except ProtocolError as problem:
        error = problem
    assert error is None or error.code in (1, 5)
    return frames, str(error), error is None and decoder.mid_frame


def check_again(frame: Frame) -> None:
    """What was decoded can be parsed, and encoded so that the same is decoded again."""
    fin = bool(frame.flags & FIN)
    if frame.kind == SYN:
        priority, stream_type = parse_syn(frame.flags, frame.body)
        again = only(encode_syn(frame.stream_id, priority, stream_type, fin=fin))
        assert (priority, stream_type) == parse_syn(again.flags, again.body)
        assert again.flags & FIN == fin
    elif frame.kind == RST:
        assert only(encode_rst(frame.stream_id, parse_code(frame.body))) == frame._replace(flags=0)
    elif frame.kind == WND_INC:
        again = only(encode_wnd_inc(frame.stream_id, parse_increment(frame.body)))
        assert parse_increment(again.body) == parse_increment(frame.body)
    elif frame.kind == GOAWAY:
        again = only(encode_goaway(*parse_goaway(frame.body)))
        assert parse_goaway(again.body) == parse_goaway(frame.body)
    else:
        assert frame.kind == DATA


def only(encoded: bytes) -> Frame:
    """The one frame that was encoded."""
    [(kind, flags, stream_id, body, rest)] = Decoder().feed(encoded)
    assert not rest
    return Frame(kind, flags, stream_id, bytes(body))
