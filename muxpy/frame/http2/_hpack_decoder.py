"""Header blocks to fields (RFC 7541)."""

from typing import Final

from muxpy._codes import ProtocolError, TooMuch

from ._primitives import compression_error, read_integer, read_string
from ._repeats import MAX_BLOCK, MAX_REFERENCES, Repeats
from ._static_table import FIRST_DYNAMIC, INITIAL_TABLE_SIZE, OVERHEAD, STATIC_ENTRIES, Entry, Field

_NOTHING: Final[Repeats[bytes, "Block"]] = Repeats()
"""What a decoder keeps of blocks that has had none twice; nothing is ever put into it."""

TOO_LARGE: Final = 4
"""How many times `max_fields_bytes` a block may have that is still decoded to its end. An honest one that is too large
is not much too large, and 64 KiB of references to one field take ten milliseconds."""


class Block:
    """A decoded header block. A block that comes again is the same object, so nothing in it may change but `checked`.

    `fields`: names and values in their order; empty if `too_large`. `sensitive`: the places of those that no
    intermediary may put into a table (RFC 7541, 6.2.3), None if there are none. `size`: bytes, with 32 for each field
    (RFC 9113, 6.5.2). `too_large`: past one of the decoder's limits.

    The same bytes may come as a head and as trailers: what is kept in `checked` must say what it was checked as.
    """

    __slots__ = ("checked", "fields", "sensitive", "size", "too_large")

    def __init__(self, fields: tuple[Field, ...], sensitive: frozenset[int] | None, size: int, too_large: bool) -> None:
        self.fields = fields
        self.sensitive = sensitive
        self.size = size
        self.too_large = too_large
        self.checked: object = None
        """Room for what the caller makes out of the block."""


class HpackDecoder:
    """Decodes the header blocks of one connection, in the order in which they arrive: each may change the table.

    A block past `max_fields_bytes` (32 counted for each field) or `max_fields` is decoded to its end, as the table must
    stay the peer's, but none of its fields is kept. One of four times those bytes ends the connection.

    `max_table_size` is what our first SETTINGS say. One below the protocol's 4,096 holds from `set_max_table_size`,
    which belongs to the peer's ACK.
    """

    __slots__ = (
        "_dynamic",
        "_known",
        "_limit",
        "_max_fields",
        "_max_fields_bytes",
        "_max_size",
        "_required",
        "_used",
    )

    def __init__(
        self, max_table_size: int = INITIAL_TABLE_SIZE, max_fields_bytes: int = 65_536, max_fields: int = 256
    ) -> None:
        self._max_fields_bytes = max_fields_bytes
        self._max_fields = max_fields
        self._limit = max(max_table_size, INITIAL_TABLE_SIZE)
        self._max_size = INITIAL_TABLE_SIZE  # as the peer has chosen it, within the limit
        self._required: int | None = None  # the next block must begin with an update to this size or less
        self._used = 0
        self._dynamic: list[Entry] = []  # newest first, as they are counted; moving 128 pointers costs little
        self._known = _NOTHING

    @property
    def table(self) -> list[Field]:
        """The dynamic table, newest first."""
        return [field for field, _ in self._dynamic]

    @property
    def table_size(self) -> int:
        """Bytes in the dynamic table, as RFC 7541, 4.1 counts them."""
        return self._used

    def set_max_table_size(self, size: int) -> None:
        """The peer has acknowledged SETTINGS_HEADER_TABLE_SIZE. If its table is larger, its next block must begin by
        making it smaller (RFC 7541, 4.2)."""
        self._limit = size
        if size < self._max_size and (self._required is None or size < self._required):
            self._required = size
        self.forget()

    def forget(self) -> None:
        """Let go of the blocks that were kept: the connection is idle, or the table has changed."""
        self._known = _NOTHING

    def decode(self, data: bytes) -> Block:
        """Decode a whole header block. Raises ProtocolError with COMPRESSION_ERROR; nothing can be decoded after it."""
        found = self._known.get(data)
        return self._decode(data) if found is None else found

    def _decode(self, data: bytes) -> Block:
        pos = self._update_size(data)
        end = len(data)
        static, dynamic = STATIC_ENTRIES, self._dynamic
        most = self._max_fields_bytes
        fields: list[Field] = []
        sensitive: list[int] = []
        size = 0
        changed = pos > 0
        while pos < end:
            byte = data[pos]
            pos += 1
            if byte > 0x80:  # 0x80 itself is no field: `_literal` refuses it, out of the way of all others
                index = byte & 0x7F
                if index == 0x7F:
                    index, pos = read_integer(data, pos, 0x7F)
                try:
                    field, cost = static[index] if index < FIRST_DYNAMIC else dynamic[index - FIRST_DYNAMIC]
                except IndexError:
                    raise no_entry(index) from None
            else:
                field, cost, pos = self._literal(data, byte, pos)
                if byte & 0x40:
                    changed = True
                    self._insert(field, cost)
                elif byte & 0x10 and size <= most:
                    sensitive.append(len(fields))
            size += cost
            if size <= most:
                fields.append(field)
            elif size > TOO_LARGE * most:
                raise TooMuch(f"a header block has {size} bytes of fields, with 32 for each; {most} are taken")
        if size > most or len(fields) > self._max_fields:
            block = Block((), None, size, True)
        else:
            block = Block(tuple(fields), frozenset(sensitive) if sensitive else None, size, False)
        if changed:
            self.forget()
        elif end <= MAX_BLOCK and len(fields) <= MAX_REFERENCES and not sensitive:
            self._keep(data, block)
        return block

    def _keep(self, data: bytes, block: Block) -> None:
        if self._known is _NOTHING:
            self._known = Repeats()
        self._known.keep(data, block)

    def _literal(self, data: bytes, byte: int, pos: int) -> tuple[Field, int, int]:
        """The field, its size and where it ends, of one that is not in a table, or whose name alone is."""
        if byte == 0x80:
            raise no_entry(0)
        if byte & 0xE0 == 0x20:
            raise compression_error("changes the size of the table after its beginning")
        mask = 0x3F if byte & 0x40 else 0x0F
        index = byte & mask
        if index == mask:
            index, pos = read_integer(data, pos, mask)
        secret = byte & 0xF0 == 0x10
        if index:
            try:
                entry = STATIC_ENTRIES[index] if index < FIRST_DYNAMIC else self._dynamic[index - FIRST_DYNAMIC]
                name = entry[0][0]
            except IndexError:
                raise no_entry(index) from None
        else:
            name, pos = read_string(data, pos, secret)
        value, pos = read_string(data, pos, secret)
        return (name, value), len(name) + len(value) + OVERHEAD, pos

    def _insert(self, field: Field, cost: int) -> None:
        self._evict(self._max_size - cost)
        if cost <= self._max_size:
            self._dynamic.insert(0, (field, cost))
            self._used += cost

    def _evict(self, room: int) -> None:
        """Drop the oldest entries until no more than `room` bytes are in use."""
        dynamic = self._dynamic
        while self._used > room and dynamic:
            self._used -= dynamic.pop()[1]

    def _update_size(self, data: bytes) -> int:
        """Follow the changes of the table's size that a block begins with, and return where its fields begin.

        There are at most two: the smallest size since the last block, and the last one (RFC 7541, 4.2).
        """
        pos = updates = 0
        while pos < len(data) and data[pos] & 0xE0 == 0x20:
            size = data[pos] & 0x1F
            pos += 1
            if size == 0x1F:
                size, pos = read_integer(data, pos, 0x1F)
            self._resize(size)
            updates += 1
            if updates > 2:
                raise compression_error("changes the size of the table more than twice")
        if self._required is not None:
            raise compression_error("does not make the table as small as our settings want it")
        return pos

    def _resize(self, size: int) -> None:
        if size > self._limit:
            raise compression_error(f"wants a table of {size} bytes; our settings allow {self._limit}")
        if self._required is not None and size <= self._required:
            self._required = None
        self._max_size = size
        self._evict(size)


def no_entry(index: int) -> ProtocolError:
    """The error of an index that nothing stands at."""
    return compression_error(f"names entry {index}, which is in no table")
