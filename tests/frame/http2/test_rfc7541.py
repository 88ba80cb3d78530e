"""The examples of RFC 7541, appendix C, word for word, both ways."""

from typing import NamedTuple

import pytest

from muxpy.frame.http2 import Field, HpackDecoder, HpackEncoder
from muxpy.frame.http2._primitives import encode_integer, read_integer


class Example(NamedTuple):
    """One header block, and the dynamic table after it."""

    fields: list[str]
    encoded: str
    table: list[str]
    size: int

    @property
    def block(self) -> bytes:
        return bytes.fromhex(self.encoded)


def field(line: str) -> Field:
    """`name: value`, as the RFC writes it."""
    name, _, value = line.rpartition(": ") if line.startswith(":") else line.partition(": ")
    return name.encode(), value.encode()


def fields(lines: list[str]) -> tuple[Field, ...]:
    return tuple(map(field, lines))


@pytest.mark.parametrize(
    ("value", "mask", "encoded"), [(10, 0x1F, "0a"), (1337, 0x1F, "1f 9a 0a"), (42, 0xFF, "2a")], ids=["1", "2", "3"]
)
def test_c1_integers(value: int, mask: int, encoded: str) -> None:
    data = bytes.fromhex(encoded)
    assert encode_integer(value, mask, 0) == data
    if data[0] == mask:
        assert read_integer(data, 1, mask) == (value, len(data))


C2 = {
    "1": Example(
        ["custom-key: custom-header"],
        "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
        ["custom-key: custom-header"],
        55,
    ),
    "2": Example([":path: /sample/path"], "040c 2f73 616d 706c 652f 7061 7468", [], 0),
    "3": Example(["password: secret"], "1008 7061 7373 776f 7264 0673 6563 7265 74", [], 0),
    "4": Example([":method: GET"], "82", [], 0),
}
C3 = [
    Example(
        [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"],
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        [":authority: www.example.com"],
        57,
    ),
    Example(
        [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"],
        "8286 84be 5808 6e6f 2d63 6163 6865",
        ["cache-control: no-cache", ":authority: www.example.com"],
        110,
    ),
    Example(
        [
            ":method: GET",
            ":scheme: https",
            ":path: /index.html",
            ":authority: www.example.com",
            "custom-key: custom-value",
        ],
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ["custom-key: custom-value", "cache-control: no-cache", ":authority: www.example.com"],
        164,
    ),
]
C4 = [
    example._replace(encoded=encoded)
    for example, encoded in zip(
        C3,
        [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ],
        strict=True,
    )
]
DATE_21, DATE_22 = "date: Mon, 21 Oct 2013 20:13:21 GMT", "date: Mon, 21 Oct 2013 20:13:22 GMT"
LOCATION = "location: https://www.example.com"
COOKIE = "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
C5 = [
    Example(
        [":status: 302", "cache-control: private", DATE_21, LOCATION],
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 "
        "474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        [LOCATION, DATE_21, "cache-control: private", ":status: 302"],
        222,
    ),
    Example(
        [":status: 307", "cache-control: private", DATE_21, LOCATION],
        "4803 3330 37c1 c0bf",
        [":status: 307", LOCATION, DATE_21, "cache-control: private"],
        222,
    ),
    Example(
        [":status: 200", "cache-control: private", DATE_22, LOCATION, "content-encoding: gzip", COOKIE],
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 "
        "666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 "
        "3630 303b 2076 6572 7369 6f6e 3d31",
        [COOKIE, "content-encoding: gzip", DATE_22],
        215,
    ),
]
C6 = [
    example._replace(encoded=encoded)
    for example, encoded in zip(
        C5,
        [
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 "
            "63c7 8f0b 97c8 e9ae 82ae 43d3",
            "4883 640e ffc1 c0bf",
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 "
            "b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        ],
        strict=True,
    )
]


@pytest.mark.parametrize("number", C2)
def test_c2_one_field(number: str) -> None:
    example = C2[number]
    sensitive = frozenset({0}) if number == "3" else None

    decoder = HpackDecoder()
    block = decoder.decode(example.block)
    assert (block.fields, block.sensitive) == (fields(example.fields), sensitive)
    assert (decoder.table, decoder.table_size) == (list(fields(example.table)), example.size)

    encoder = HpackEncoder(huffman=False)
    assert encoder.encode(fields(example.fields), sensitive) == example.block
    assert (encoder.table, encoder.table_size) == (list(fields(example.table)), example.size)


SEQUENCES = {"c3": C3, "c4": C4, "c5": C5, "c6": C6}


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences_are_decoded(name: str) -> None:
    decoder = HpackDecoder()
    if name in ("c5", "c6"):
        decoder.decode(b"\x3f\xe1\x01")  # a table of 256 bytes
    for example in SEQUENCES[name]:
        assert decoder.decode(example.block).fields == fields(example.fields)
        assert (decoder.table, decoder.table_size) == (list(fields(example.table)), example.size)


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences_are_encoded(name: str) -> None:
    """The one difference: the RFC has 307 in Huffman code, which is no shorter."""
    small = name in ("c5", "c6")
    encoder = HpackEncoder(256 if small else 4096, unindexed=(), huffman=name in ("c4", "c6"))
    assert encoder.encode(()) == (b"\x3f\xe1\x01" if small else b"")
    for example in SEQUENCES[name]:
        expected = example.encoded.replace("4883 640e ff", "4803 3330 37")
        assert encoder.encode(fields(example.fields)) == bytes.fromhex(expected)
        assert (encoder.table, encoder.table_size) == (list(fields(example.table)), example.size)
