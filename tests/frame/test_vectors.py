"""Frames exactly as the Go package writes them, both ways."""

import json
from pathlib import Path
from typing import TypedDict

import pytest

from muxpy.frame.muxado import (
    DATA,
    FIN,
    GOAWAY,
    RST,
    SYN,
    WND_INC,
    Decoder,
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

from .wire import goaway


class Vector(TypedDict, total=False):
    """What the package was asked to write, a field for each value that is not zero, and what it wrote."""

    frame: str
    stream_id: int
    priority: int
    stream_type: int
    fin: bool
    error_code: int
    increment: int
    payload_hex: str
    hex: str


PATH = Path(__file__).parent.parent / "data" / "muxado_v1_frames.json"
VECTORS: list[Vector] = json.loads(PATH.read_text())
KINDS = {"STREAM_SYN": SYN, "STREAM_RST": RST, "STREAM_DATA": DATA, "STREAM_WND_INC": WND_INC, "GOAWAY": GOAWAY}


def name(vector: Vector) -> str:
    return f"{vector['frame']}-{vector['hex'][:24]}"


def payload(vector: Vector) -> bytes:
    return bytes.fromhex(vector.get("payload_hex", ""))


def encode(vector: Vector) -> bytes:
    stream_id = vector["stream_id"]
    fin = vector.get("fin", False)
    match KINDS[vector["frame"]]:
        case 1:
            return encode_syn(stream_id, vector.get("priority", 0), vector.get("stream_type", 0), fin=fin)
        case 2:
            return encode_rst(stream_id, vector.get("error_code", 0))
        case 3:
            return encode_data_header(stream_id, len(payload(vector)), fin=fin) + payload(vector)
        case _:
            return encode_wnd_inc(stream_id, vector["increment"])


def test_the_file_has_every_kind_of_frame() -> None:
    assert {vector["frame"] for vector in VECTORS} == set(KINDS)
    assert len(VECTORS) == 25


# Not the GOAWAYs: the length that the Go package writes there is wrong, and muxpy sends a right one.
@pytest.mark.parametrize("vector", [v for v in VECTORS if v["frame"] != "GOAWAY"], ids=name)
def test_the_encoder_writes_what_the_go_package_writes(vector: Vector) -> None:
    assert encode(vector).hex() == vector["hex"]


@pytest.mark.parametrize("vector", VECTORS, ids=name)
def test_the_decoder_reads_what_the_go_package_writes(vector: Vector) -> None:
    decoder = Decoder()
    [(kind, flags, stream_id, body, rest)] = decoder.feed(bytes.fromhex(vector["hex"]))

    assert rest == 0
    assert not decoder.mid_frame
    assert kind == KINDS[vector["frame"]]
    if kind == GOAWAY:  # its stream id field is 0; the vector's id is the last one handled; the text is never sent
        assert stream_id == 0
        assert parse_goaway(body) == (vector["stream_id"], vector.get("error_code", 0), b"")
        return
    assert stream_id == vector["stream_id"]
    assert bool(flags & FIN) == vector.get("fin", False)
    if kind == SYN:
        assert parse_syn(flags, body) == (vector.get("priority", 0), vector.get("stream_type", 0))
    elif kind == RST:
        assert parse_code(body) == vector.get("error_code", 0)
    elif kind == WND_INC:
        assert parse_increment(body) == vector["increment"]
    else:
        assert bytes(body) == payload(vector)


def test_muxpys_own_goaway_has_the_right_length_and_says_so() -> None:
    written = encode_goaway(7, 1, b"bad")
    assert written.hex() == "000b8006000000000000000700000001626164"
    assert written == goaway(7, 1, b"bad")

    [(kind, _, stream_id, body, _)] = Decoder().feed(written)
    assert (kind, stream_id) == (GOAWAY, 0)
    assert parse_goaway(body) == (7, 1, b"bad")


def test_goaway_cuts_debug_text_that_does_not_fit() -> None:
    written = encode_goaway(7, 1, b"x" * 20_000)
    [(_, _, _, body, _)] = Decoder().feed(written)
    assert len(body) == 16383
    assert parse_goaway(body) == (7, 1, b"x" * 16375)
