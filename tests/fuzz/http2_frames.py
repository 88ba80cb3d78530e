"""Target: the decoder of HTTP/2. The same bytes whole and cut where the input says must come to the same frames."""

from collections.abc import Callable

from muxpy._codes import ProtocolError
from muxpy.frame.http2 import (
    DATA,
    GOAWAY,
    HEADER_SIZE,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PRIORITY_UPDATE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Decoder,
    Http2Code,
    encode_goaway,
    encode_rst_stream,
    encode_window_update,
    parse_goaway,
    parse_headers,
    parse_ping,
    parse_priority,
    parse_priority_update,
    parse_push_promise,
    parse_rst_stream,
    parse_settings,
    parse_window_update,
)
from tests.frame.http2.wire import Frame

from .decoder import cut
from .script import Script

__all__ = ["run"]

LARGEST = 300
"""Bytes of the largest frame that is taken, so that a short input can have one that is too large."""

Reading = tuple[list[Frame], str, bool]
"""The frames, with what is there of the last, the error, and whether the bytes ended inside a frame."""

PARSERS: dict[int, Callable[[bytes], object]] = {
    PRIORITY: parse_priority,
    RST_STREAM: parse_rst_stream,
    SETTINGS: parse_settings,
    PING: parse_ping,
    GOAWAY: parse_goaway,
    WINDOW_UPDATE: parse_window_update,
    PRIORITY_UPDATE: parse_priority_update,
}


def run(data: bytes) -> None:
    """Decode `data` twice: its first bytes say where it is cut, the rest is decoded."""
    script = Script(data)
    steps = [1 + script.byte() for _ in range(script.byte() % 8)]
    received = script.rest()
    whole = read([received])
    assert whole == read(cut(received, steps))
    for frame in whole[0]:
        parse(frame)


def read(chunks: list[bytes]) -> Reading:
    """Feed the chunks to a decoder; all that it made of them."""
    decoder = Decoder(LARGEST)
    frames: list[Frame] = []
    error: ProtocolError | None = None
    expected = 0
    try:
        for chunk in chunks:
            for kind, flags, stream_id, body, rest, padding in decoder.feed(chunk):
                size = len(body) + padding + rest
                assert size <= LARGEST
                assert kind == DATA or not rest + padding
                assert not padding or flags & PADDED
                if expected:
                    before = frames[-1]
                    assert (kind, flags, stream_id, size) == (DATA, *before[1:3], expected)
                    frames[-1] = before._replace(body=before.body + bytes(body), padding=before.padding + padding)
                else:
                    frames.append(Frame(kind, flags, stream_id, bytes(body), padding))
                expected = rest
            assert len(decoder._partial) < HEADER_SIZE + LARGEST
    except ProtocolError as problem:
        error = problem
    assert error is None or error.code in (Http2Code.PROTOCOL_ERROR, Http2Code.FRAME_SIZE_ERROR)
    return frames, str(error), error is None and decoder.mid_frame


def parse(frame: Frame) -> None:
    """Any body is parsed or refused, and what was parsed is encoded so that it is parsed to the same again."""
    kind, flags, stream_id, body, _ = frame
    try:
        if kind == HEADERS:
            assert parse_headers(flags, body)[0] in body
        elif kind == PUSH_PROMISE:
            assert parse_push_promise(flags, body)[1] in body
        elif kind in PARSERS:
            PARSERS[kind](body)
    except ProtocolError as error:
        if error.code not in (Http2Code.PROTOCOL_ERROR, Http2Code.FRAME_SIZE_ERROR):
            raise
        return
    if kind == RST_STREAM:
        assert encode_rst_stream(stream_id, parse_rst_stream(body))[HEADER_SIZE:] == body
    elif kind == WINDOW_UPDATE:
        increment = parse_window_update(body)
        assert parse_window_update(encode_window_update(stream_id, increment)[HEADER_SIZE:]) == increment
    elif kind == GOAWAY:
        said = parse_goaway(body)
        assert parse_goaway(encode_goaway(*said)[HEADER_SIZE:]) == said
