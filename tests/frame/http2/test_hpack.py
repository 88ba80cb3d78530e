"""Header compression: its rules, its limits, and what is kept."""

import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING

import pytest

from muxpy._codes import ProtocolError, TooMuch
from muxpy.frame.http2 import Block, Field, Fields, HpackDecoder, HpackEncoder, Http2Code
from muxpy.frame.http2 import _primitives as primitives
from muxpy.frame.http2._huffman import huffman_decode, huffman_encode
from muxpy.frame.http2._repeats import MAX_BLOCK, MAX_BLOCKS, MAX_REFERENCES
from muxpy.frame.http2._static_table import STATIC_FIELDS

if TYPE_CHECKING:
    from _typeshed import TraceFunction

GET: Fields = ((b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"example.org"), (b":path", b"/"))
CUSTOM: Field = (b"custom", b"value")


def literal(name: bytes, value: bytes, pattern: int = 0x00) -> bytes:
    """A field with a name of its own, without Huffman code."""
    return bytes([pattern]) + primitives.encode_plain(name) + primitives.encode_plain(value)


def refused(block: bytes, decoder: HpackDecoder | None = None) -> str:
    """Why a block is refused."""
    with pytest.raises(ProtocolError) as caught:
        (decoder or HpackDecoder()).decode(block)
    assert caught.value.code is Http2Code.COMPRESSION_ERROR
    return caught.value.reason


def steps(function: Callable[[], object]) -> int:
    """How many lines of Python a call executes."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> "TraceFunction":
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


# What a block says


@pytest.mark.parametrize("index", range(1, 62))
def test_every_entry_of_the_static_table(index: int) -> None:
    [field] = HpackDecoder().decode(bytes([0x80 | index])).fields
    assert STATIC_FIELDS[field] == index
    assert HpackEncoder().encode((field,)) == bytes([0x80 | index])


def test_a_block_without_fields() -> None:
    block = HpackDecoder().decode(b"")
    assert (block.fields, block.sensitive, block.size, block.too_large) == ((), None, 0, False)


def test_size_counts_32_bytes_for_each_field() -> None:
    assert HpackDecoder().decode(b"\x82" + literal(b"name", b"value")).size == 10 + 32 + 9 + 32


def test_fields_come_from_the_table_without_a_copy() -> None:
    decoder = HpackDecoder()
    [first] = decoder.decode(literal(*CUSTOM, 0x40)).fields
    again = decoder.decode(b"\xbe\xbe").fields
    assert again[0] is again[1] is first


def test_never_indexed_fields_stay_marked() -> None:
    block = HpackDecoder().decode(b"\x82" + literal(*CUSTOM, 0x10) + b"\x84" + literal(b"other", b"", 0x10))
    assert block.sensitive == frozenset({1, 3})
    encoded = HpackEncoder().encode(block.fields, block.sensitive)
    again = HpackDecoder().decode(encoded)
    assert (again.fields, again.sensitive) == (block.fields, block.sensitive)


def test_a_name_may_come_from_the_dynamic_table() -> None:
    decoder = HpackDecoder()
    decoder.decode(literal(*CUSTOM, 0x40))
    assert decoder.decode(b"\x7e\x03new").fields == ((b"custom", b"new"),)
    assert decoder.table == [(b"custom", b"new"), CUSTOM]


def test_a_name_may_come_from_the_entry_that_it_drives_out() -> None:
    """RFC 7541, 4.4."""
    decoder = HpackDecoder()
    decoder.decode(b"\x3f\x21" + literal(b"n" * 20, b"value", 0x40))  # a table of 64 bytes
    assert decoder.decode(b"\x7e\x05other").fields == ((b"n" * 20, b"other"),)
    assert decoder.table == [(b"n" * 20, b"other")]


def test_an_entry_larger_than_the_table_empties_it() -> None:
    decoder = HpackDecoder()
    decoder.decode(literal(*CUSTOM, 0x40))
    block = decoder.decode(literal(b"n", bytes(4096), 0x40))
    assert block.fields == ((b"n", bytes(4096)),)
    assert (decoder.table, decoder.table_size) == ([], 0)


def test_the_oldest_entries_are_driven_out() -> None:
    decoder = HpackDecoder()
    for number in range(200):
        decoder.decode(literal(b"name", b"%03d" % number, 0x40))
    assert decoder.table == [(b"name", b"%03d" % number) for number in range(199, 199 - 4096 // 39, -1)]
    assert decoder.table_size == 4096 // 39 * 39


# What is refused


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ("80", "a header block names entry 0, which is in no table"),
        ("be", "a header block names entry 62, which is in no table"),
        ("ff00", "a header block names entry 127, which is in no table"),
        ("7e00", "a header block names entry 62, which is in no table"),
        ("0f3000", "a header block names entry 63, which is in no table"),
        ("ff", "a header block ends within an integer"),
        ("ff80", "a header block ends within an integer"),
        ("ff" * 5, "a header block has an integer that is too long"),
        ("ff8080808000", "a header block has an integer that is too long"),
        ("ff" * 4000, "a header block has an integer that is too long"),
        ("007f" + "ff" * 4000, "a header block has an integer that is too long"),
        ("40", "a header block ends before a string"),
        ("04", "a header block ends before a string"),
        ("0003616263", "a header block ends before a string"),
        ("000361", "a header block ends within a string"),
        ("0405616263", "a header block ends within a string"),
        ("047f", "a header block ends within an integer"),
        ("823fe11f", "a header block changes the size of the table after its beginning"),
        ("8220", "a header block changes the size of the table after its beginning"),
        ("3fe21f", "a header block wants a table of 4097 bytes; our settings allow 4096"),
        ("202020", "a header block changes the size of the table more than twice"),
        ("3f", "a header block ends within an integer"),
    ],
    ids=lambda value: value[:12] if " " not in value else "",
)
def test_a_block_that_is_refused(block: str, reason: str) -> None:
    assert refused(bytes.fromhex(block)) == reason


@pytest.mark.parametrize(
    "coded",
    [
        "ff",  # eight bits of padding
        "ffffffff",  # EOS, and padding
        "ffffffffff",
        "1fff",  # `a`, and more padding than a byte
        "18",  # `a`, and padding of zeros
        "1ffffffffc",  # EOS in the middle
        "fffe",  # cut off within a long code
    ],
)
def test_huffman_code_that_is_refused(coded: str) -> None:
    data = bytes.fromhex(coded)
    assert huffman_decode(data) is None
    assert refused(b"\x04" + bytes([0x80 | len(data)]) + data) == "a header block has a string that is no Huffman code"


def test_huffman_code_of_every_symbol() -> None:
    for first in range(256):
        text = bytes([first, 255 - first, first])
        assert huffman_decode(huffman_encode(text)) == text
    assert huffman_decode(bytes.fromhex("1f")) == b"a"
    assert huffman_decode(b"") == huffman_encode(b"") == b""


# Limits


@pytest.mark.parametrize(
    ("decoder", "fits"),
    [(HpackDecoder(max_fields=3), 3), (HpackDecoder(max_fields_bytes=3 * 42), 3)],
    ids=["fields", "bytes"],
)
def test_a_list_past_a_limit_is_decoded_to_its_end_and_not_kept(decoder: HpackDecoder, fits: int) -> None:
    assert len(decoder.decode(b"\x82" * fits).fields) == fits

    block = decoder.decode(b"\x82" * fits + literal(*CUSTOM, 0x40))

    assert (block.fields, block.too_large) == ((), True)
    assert block.size == fits * 42 + 43
    assert decoder.table == [CUSTOM]
    assert decoder.decode(b"\xbe").fields == (CUSTOM,)
    assert decoder.decode(literal(*CUSTOM, 0x10) * (fits + 1)).sensitive is None


def test_references_to_a_large_entry_cost_nothing_each() -> None:
    """A bomb: references of a byte to 4,000 bytes. With 16,000 of them it takes time, and no more is decoded."""
    decoder = HpackDecoder()
    decoder.decode(literal(b"n", bytes(4000), 0x40))
    block = decoder.decode(b"\xbe" * 60)
    assert (block.fields, block.too_large, block.size) == ((), True, 60 * 4033)
    with pytest.raises(TooMuch):
        decoder.decode(b"\xbe" * 16_000)


@pytest.mark.parametrize("field", [b"\x82", b"\x12\x00"], ids=["reference", "never-indexed"])
def test_what_is_past_the_limit_is_not_held_while_it_is_decoded(field: bytes) -> None:
    decoder, block = HpackDecoder(), field * 6_000
    tracemalloc.start()
    try:
        assert decoder.decode(block).too_large
        assert tracemalloc.get_traced_memory()[1] < 300_000
    finally:
        tracemalloc.stop()


def test_cookie_crumbs_are_counted() -> None:
    """CVE-2026-49975: 4,000 of them are small, and many."""
    decoder = HpackDecoder(max_fields_bytes=2**20)
    assert decoder.decode(b"\x60\x00" + b"\xbe" * 255).too_large is False
    assert decoder.decode(b"\xbe" * 4000).too_large is True


def test_decoding_takes_linear_time() -> None:
    makers: list[Callable[[int], bytes]] = [
        lambda count: b"\xbe" * count,
        lambda count: literal(b"n", b"v", 0x40) * count,
        lambda count: literal(b"n", b"v", 0x10) * count,
        lambda count: literal(b"n", bytes(4000), 0x40) * (count // 100),
        lambda count: literal(b"n", b"x" * count),
        lambda count: b"\x04" + primitives.encode_integer(count, 0x7F, 0x80) + b"\x1c" * (count // 5 * 5),
        lambda count: b"\xff\x80\x80\x80\x00" * count,
    ]
    for make in makers:
        counts = []
        for count in (1000, 2000):
            decoder = HpackDecoder()
            decoder.decode(literal(*CUSTOM, 0x40))
            with suppress(ProtocolError):
                decoder.decode(make(count))  # what comes first fills the rows of the Huffman code
            block = make(count)
            decoder = HpackDecoder()
            decoder.decode(literal(*CUSTOM, 0x40))

            def once(decoder: HpackDecoder = decoder, block: bytes = block) -> None:
                with suppress(ProtocolError):
                    decoder.decode(block)

            counts.append(steps(once))
        assert counts[1] <= 2.05 * counts[0]


def test_encoding_takes_linear_time() -> None:
    counts = []
    for count in (500, 1000):
        fields = tuple((b"name%d" % number, b"value") for number in range(count))
        counts.append(steps(lambda fields=fields: HpackEncoder().encode(fields)))  # type: ignore[misc]
    assert counts[1] <= 2.1 * counts[0]


# The size of the table


def test_size_updates_of_a_block() -> None:
    decoder = HpackDecoder()
    decoder.decode(literal(*CUSTOM, 0x40))
    assert decoder.decode(b"\x20\x3f\xe1\x1f\x82").fields == ((b":method", b"GET"),)
    assert decoder.table == []
    assert decoder.decode(b"\x20").fields == ()
    decoder.decode(literal(*CUSTOM, 0x40))
    assert decoder.table == []


def test_a_larger_table_of_our_settings_may_be_used() -> None:
    decoder = HpackDecoder(max_table_size=65_536)
    decoder.decode(b"\x3f\xe1\xff\x03" + literal(b"n", bytes(10_000), 0x40))
    assert decoder.table_size == 10_033


def test_before_its_ack_a_peer_may_not_know_of_a_smaller_table() -> None:
    decoder = HpackDecoder(max_table_size=0)
    assert decoder.decode(b"\x3f\xe1\x1f\x82").fields == ((b":method", b"GET"),)


def test_a_smaller_table_of_our_settings_must_be_announced() -> None:
    decoder = HpackDecoder()
    decoder.decode(b"\x82")
    decoder.decode(b"\x82")
    decoder.set_max_table_size(100)
    assert refused(b"\x82", decoder) == "a header block does not make the table as small as our settings want it"

    decoder = HpackDecoder()
    decoder.set_max_table_size(100)
    assert refused(b"\x3f\x46\x82", decoder) == "a header block wants a table of 101 bytes; our settings allow 100"

    decoder = HpackDecoder()
    decoder.set_max_table_size(100)
    assert decoder.decode(b"\x3f\x45\x82").fields == ((b":method", b"GET"),)
    assert decoder.decode(b"\x82").fields == ((b":method", b"GET"),)


def test_the_smallest_size_in_between_must_be_announced() -> None:
    decoder = HpackDecoder()
    decoder.decode(literal(*CUSTOM, 0x40))
    decoder.set_max_table_size(0)
    decoder.set_max_table_size(4096)
    assert refused(b"\x3f\xe1\x1f\x82", decoder).startswith("a header block does not make the table as small")

    decoder = HpackDecoder()
    decoder.set_max_table_size(0)
    decoder.set_max_table_size(100)
    assert refused(b"\x3f\x45\x82", decoder).startswith("a header block does not make the table as small")

    decoder = HpackDecoder()
    decoder.decode(literal(*CUSTOM, 0x40))
    decoder.set_max_table_size(0)
    decoder.set_max_table_size(4096)
    decoder.decode(b"\x20\x3f\xe1\x1f\x82")
    assert decoder.table == []


def test_a_peer_that_has_a_small_table_already_need_not_say_so_again() -> None:
    decoder = HpackDecoder()
    decoder.decode(b"\x3f\x45")
    decoder.set_max_table_size(200)
    assert decoder.decode(b"\x82").fields == ((b":method", b"GET"),)


def test_the_encoder_announces_sizes_at_the_start_of_the_next_block() -> None:
    encoder = HpackEncoder()
    encoder.encode((CUSTOM,))
    encoder.set_max_table_size(100)
    assert encoder.encode(((b":method", b"GET"), CUSTOM)) == b"\x3f\x45\x82\xbe"
    encoder.set_max_table_size(0)
    encoder.set_max_table_size(65_536)
    assert encoder.encode(((b":method", b"GET"),)) == b"\x20\x3f\xe1\x1f\x82"
    assert encoder.encode(((b":method", b"GET"),)) == b"\x82"
    assert encoder.table == []


@pytest.mark.parametrize("size", [4096, 65_536])
def test_the_encoder_says_nothing_of_a_size_that_changes_nothing(size: int) -> None:
    encoder = HpackEncoder()
    encoder.set_max_table_size(size)
    assert encoder.encode(()) == b""


def test_the_encoder_keeps_within_its_own_bound() -> None:
    encoder = HpackEncoder(max_table_size=100)
    assert encoder.encode(()) == b"\x3f\x45"
    encoder.set_max_table_size(4096)
    assert encoder.encode(()) == b""
    for number in range(10):
        encoder.encode(((b"name", b"%d" % number),))
    assert encoder.table == [(b"name", b"9"), (b"name", b"8")]
    assert HpackEncoder(max_table_size=65_536).encode(()) == b""


# What the encoder puts into its table


@pytest.mark.parametrize(
    ("field", "pattern"),
    [
        ((b"content-type", b"text/plain"), 0x40),
        ((b"cookie", b"session=0123456789abcdef"), 0x40),
        ((b"custom", b"x" * 3000), 0x40),
        ((b"custom", b"x" * 3050), 0x00),
        ((b":path", b"/a/path"), 0x00),
        ((b"content-length", b"12"), 0x00),
        ((b"etag", b'"abc"'), 0x00),
        ((b"cookie", b"pin=1234"), 0x10),
        ((b"authorization", b"Bearer " + b"x" * 100), 0x10),
        ((b"proxy-authorization", b"Bearer " + b"x" * 100), 0x10),
    ],
    ids=lambda value: value[0].decode().strip(":") + str(len(value[1])) if isinstance(value, tuple) else f"{value:#x}",
)
def test_what_is_put_into_the_table(field: Field, pattern: int) -> None:
    encoder = HpackEncoder()
    first = encoder.encode((field,))[0]
    kind = 0x40 if first >= 0x40 else first & 0xF0
    assert kind == pattern
    assert encoder.table == ([field] if pattern == 0x40 else [])


def test_a_name_is_known_as_long_as_one_of_its_entries_is() -> None:
    encoder = HpackEncoder(max_table_size=100)
    for field in [(b"a", b"1"), (b"a", b"2"), (b"b", b"1")]:
        encoder.encode((field,))
    assert encoder.table == [(b"b", b"1"), (b"a", b"2")]
    assert encoder.encode(((b"a", b"3"),)) == b"\x7f\x00\x013"
    assert encoder.table == [(b"a", b"3"), (b"b", b"1")]
    encoder.encode(((b"c", b"1"), (b"c", b"2")))
    assert encoder.encode(((b"b", b"2"),)) == b"\x40\x01b\x012"


def test_huffman_code_only_where_it_is_shorter() -> None:
    assert HpackEncoder().encode(((b":path", b"/sample/path"),))[1] & 0x80
    assert HpackEncoder().encode(((b":path", b"\xff\xfe"),)) == b"\x04\x02\xff\xfe"
    assert HpackEncoder(huffman=False).encode(((b":path", b"/sample/path"),)) == b"\x04\x0c/sample/path"


def test_a_sensitive_field_is_never_a_reference() -> None:
    encoder = HpackEncoder()
    encoder.encode((CUSTOM,))
    assert encoder.encode((CUSTOM,), {0})[0] == 0x1F
    for _ in range(3):
        assert encoder.encode(((b":method", b"GET"),), {0}) == b"\x12\x03GET"
    assert encoder.encode(((b":method", b"GET"),)) == b"\x82"


def test_entries_far_down_the_table() -> None:
    encoder, decoder = HpackEncoder(), HpackDecoder()
    fields = tuple((b"name", b"%d" % number) for number in range(100))
    for _ in range(2):
        block = encoder.encode(fields)
        assert decoder.decode(block).fields == fields
    assert decoder.table == encoder.table
    assert len(block) < 200


# What is kept because it comes again


def twice(decoder: HpackDecoder, data: bytes) -> Block:
    """A block that has come twice."""
    decoder.decode(data)
    return decoder.decode(data)


def test_a_block_that_comes_again_is_the_same_object() -> None:
    decoder = HpackDecoder()
    block = twice(decoder, b"\x82\x84")
    assert block.checked is None
    block.checked = "what the caller made of it"
    assert decoder.decode(bytes(bytearray(b"\x82\x84"))) is block


@pytest.mark.parametrize(
    "change",
    [
        lambda decoder: decoder.decode(literal(b"other", b"value", 0x40)),
        lambda decoder: decoder.decode(b"\x20"),
        lambda decoder: decoder.set_max_table_size(8192),
        lambda decoder: decoder.forget(),
    ],
    ids=["entry", "size", "settings", "forget"],
)
def test_kept_blocks_are_dropped_when_the_table_changes(change: Callable[[HpackDecoder], object]) -> None:
    decoder = HpackDecoder()
    block = twice(decoder, b"\x82\x84")
    assert decoder.decode(b"\x82\x84") is block
    change(decoder)
    again = decoder.decode(b"\x82\x84")
    assert again is not block
    assert again.fields == block.fields


def test_the_same_bytes_mean_another_field_when_the_table_has_changed() -> None:
    decoder = HpackDecoder()
    decoder.decode(literal(b"a", b"1", 0x40))
    assert twice(decoder, b"\xbe").fields == ((b"a", b"1"),)
    decoder.decode(literal(b"b", b"2", 0x40))
    assert twice(decoder, b"\xbe").fields == ((b"b", b"2"),)


@pytest.mark.parametrize(
    "data",
    [literal(*CUSTOM, 0x10), literal(b"n", b"v" * MAX_BLOCK), b"\x82" * (MAX_REFERENCES + 1), literal(*CUSTOM, 0x40)],
    ids=["never-indexed", "long", "many-fields", "changes-the-table"],
)
def test_blocks_that_are_not_kept(data: bytes) -> None:
    decoder = HpackDecoder()
    assert twice(decoder, data) is not decoder.decode(data)


def test_what_a_connection_keeps_is_bounded_and_made_when_it_is_needed() -> None:
    decoder, encoder, fresh = HpackDecoder(), HpackEncoder(), HpackDecoder()
    assert decoder._known is fresh._known
    for number in range(5 * MAX_BLOCKS):
        fields: Fields = ((b":path", b"/%d" % number),)
        data = encoder.encode(fields)
        for _ in range(2):
            assert encoder.encode(fields) == data
            decoder.decode(data)
        assert len(decoder._known) <= MAX_BLOCKS
        assert len(encoder._known) <= MAX_BLOCKS
        assert len(decoder._known._seen) <= MAX_BLOCKS
        assert len(encoder._known._seen) <= MAX_BLOCKS
    assert len(decoder._known) > 0
    assert len(encoder._known) > 0
    decoder.forget()
    encoder.forget()
    assert decoder._known is fresh._known
    assert len(fresh._known) == len(encoder._known) == 0


def test_what_a_peer_can_make_a_connection_keep() -> None:
    decoder = HpackDecoder()
    tracemalloc.start()
    try:
        for number in range(MAX_BLOCKS):
            path = literal(b"", b"%03d" % number * 146)
            for _ in range(3):
                decoder.decode(path + b"\x82" * (MAX_REFERENCES - 1))
        assert len(decoder._known) == MAX_BLOCKS
        assert 256 * 1024 < tracemalloc.get_traced_memory()[0] < 512 * 1024
        decoder.forget()
        assert tracemalloc.get_traced_memory()[0] < 16 * 1024
    finally:
        tracemalloc.stop()


def test_of_blocks_that_come_once_nothing_is_kept() -> None:
    decoder = HpackDecoder()
    for number in range(100):
        decoder.decode(literal(b":path", b"/%d" % number))
    assert len(decoder._known) == 0


def test_the_encoder_keeps_whole_blocks_while_the_table_stays() -> None:
    encoder = HpackEncoder()
    encoder.encode(GET)  # changes the table
    encoder.encode(GET)
    block = encoder.encode(GET)
    assert encoder.encode((*GET,)) is block
    encoder.encode((CUSTOM,))
    again = encoder.encode(GET)
    assert again == block[:2] + b"\xbf" + block[3:]


def test_the_encoder_keeps_no_long_block() -> None:
    encoder = HpackEncoder()
    for _ in range(3):
        assert encoder.encode(((b":method", b"GET"),) * (MAX_BLOCK + 1)) == b"\x82" * (MAX_BLOCK + 1)
    assert len(encoder._known) == 0


@pytest.mark.parametrize("field", [(b"authorization", b"secret"), (b"cookie", b"a=b")], ids=["token", "cookie"])
def test_the_encoder_keeps_no_block_with_a_secret(field: Field) -> None:
    encoder = HpackEncoder()
    blocks = [encoder.encode((field,)) for _ in range(4)]
    assert len({id(block) for block in blocks}) == 4
    assert len(encoder._known) == 0


def test_what_the_process_keeps_of_strings_is_bounded() -> None:
    for number in range(3 * primitives.CACHED_STRINGS):
        text = b"/some/path/%d" % number
        coded = primitives.encode_string(text)
        assert primitives.read_string(coded, 0) == (text, len(coded))
        assert len(primitives._encoded) <= primitives.CACHED_STRINGS
        assert len(primitives._decoded) <= primitives.CACHED_STRINGS
    assert text in primitives._encoded
    assert coded[1:] in primitives._decoded
    assert primitives.read_string(coded, 0)[0] is primitives.read_string(coded, 0)[0]


def test_of_long_and_secret_strings_nothing_is_kept() -> None:
    long = b"a long string" * 20
    token = b"a token that nobody knows"
    data = HpackEncoder().encode(((b":path", long), (b"authorization", token)))
    HpackDecoder().decode(data)
    assert {long, token}.isdisjoint(primitives._encoded)
    assert {long, token}.isdisjoint(primitives._decoded.values())
