"""Another implementation of HPACK, `hpack`, that says what is right."""

import hpack

from muxpy._codes import ProtocolError
from muxpy.frame.http2 import Block, Fields, HpackDecoder, Http2Code

__all__ = ["Pair", "decode", "decoder", "marks", "table_of"]

OURS_ALONE = ("more than twice", "integer that is too long")
"""What `hpack` allows: any number of size updates, and integers of any length."""


def decoder() -> hpack.Decoder:
    """One without limits, but that of the table."""
    made = hpack.Decoder(max_header_list_size=2**30)
    made.max_allowed_table_size = 4096
    return made


def table_of(other: hpack.Decoder | hpack.Encoder) -> list[tuple[bytes, ...]]:
    """The dynamic table, newest first."""
    return [tuple(map(bytes, entry)) for entry in other.header_table.dynamic_entries]


def decode(other: hpack.Decoder, data: bytes) -> tuple[Fields, list[bool]]:
    """The fields, and which of them are never indexed."""
    found = other.decode(data, raw=True)
    sensitive = [isinstance(field, hpack.NeverIndexedHeaderTuple) for field in found]
    return tuple((bytes(field[0]), bytes(field[1])) for field in found), sensitive


def marks(block: Block) -> list[bool]:
    """Which fields are never indexed."""
    return [place in (block.sensitive or ()) for place in range(len(block.fields))]


class Pair:
    """Both decoders, which must say the same of any bytes."""

    def __init__(self) -> None:
        self._ours = HpackDecoder(max_fields_bytes=2**30, max_fields=2**20)
        self._other = decoder()

    def decode(self, data: bytes) -> Block | None:
        """Decode a block with both; None after an error, which ends the connection."""
        try:
            block = self._ours.decode(data)
        except ProtocolError as error:
            if error.code is not Http2Code.COMPRESSION_ERROR:
                raise
            if not error.reason.endswith(OURS_ALONE):
                self._refuse(data)
            return None
        assert (block.fields, marks(block)) == decode(self._other, data)
        assert self._ours.table == table_of(self._other)
        assert self._ours.table_size <= 4096
        assert block.size == sum(len(name) + len(value) + 32 for name, value in block.fields)
        return block

    def _refuse(self, data: bytes) -> None:
        try:
            found = self._other.decode(data, raw=True)
        except hpack.HPACKError:
            return
        raise AssertionError(f"only one of them refuses {data.hex()}: {found}")
