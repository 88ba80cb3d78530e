"""Fields to header blocks (RFC 7541)."""

from collections.abc import Collection
from typing import Final

from ._primitives import encode_integer, encode_plain, encode_secret, encode_string
from ._repeats import MAX_BLOCK, Repeats
from ._static_table import (
    FIRST_DYNAMIC,
    INITIAL_TABLE_SIZE,
    OVERHEAD,
    SECRET,
    SHORT_COOKIE,
    STATIC_FIELDS,
    STATIC_NAMES,
    UNINDEXED,
    Field,
    NeverIndexed,
)

Fields = tuple[Field, ...]

_NOTHING: Final[Repeats[Fields, bytes]] = Repeats()
"""What an encoder keeps of blocks that has had none twice; nothing is ever put into it."""


class HpackEncoder:
    """Encodes the header blocks of one connection, which must be sent in the order in which they are encoded.

    A field is put into the table when it is first sent, but for names of `unindexed`, large ones, and secrets:
    authorization, short cookies, and what the caller says. `max_table_size` bounds the table, whatever the peer allows.
    `huffman=False` spares both ends the code, and takes about a third more bytes.
    """

    __slots__ = (
        "_bound",
        "_count",
        "_known",
        "_max_size",
        "_names",
        "_numbers",
        "_secret_string",
        "_smallest",
        "_string",
        "_unindexed",
        "_used",
    )

    def __init__(
        self,
        max_table_size: int = INITIAL_TABLE_SIZE,
        *,
        unindexed: Collection[bytes] = UNINDEXED,
        huffman: bool = True,
    ) -> None:
        self._bound = max_table_size
        self._unindexed = unindexed
        self._string = encode_string if huffman else encode_plain
        self._secret_string = encode_secret if huffman else encode_plain
        self._max_size = INITIAL_TABLE_SIZE
        self._smallest: int | None = None  # the peer has not been told of a change yet; the smallest size since then
        self._used = 0
        self._count = 0  # of all entries there have been: the next one's number
        self._numbers: dict[Field, int] = {}  # of the entries, oldest first
        self._names: dict[bytes, int] = {}  # the newest entry of each name that is not in the static table
        self._known = _NOTHING
        self.set_max_table_size(INITIAL_TABLE_SIZE)

    @property
    def table(self) -> list[Field]:
        """The dynamic table, newest first."""
        return list(reversed(self._numbers))

    @property
    def table_size(self) -> int:
        """Bytes in the dynamic table, as RFC 7541, 4.1 counts them."""
        return self._used

    def set_max_table_size(self, size: int) -> None:
        """The peer's SETTINGS_HEADER_TABLE_SIZE. What changes is said at the start of the next block."""
        size = min(size, self._bound)
        if size == self._max_size:
            return
        self._smallest = size if self._smallest is None else min(self._smallest, size)
        self._max_size = size
        self._evict(size)
        self.forget()

    def forget(self) -> None:
        """Let go of the blocks that were kept: the connection is idle, or the table has changed."""
        self._known = _NOTHING

    def encode(self, fields: Fields, sensitive: Collection[int] | None = None) -> bytes:
        """Encode a whole header block. `sensitive`: the places of fields that no intermediary may put into a table, as
        in `Block.sensitive`; a value may say that too (`NeverIndexed`)."""
        if sensitive:
            return self._encode(fields, {fields[place] for place in sensitive})
        found = self._known.get(fields)
        return self._encode(fields, ()) if found is None else found

    def _encode(self, fields: Fields, secrets: Collection[Field]) -> bytes:
        keep = True
        block = bytearray()
        static = STATIC_FIELDS.get
        dynamic = self._numbers.get
        for field in fields:
            number = dynamic(field)
            index = static(field) if number is None else FIRST_DYNAMIC + self._count - 1 - number
            if index is None or field in secrets:
                literal = self._literal(field, field in secrets)
                block += literal
                if literal[0] >= 0x10:  # the table has changed, or it is a secret
                    keep = False
            elif index < 0x7F:
                block.append(index | 0x80)
            else:
                block += encode_integer(index, 0x7F, 0x80)
        data = bytes(block)
        if keep and len(data) <= MAX_BLOCK:
            self._keep(fields, data)
        return data if self._smallest is None else self._size_update(self._smallest) + data

    def _keep(self, fields: Fields, data: bytes) -> None:
        if self._known is _NOTHING:
            self._known = Repeats()
        self._known.keep(fields, data)

    def _size_update(self, smallest: int) -> bytes:
        """What must be said first of changes of the table's size: the smallest since the last block, and the last."""
        self._smallest = None
        last = encode_integer(self._max_size, 0x1F, 0x20)
        return last if smallest == self._max_size else encode_integer(smallest, 0x1F, 0x20) + last

    def _literal(self, field: Field, secret: bool) -> bytes:
        """A field that is in no table. Its first byte says what becomes of it: from 0x40 on it is put into the dynamic
        one, from 0x10 on nobody may do that, and below it is not worth it (RFC 7541, 6.2)."""
        name, value = field
        size = len(name) + len(value) + OVERHEAD
        mask, pattern, string = 0x0F, 0x00, self._string
        if secret or type(value) is NeverIndexed or name in SECRET or (name == b"cookie" and len(value) < SHORT_COOKIE):
            pattern, string = 0x10, self._secret_string
        elif name not in self._unindexed and size <= self._max_size * 3 // 4:
            mask, pattern = 0x3F, 0x40
        index = self._name_index(name)
        literal = encode_integer(index, mask, pattern) + (b"" if index else string(name)) + string(value)
        if pattern == 0x40:
            self._insert(field, size)
        return literal

    def _name_index(self, name: bytes) -> int:
        """Where a table has the name; 0 for nowhere."""
        index = STATIC_NAMES.get(name)
        if index is not None:
            return index
        number = self._names.get(name)
        return 0 if number is None else FIRST_DYNAMIC + self._count - 1 - number

    def _insert(self, field: Field, size: int) -> None:
        self._evict(self._max_size - size)
        self._used += size
        self._numbers[field] = self._count
        if field[0] not in STATIC_NAMES:
            self._names[field[0]] = self._count
        self._count += 1
        self.forget()

    def _evict(self, room: int) -> None:
        """Drop the oldest entries until no more than `room` bytes are in use."""
        while self._used > room:
            field, number = next(iter(self._numbers.items()))
            name, value = field
            self._used -= len(name) + len(value) + OVERHEAD
            del self._numbers[field]
            if self._names.get(name) == number:
                del self._names[name]
