"""Bytes to frames, for bytes cut anywhere."""

import tracemalloc
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from muxpy import ErrorCode
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
    Piece,
    encode_data_header,
    encode_goaway,
    encode_rst,
    encode_syn,
    encode_wnd_inc,
    parse_code,
    parse_goaway,
    parse_increment,
    parse_syn,
)

from . import wire
from .wire import Frame

thorough = settings(deadline=None, max_examples=150)

ids = st.integers(0, 0x7FFFFFFF)
words = st.integers(0, 0xFFFFFFFF)
payloads = st.one_of(st.binary(max_size=40), st.integers(0, MAX_PAYLOAD).map(lambda size: b"p" * size))
encoded_frames = st.one_of(
    st.builds(encode_syn, ids, ids, words, fin=st.booleans()),
    st.builds(encode_rst, ids, words),
    st.builds(encode_wnd_inc, ids, ids),
    st.builds(encode_goaway, ids, words, st.binary(max_size=40)),
    st.builds(
        lambda stream_id, payload, fin: encode_data_header(stream_id, len(payload), fin=fin) + payload,
        ids,
        payloads,
        st.booleans(),
    ),
)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` in pieces, cut at each of `cuts`."""
    edges = sorted({0, len(data), *(at % (len(data) + 1) for at in cuts)})
    return [data[start:stop] for start, stop in pairwise(edges)]


def whole(pieces: list[Piece]) -> list[Frame]:
    """Put the pieces of each DATA frame together, and check that each says rightly how much is still to come."""
    frames: list[Frame] = []
    payload = b""
    expected: int | None = None
    for kind, flags, stream_id, body, rest in pieces:
        if expected is not None:
            assert kind == DATA
            assert len(body) + rest == expected
        payload += body
        expected = rest or None
        if not rest:
            frames.append(Frame(kind, flags, stream_id, payload))
            payload = b""
    assert expected is None
    return frames


@thorough
@given(st.lists(encoded_frames, max_size=8), st.lists(st.integers(0, 2**16), max_size=12))
def test_frames_come_back_whole_however_the_bytes_are_cut(frames: list[bytes], cuts: list[int]) -> None:
    decoder = Decoder()
    pieces = [piece for part in cut(b"".join(frames), cuts) for piece in decoder.feed(part)]
    assert whole(pieces) == wire.split(b"".join(frames))
    assert not decoder.mid_frame


@settings(deadline=None, max_examples=30)
@given(st.lists(encoded_frames.filter(lambda frame: len(frame) < 100), max_size=6))
def test_frames_come_back_whole_from_single_bytes(frames: list[bytes]) -> None:
    joined = b"".join(frames)
    decoder = Decoder()
    pieces = [piece for at in range(len(joined)) for piece in decoder.feed(joined[at : at + 1])]
    assert whole(pieces) == wire.split(joined)
    assert not decoder.mid_frame


@pytest.mark.parametrize("at", range(1, HEADER_SIZE + 5))
def test_fin_counts_in_the_last_piece_only(at: int) -> None:
    decoder = Decoder()
    frame = wire.data(3, b"hello", fin=True)
    pieces = [*decoder.feed(frame[:at]), *decoder.feed(frame[at:])]
    assert [rest for *_, rest in pieces][-1] == 0
    assert all(rest for *_, rest in pieces[:-1])
    assert all(flags & FIN for _, flags, *_ in pieces)
    assert whole(pieces) == [Frame(DATA, FIN, 3, b"hello")]


def test_an_empty_fin_cut_in_its_header_is_one_piece() -> None:
    decoder = Decoder()
    frame = wire.data(3, fin=True)
    assert list(decoder.feed(frame[:5])) == []
    [(kind, flags, stream_id, body, rest)] = decoder.feed(frame[5:])
    assert (kind, flags, stream_id, bytes(body), rest) == (DATA, FIN, 3, b"", 0)


def test_payload_is_handed_on_before_its_frame_is_complete() -> None:
    decoder = Decoder()
    [(_, _, stream_id, body, rest)] = decoder.feed(wire.data(3, b"hello")[:-3])
    assert (stream_id, bytes(body), rest) == (3, b"he", 3)


def test_payloads_are_views_of_what_was_fed() -> None:
    decoder = Decoder()
    first = wire.data(3, b"one") + wire.data(5, b"two") + wire.data(7, b"three")[:-2]
    assert all(body.obj is first for *_, body, _ in decoder.feed(first))
    second = b"ee" + wire.data(9, b"four")
    assert [body.obj is second for *_, body, _ in decoder.feed(second)] == [True, True]


@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
def test_any_buffer_is_taken(buffer: type[bytes | bytearray | memoryview]) -> None:
    pieces = list(Decoder().feed(buffer(wire.data(3, b"hi"))))
    assert whole(pieces) == [Frame(DATA, 0, 3, b"hi")]


def test_nothing_keeps_the_fed_buffer() -> None:
    decoder = Decoder()
    buffer = bytearray(wire.data(3, b"hello") + wire.rst(3, 0)[:10])
    list(decoder.feed(buffer))
    buffer.clear()  # raises BufferError while a view of it is alive


# ---- the Go peer's GOAWAY ----


@pytest.mark.parametrize("debug_length", [0, 1, 3, 300])
def test_the_go_peers_goaway_is_followed_directly_by_other_frames(debug_length: int) -> None:
    fed = wire.go_peers_goaway(7, 1, debug_length) + wire.data(3, b"hello")
    decoder = Decoder()
    goaway, data = decoder.feed(fed)
    assert parse_goaway(goaway[3]) == (7, 1, b"")
    assert (data[0], bytes(data[3])) == (DATA, b"hello")
    assert not decoder.mid_frame

    decoder = Decoder()
    assert whole([piece for at in range(len(fed)) for piece in decoder.feed(fed[at : at + 1])]) == [
        Frame(GOAWAY, 0, 0, wire.u32(7, 1)),
        Frame(DATA, 0, 3, b"hello"),
    ]


@pytest.mark.parametrize("debug", [b"", b"a", b"seven.."])
def test_a_goaway_shorter_than_16_carries_debug_without_the_flag(debug: bytes) -> None:
    [(_, _, _, body, _)] = Decoder().feed(wire.frame(GOAWAY, 0, wire.u32(7, 1) + debug))
    assert parse_goaway(body) == (7, 1, debug)


@pytest.mark.parametrize("debug", [b"", b"bad", b"eight...", b"long enough to be mistaken" * 20])
def test_a_goaway_with_the_flag_carries_all_its_debug(debug: bytes) -> None:
    pieces = list(Decoder().feed(wire.goaway(7, 1, debug) + wire.data(3)))
    assert parse_goaway(pieces[0][3]) == (7, 1, debug)
    assert len(pieces) == 2


# ---- the end of the bytes ----


@pytest.mark.parametrize(
    "frame",
    [wire.syn(3, priority=1, stream_type=2), wire.rst(3, 1), wire.data(3, b"hello"), wire.goaway(3, 0, b"bye")],
    ids=["SYN", "RST", "DATA", "GOAWAY"],
)
def test_the_end_lies_mid_frame_everywhere_but_at_its_edges(frame: bytes) -> None:
    for at in range(len(frame) + 1):
        decoder = Decoder()
        list(decoder.feed(frame[:at]))
        assert decoder.mid_frame == (0 < at < len(frame))


def test_the_end_after_the_go_peers_goaway_is_on_a_boundary() -> None:
    decoder = Decoder()
    list(decoder.feed(wire.go_peers_goaway(3, 0, debug_length=20)))
    assert not decoder.mid_frame


# ---- what is wrong with a frame ----

WRONG_LENGTHS = [
    *((RST, 0, length) for length in (0, 3, 5, 16383)),
    *((WND_INC, 0, length) for length in (0, 3, 5, 8)),
    *((GOAWAY, 0, length) for length in range(8)),
    *((GOAWAY, wire.EXACT, length) for length in (0, 7)),
    *((SYN, 0, length) for length in (1, 4, 8)),
    *((SYN, FIN, length) for length in (4, 16383)),
    *((SYN, wire.PRIORITY, length) for length in (0, 3, 8)),
    *((SYN, wire.TYPE, length) for length in (0, 5, 8)),
    *((SYN, wire.PRIORITY | wire.TYPE, length) for length in (0, 4, 9)),
]
NAMES = {SYN: "STREAM_SYN", RST: "STREAM_RST", WND_INC: "STREAM_WND_INC", GOAWAY: "GOAWAY"}


@pytest.mark.parametrize(("kind", "flags", "length"), WRONG_LENGTHS)
@pytest.mark.parametrize("at", [0, 3], ids=["whole", "cut"])
def test_a_wrong_length_is_reported_from_the_header_alone(kind: int, flags: int, length: int, at: int) -> None:
    decoder = Decoder()
    header = wire.frame(kind, 3, flags=flags, length=length)
    list(decoder.feed(header[:at]))
    with pytest.raises(ProtocolError) as caught:
        list(decoder.feed(header[at:]))
    assert caught.value.code is ErrorCode.FRAME_SIZE_ERROR
    assert NAMES[kind] in caught.value.reason
    assert str(length) in caught.value.reason
    assert str(caught.value) == f"FRAME_SIZE_ERROR: {caught.value.reason}"


@pytest.mark.parametrize("kind", [0, 5, *range(7, 32)])
@pytest.mark.parametrize("length", [0, 4, 16383])
def test_an_illegal_type_is_a_protocol_error(kind: int, length: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        list(Decoder().feed(wire.frame(kind, 3, length=length)))
    assert caught.value.code is ErrorCode.PROTOCOL_ERROR
    assert caught.value.reason == f"illegal frame type {kind}"


def test_frames_before_the_wrong_one_are_delivered() -> None:
    pieces: list[Piece] = []
    with pytest.raises(ProtocolError):
        pieces.extend(Decoder().feed(wire.data(3, b"hi") + wire.frame(RST, 3, length=5)))
    assert whole(pieces) == [Frame(DATA, 0, 3, b"hi")]


def test_reserved_bits_are_ignored() -> None:
    header = wire.HEADER.pack(0xC000 | 4, 0, 0xE0 | RST, 0x80000003)
    [(kind, _, stream_id, body, _)] = Decoder().feed(header + wire.u32(7))
    assert (kind, stream_id, parse_code(body)) == (RST, 3, 7)
    # The same in a header that was cut.
    decoder = Decoder()
    assert list(decoder.feed(header[:5])) == []
    [(kind, _, stream_id, body, _)] = decoder.feed(header[5:] + wire.u32(7))
    assert (kind, stream_id, parse_code(body)) == (RST, 3, 7)


def test_the_reserved_bit_of_31_bit_fields_is_ignored() -> None:
    assert parse_increment(wire.u32(0x80000005)) == 5
    assert parse_goaway(wire.u32(0x80000007, 1)) == (7, 1, b"")
    assert parse_syn(wire.PRIORITY, wire.u32(0x80000009)) == (9, 0)
    assert parse_syn(wire.PRIORITY | wire.TYPE, wire.u32(0xFFFFFFFF, 0xFFFFFFFF)) == (0x7FFFFFFF, 0xFFFFFFFF)
    assert parse_code(wire.u32(0x80000005)) == 0x80000005  # codes have 32 bits


@pytest.mark.parametrize("flags", [0x02, 0x80, 0xFE])
def test_unknown_flags_change_nothing(flags: int) -> None:
    assert whole(list(Decoder().feed(wire.frame(DATA, 3, b"hi", flags=flags)))) == [Frame(DATA, flags, 3, b"hi")]


@thorough
@given(st.lists(st.binary(max_size=64), max_size=20))
@example([b"\x00\x00\x00"])
def test_arbitrary_bytes_raise_nothing_but_protocol_errors(parts: list[bytes]) -> None:
    decoder = Decoder()
    with suppress(ProtocolError):
        for part in parts:
            for kind, _, stream_id, body, rest in decoder.feed(part):
                assert kind in (SYN, RST, DATA, WND_INC, GOAWAY)
                assert 0 <= stream_id <= 0x7FFFFFFF
                assert len(body) + rest <= MAX_PAYLOAD


# ---- memory ----


def test_the_decoder_keeps_at_most_one_control_frame() -> None:
    decoder = Decoder()
    big_goaway = wire.goaway(3, 0, b"d" * 16375)
    stream = (wire.data(3, bytes(MAX_PAYLOAD)) * 20 + big_goaway) * 3
    tracemalloc.start()
    try:
        kept_before = tracemalloc.get_traced_memory()[0]
        for at in range(0, len(stream), 1000):
            list(decoder.feed(stream[at : at + 1000]))
            assert tracemalloc.get_traced_memory()[0] - kept_before < 2 * len(big_goaway)
    finally:
        tracemalloc.stop()


def test_payload_is_never_kept() -> None:
    decoder = Decoder()
    frame = wire.data(3, bytes(MAX_PAYLOAD))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        list(decoder.feed(frame[:-1]))
        assert tracemalloc.get_traced_memory()[0] - before < 1000
    finally:
        tracemalloc.stop()
    assert decoder.mid_frame
