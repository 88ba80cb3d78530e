"""Header compression against another implementation of it: either decodes what the other has encoded, and of any bytes
both say the same."""

import hpack
from hypothesis import example, given, settings
from hypothesis import strategies as st

from muxpy.frame.http2 import Field, HpackDecoder, HpackEncoder
from muxpy.frame.http2._static_table import STATIC_FIELDS

from . import oracle

thorough = settings(deadline=None, max_examples=200)

Step = int | list[tuple[Field, bool]]
"""A size of the table, or the fields of a block, each with whether it is sensitive."""

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


@thorough
@given(steps, st.booleans())
@example([[((b"n", b"v"), False)], 0, 4096, [((b"n", b"v"), False)]], True)
def test_the_other_decodes_what_we_encode(steps: list[Step], huffman: bool) -> None:
    encoder, other, decoder = HpackEncoder(huffman=huffman), oracle.decoder(), HpackDecoder()
    for step in steps:
        if isinstance(step, int):
            encoder.set_max_table_size(step)
            continue
        wanted = tuple(field for field, _ in step)
        marked = {place for place, (_, sensitive) in enumerate(step) if sensitive}
        for _ in range(3):  # what comes again may be kept
            data = encoder.encode(wanted, marked)
            found, sensitive = oracle.decode(other, data)
            assert found == wanted
            assert marked <= {place for place, is_marked in enumerate(sensitive) if is_marked}
            block = decoder.decode(data)
            assert (block.fields, oracle.marks(block)) == (wanted, sensitive)
            assert decoder.table == encoder.table == oracle.table_of(other)
            assert decoder.table_size == encoder.table_size


@thorough
@given(steps, st.booleans())
def test_we_decode_what_the_other_encodes(steps: list[Step], huffman: bool) -> None:
    other, decoder = hpack.Encoder(), HpackDecoder()
    for step in steps:
        if isinstance(step, int):
            # Of more than one change between blocks it announces each, where RFC 7541, 4.2 has at most two.
            other.header_table_size = step
            assert decoder.decode(other.encode([])).fields == ()
            continue
        for _ in range(3):
            block = decoder.decode(other.encode([(*field, sensitive) for field, sensitive in step], huffman=huffman))
            assert block.fields == tuple(field for field, _ in step)
            assert decoder.table == oracle.table_of(other)


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
    pair = oracle.Pair()
    for block in data:
        for _ in range(2):
            if pair.decode(block) is None:
                return
