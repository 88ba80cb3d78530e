"""Bytes to frames, for bytes cut anywhere."""

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muxpy._codes import ProtocolError
from muxpy.frame.http2 import DEFAULT_MAX_FRAME_SIZE, HEADER_SIZE, Decoder, Piece

from . import wire
from .wire import Frame, frame, padded

thorough = settings(deadline=None, max_examples=150)

ids = st.integers(0, 0x7FFFFFFF)
flags_unpadded = st.integers(0, 255).map(lambda flags: flags & ~wire.PADDED)
encoded_frames = st.one_of(
    st.builds(
        lambda kind, stream_id, body, flags: frame(kind, stream_id, body, flags=flags),
        st.integers(0, 255),
        ids,
        st.binary(max_size=40),
        flags_unpadded,
    ),
    st.builds(
        lambda stream_id, body, flags: frame(wire.DATA, stream_id, body, flags=flags),
        ids,
        st.binary(max_size=300),
        flags_unpadded,
    ),
    st.builds(
        lambda stream_id, body, padding, flags: padded(wire.DATA, stream_id, body, padding, flags=flags),
        ids,
        st.binary(max_size=20),
        st.integers(0, 20),
        st.integers(0, 255),
    ),
)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` in pieces, cut at each of `cuts`."""
    edges = sorted({0, len(data), *(at % (len(data) + 1) for at in cuts)})
    return [data[start:stop] for start, stop in pairwise(edges)]


def whole(pieces: list[Piece]) -> list[Frame]:
    """Put the pieces of each DATA frame together, and check that each says rightly how much is still to come."""
    frames: list[Frame] = []
    expected = 0
    for kind, flags, stream_id, body, rest, padding in pieces:
        if expected:
            assert (kind, flags, stream_id) == (wire.DATA, *frames[-1][1:3])
            assert len(body) + padding + rest == expected
            before = frames[-1]
            frames[-1] = before._replace(body=before.body + bytes(body), padding=before.padding + padding)
        else:
            frames.append(Frame(kind, flags, stream_id, bytes(body), padding))
        expected = rest
    assert not expected
    return frames


def decode(*chunks: bytes, decoder: Decoder | None = None) -> list[Frame]:
    """The frames in bytes that arrive in these chunks."""
    decoder = decoder or Decoder()
    pieces: list[Piece] = []
    for chunk in chunks:
        pieces += [(*piece[:3], bytes(piece[3]), *piece[4:]) for piece in decoder.feed(chunk)]
    return whole(pieces)


EVERY_KIND = [
    frame(wire.SETTINGS, 0),
    frame(wire.SETTINGS, 0, bytes(12)),
    frame(wire.HEADERS, 1, b"block", flags=wire.END_HEADERS),
    padded(wire.HEADERS, 3, b"block", 4, flags=wire.END_HEADERS),
    frame(wire.CONTINUATION, 3, b"more"),
    frame(wire.DATA, 1, b"payload", flags=wire.END_STREAM),
    frame(wire.DATA, 3),
    padded(wire.DATA, 3, b"payload", 5, flags=wire.END_STREAM),
    padded(wire.DATA, 3, b"", 3),
    padded(wire.DATA, 5, b"only", 0),
    padded(wire.DATA, 5, b"", 0),
    frame(wire.WINDOW_UPDATE, 0, bytes(4)),
    frame(wire.PING, 0, b"12345678", flags=wire.ACK),
    frame(wire.GOAWAY, 0, bytes(8) + b"why"),
    frame(0x77, 9, b"unknown"),
]


def test_frames_in_one_buffer() -> None:
    assert decode(b"".join(EVERY_KIND)) == [
        Frame(wire.SETTINGS, 0, 0, b""),
        Frame(wire.SETTINGS, 0, 0, bytes(12)),
        Frame(wire.HEADERS, wire.END_HEADERS, 1, b"block"),
        Frame(wire.HEADERS, wire.END_HEADERS | wire.PADDED, 3, b"\x04block" + bytes(4)),
        Frame(wire.CONTINUATION, 0, 3, b"more"),
        Frame(wire.DATA, wire.END_STREAM, 1, b"payload"),
        Frame(wire.DATA, 0, 3, b""),
        Frame(wire.DATA, wire.END_STREAM | wire.PADDED, 3, b"payload", 6),
        Frame(wire.DATA, wire.PADDED, 3, b"", 4),
        Frame(wire.DATA, wire.PADDED, 5, b"only", 1),
        Frame(wire.DATA, wire.PADDED, 5, b"", 1),
        Frame(wire.WINDOW_UPDATE, 0, 0, bytes(4)),
        Frame(wire.PING, wire.ACK, 0, b"12345678"),
        Frame(wire.GOAWAY, 0, 0, bytes(8) + b"why"),
        Frame(0x77, 0, 9, b"unknown"),
    ]


def test_a_cut_at_every_byte_changes_nothing() -> None:
    data = b"".join(EVERY_KIND)
    frames = decode(data)
    for at in range(len(data) + 1):
        assert decode(data[:at], data[at:]) == frames
    assert decode(*(data[at : at + 1] for at in range(len(data)))) == frames


@thorough
@given(st.lists(encoded_frames, max_size=6), st.lists(st.integers(0, 2000), max_size=12))
def test_any_cuts_change_nothing(frames: list[bytes], cuts: list[int]) -> None:
    data = b"".join(frames)
    assert decode(*cut(data, cuts)) == decode(data)
    assert len(decode(data)) == len(frames)


@thorough
@given(st.lists(encoded_frames, max_size=6), st.lists(st.integers(0, 2000), max_size=6))
def test_a_caller_may_stop_after_any_piece(frames: list[bytes], cuts: list[int]) -> None:
    decoder = Decoder()
    pieces: list[Piece] = []
    for chunk in cut(b"".join(frames), cuts):
        view = memoryview(chunk)
        while (piece := next(decoder.feed(view), None)) is not None:
            pieces.append(piece)
            view = view[decoder.position :]
    assert whole(pieces) == decode(b"".join(frames))
    assert not decoder.mid_frame


def test_the_reserved_bit_of_an_id_is_ignored() -> None:
    data = frame(wire.PING, 0x80000000, bytes(8)) + frame(wire.DATA, 0x80000005, b"x")
    for frames in (decode(data), decode(*(data[at : at + 1] for at in range(len(data))))):
        assert [one.stream_id for one in frames] == [0, 5]


def test_data_is_handed_on_as_it_arrives_in_views_of_what_was_read() -> None:
    decoder = Decoder()
    chunk = bytearray(frame(wire.DATA, 1, b"abc", length=8, flags=wire.END_STREAM))

    [piece] = decoder.feed(chunk)

    assert piece == (wire.DATA, wire.END_STREAM, 1, b"abc", 5, 0)
    chunk[HEADER_SIZE] = ord("x")
    assert bytes(piece[3]) == b"xbc"
    assert decoder.mid_frame
    assert [*decoder.feed(b"de"), *decoder.feed(b"fgh")] == [
        (wire.DATA, wire.END_STREAM, 1, b"de", 3, 0),
        (wire.DATA, wire.END_STREAM, 1, b"fgh", 0, 0),
    ]
    assert not decoder.mid_frame


def test_other_bodies_are_bytes_that_outlive_what_was_read() -> None:
    chunk = bytearray(frame(wire.HEADERS, 1, b"block"))
    [piece] = Decoder().feed(chunk)
    chunk[:] = bytes(len(chunk))
    assert piece[3] == b"block"
    assert type(piece[3]) is bytes


def test_padding_is_said_with_the_piece_that_it_came_with() -> None:
    decoder = Decoder()
    data = padded(wire.DATA, 1, b"abcd", 3, flags=wire.END_STREAM)
    flags = wire.END_STREAM | wire.PADDED

    assert list(decoder.feed(data[:HEADER_SIZE])) == []  # the length of the padding has not come
    assert list(decoder.feed(data[HEADER_SIZE : HEADER_SIZE + 1])) == [(wire.DATA, flags, 1, b"", 7, 1)]
    assert list(decoder.feed(b"ab")) == [(wire.DATA, flags, 1, b"ab", 5, 0)]
    assert list(decoder.feed(b"cd\0")) == [(wire.DATA, flags, 1, b"cd", 2, 1)]
    assert list(decoder.feed(b"\0")) == [(wire.DATA, flags, 1, b"", 1, 1)]
    assert list(decoder.feed(b"\0" + data)) == [
        (wire.DATA, flags, 1, b"", 0, 1),
        (wire.DATA, flags, 1, b"abcd", 0, 4),
    ]


@pytest.mark.parametrize("padding", [1, 2, 255])
def test_padding_that_fills_the_frame_is_an_error(padding: int) -> None:
    data = frame(wire.DATA, 1, bytes([padding]), flags=wire.PADDED)
    for chunks in ([data], [data[:9], data[9:]], [data[:4], data[4:]]):
        with pytest.raises(ProtocolError, match=f"DATA has {padding} bytes of padding in a payload of 1") as caught:
            decode(*chunks)
        assert caught.value.code == wire.PROTOCOL_ERROR


def test_padded_data_without_a_byte_is_an_error_when_its_header_is_there() -> None:
    data = frame(wire.DATA, 1, flags=wire.PADDED)
    for chunks in ([data], [data[:4], data[4:]]):
        with pytest.raises(ProtocolError, match="DATA has a length of 0; it must be at least 1") as caught:
            decode(*chunks)
        assert caught.value.code == wire.FRAME_SIZE_ERROR


@pytest.mark.parametrize("kind", [wire.DATA, wire.HEADERS, 0x77])
@pytest.mark.parametrize("at", [0, 3, HEADER_SIZE])
def test_a_frame_past_the_limit_is_an_error_when_its_header_is_there(kind: int, at: int) -> None:
    header = frame(kind, 1, length=20_001)
    with pytest.raises(ProtocolError, match="has a length of 20001; it must be at most 20000") as caught:
        decode(header[:at], header[at:], decoder=Decoder(20_000))
    assert caught.value.code == wire.FRAME_SIZE_ERROR


def test_frames_before_a_wrong_one_are_handed_on() -> None:
    pieces = Decoder().feed(frame(wire.PING, 0, bytes(8)) + frame(wire.HEADERS, 1, length=DEFAULT_MAX_FRAME_SIZE + 1))
    assert next(pieces)[0] == wire.PING
    with pytest.raises(ProtocolError):
        next(pieces)


def test_a_frame_of_the_largest_size() -> None:
    block = bytes(DEFAULT_MAX_FRAME_SIZE)
    data = frame(wire.HEADERS, 1, block) + frame(wire.DATA, 1, block)
    for at in (0, 5, 9, 100, len(block), len(block) + 20):
        assert [one.body for one in decode(data[:at], data[at:])] == [block, block]


def test_what_is_held_back_is_bounded() -> None:
    """The body of one frame, whatever comes."""
    decoder = Decoder()
    list(decoder.feed(frame(wire.HEADERS, 1, length=DEFAULT_MAX_FRAME_SIZE)))
    chunk = bytes(1000)
    tracemalloc.start()
    try:
        for _ in range(16):
            assert list(decoder.feed(chunk)) == []
        assert tracemalloc.get_traced_memory()[1] < 2 * DEFAULT_MAX_FRAME_SIZE
    finally:
        tracemalloc.stop()
