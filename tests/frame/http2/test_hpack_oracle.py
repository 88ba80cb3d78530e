"""Header compression against another implementation of it, `hpack`: either decodes what the other has encoded, and of
any bytes both say the same."""

import hpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from muxpy._codes import ProtocolError
from muxpy.frame.http2 import Field, Fields, HpackDecoder, HpackEncoder
from muxpy.frame.http2._static_table import STATIC_FIELDS

thorough = settings(deadline=None, max_examples=200)

NAMES = [b":path", b":status", b"cookie", b"authorization", b"content-type", b"x-custom", b"set-cookie", b"date", b"n"]
names = st.one_of(st.sampled_from(NAMES), st.binary(max_size=12))
values = st.one_of(
    st.sampled_from([b"", b"/", b"200", b"text/plain", b"a value that is longer than twenty", b"x" * 2000]),
    st.binary(max_size=40),
    st.text("abcdefghij/=-0123456789", max_size=60).map(str.encode),
)
fields = st.one_of(st.sampled_from(list(STATIC_FIELDS)), st.tuples(names, values))
lists = st.lists(st.tuples(fields, st.booleans()), max_size=12)
sizes = st.sampled_from([0, 31, 32, 100, 500, 1000, 4096])
steps = st.lists(st.one_of(sizes, lists), max_size=12)
"""Blocks, with which fields are sensitive, and sizes of the table in between."""


def other_decoder() -> hpack.Decoder:
    decoder = hpack.Decoder(max_header_list_size=2**30)
    decoder.max_allowed_table_size = 4096
    return decoder


def table_of(other: hpack.Decoder | hpack.Encoder) -> list[tuple[bytes, ...]]:
    return [tuple(map(bytes, entry)) for entry in other.header_table.dynamic_entries]


def decoded_by_other(decoder: hpack.Decoder, data: bytes) -> tuple[Fields, list[bool]]:
    found = decoder.decode(data, raw=True)
    sensitive = [isinstance(field, hpack.NeverIndexedHeaderTuple) for field in found]
    return tuple((bytes(field[0]), bytes(field[1])) for field in found), sensitive


@thorough
@given(steps, st.booleans())
@example([[((b"n", b"v"), False)], 0, 4096, [((b"n", b"v"), False)]], True)
def test_the_other_decodes_what_we_encode(steps: list[int | list[tuple[Field, bool]]], huffman: bool) -> None:
    encoder, decoder, own = HpackEncoder(huffman=huffman), other_decoder(), HpackDecoder()
    for step in steps:
        if isinstance(step, int):
            encoder.set_max_table_size(step)
            continue
        wanted = tuple(field for field, _ in step)
        marked = {place for place, (_, sensitive) in enumerate(step) if sensitive}
        for _ in range(3):  # what comes again may be kept
            data = encoder.encode(wanted, marked)
            found, sensitive = decoded_by_other(decoder, data)
            assert found == wanted
            assert marked <= {place for place, is_marked in enumerate(sensitive) if is_marked}
            block = own.decode(data)
            assert block.fields == wanted
            assert [place in (block.sensitive or ()) for place in range(len(wanted))] == sensitive
            assert own.table == encoder.table == table_of(decoder)
            assert own.table_size == encoder.table_size <= encoder._max_size


@thorough
@given(steps, st.booleans())
def test_we_decode_what_the_other_encodes(steps: list[int | list[tuple[Field, bool]]], huffman: bool) -> None:
    encoder, decoder = hpack.Encoder(), HpackDecoder(max_fields_bytes=2**30)
    for step in steps:
        if isinstance(step, int):
            # Of more than one change between blocks it announces each, where RFC 7541, 4.2 has at most two.
            encoder.header_table_size = step
            assert decoder.decode(encoder.encode([])).fields == ()
            continue
        wanted = tuple(field for field, _ in step)
        for _ in range(3):
            data = encoder.encode([(*field, sensitive) for field, sensitive in step], huffman=huffman)
            block = decoder.decode(data)
            assert block.fields == wanted
            assert block.size == sum(len(name) + len(value) + 32 for name, value in wanted)
            assert decoder.table == table_of(encoder)


OURS_ALONE = ("more than twice", "integer that is too long")
"""What `hpack` allows: any number of size updates, and integers of any length."""

pieces = st.one_of(
    st.binary(max_size=6),
    st.integers(0x80, 0xFF).map(lambda byte: bytes([byte])),
    st.tuples(st.sampled_from([0x00, 0x10, 0x40, 0x04, 0x14, 0x44, 0x7E]), st.binary(max_size=10)).map(
        lambda part: bytes([part[0], len(part[1])]) + part[1]
    ),
    st.tuples(st.sampled_from([0x04, 0x44]), st.binary(max_size=10)).map(
        lambda part: bytes([part[0], 0x80 | len(part[1])]) + part[1]
    ),
    st.sampled_from([b"\x20", b"\x3f\xe1\x1f", b"\x3f\x45", b"\x3f\xe2\x1f"]),
)
blocks = st.one_of(st.binary(max_size=60), st.lists(pieces, max_size=12).map(b"".join))


@settings(deadline=None, max_examples=1000)
@given(st.lists(blocks, max_size=4))
def test_of_any_bytes_both_say_the_same(data: list[bytes]) -> None:
    ours, other = HpackDecoder(max_fields_bytes=2**30), other_decoder()
    for block in data:
        try:
            decoded = ours.decode(block)
        except ProtocolError as error:
            if not error.reason.endswith(OURS_ALONE):
                with pytest.raises(hpack.HPACKError):
                    other.decode(block, raw=True)
            return
        found, sensitive = decoded_by_other(other, block)
        assert decoded.fields == found
        assert [place in (decoded.sensitive or ()) for place in range(len(found))] == sensitive
        assert ours.table == table_of(other)
