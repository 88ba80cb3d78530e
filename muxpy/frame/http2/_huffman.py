"""The Huffman code of HPACK (RFC 7541, 5.2 and appendix B).

The code is canonical: in the order of their lengths, and of symbols of one length in the order of their values, each
code is the one before plus one. So the lengths say it all.

Decoding walks one step a byte, not a bit. A state is an inner node of the code's tree, where the bits so far have led;
its row says for each byte of input in which row to go on, and the symbols that were completed. All 256 rows take 4 MB,
of which text needs a fraction, so a row is filled when a string first comes to it.
"""

from functools import cache
from typing import Final

__all__ = ["huffman_decode", "huffman_encode"]

_BY_SYMBOL: Final = """
    13 23 28 28 28 28 28 28 28 24 30 28 28 30 28 28 28 28 28 28 28 28 30 28 28 28 28 28 28 28 28 28
    6 10 10 12 13 6 8 11 10 10 8 11 8 6 6 6 5 5 5 6 6 6 6 6 6 6 7 8 15 6 12 10
    13 6 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 8 7 8 13 19 13 14 6
    15 5 6 5 6 5 6 6 6 5 7 7 6 6 6 5 6 7 6 5 5 6 7 7 7 7 7 15 11 14 13 28
    20 22 20 20 22 22 22 23 22 23 23 23 23 23 24 23 24 24 22 23 24 23 23 23 23 21 22 23 22 23 23 24
    22 21 20 22 22 23 23 21 23 22 22 24 21 22 23 23 21 21 22 21 23 22 23 23 20 22 22 22 23 22 22 23
    26 26 20 19 22 23 22 25 26 26 26 27 27 26 24 25 19 21 26 27 27 26 27 24 21 21 26 26 28 27 27 27
    20 24 20 21 22 21 21 23 22 22 25 25 24 24 26 23 26 27 26 26 27 27 27 27 27 28 27 27 27 27 27 26
    30
"""
_LENGTHS: Final = bytes(map(int, _BY_SYMBOL.split()))
_EOS: Final = 256


def _make_codes() -> list[str]:
    codes = [""] * len(_LENGTHS)
    code = length = 0
    for symbol in sorted(range(len(_LENGTHS)), key=_LENGTHS.__getitem__):
        code <<= _LENGTHS[symbol] - length
        length = _LENGTHS[symbol]
        codes[symbol] = f"{code:0{length}b}"
        code += 1
    return codes


_CODES: Final = _make_codes()
"""By symbol, as zeros and ones: joined, and read as one number, they are the fastest way to bytes that Python has."""


def huffman_encode(data: bytes) -> bytes:
    """`data` in Huffman code; it may be longer than before."""
    if not data:
        return b""
    bits = "".join(map(_CODES.__getitem__, data))
    size = (len(bits) + 7) // 8
    return int(bits.ljust(8 * size, "1"), 2).to_bytes(size, "big")


Row = list[tuple["Row", bytes]]

_BROKEN: Final[Row] = []
"""Where EOS leads, and whatever comes after it."""
_BROKEN.extend([(_BROKEN, b"")] * 256)


@cache
def _tree() -> tuple[dict[str, int], dict[str, Row]]:
    """The symbols by their codes, and the rows by the codes that lead to their nodes; none is filled."""
    prefixes = {code[:length] for code in _CODES for length in range(len(code))}
    return {code: symbol for symbol, code in enumerate(_CODES)}, {prefix: [] for prefix in prefixes}


@cache
def _final_rows() -> list[Row]:
    """Where a string may end: less than a byte of ones, the beginning of EOS, is padding."""
    return [_tree()[1]["1" * length] for length in range(8)]


@cache
def _texts() -> dict[bytes, bytes]:
    return {}


def _fill(row: Row) -> None:
    _, rows = _tree()
    prefix = next(prefix for prefix, candidate in rows.items() if candidate is row)
    row += [_walk(prefix, f"{byte:08b}") for byte in range(256)]


def _walk(prefix: str, bits: str) -> tuple[Row, bytes]:
    symbols, rows = _tree()
    found = []
    for bit in bits:
        prefix += bit
        symbol = symbols.get(prefix)
        if symbol == _EOS:
            return _BROKEN, b""
        if symbol is not None:
            found.append(symbol)
            prefix = ""
    text = bytes(found)
    return rows[prefix], _texts().setdefault(text, text)


def huffman_decode(data: bytes) -> bytes | None:
    """What `data` says; None if it has EOS or wrong padding."""
    row = start = _tree()[1][""]
    texts = []
    for byte in data:
        try:
            row, text = row[byte]
        except IndexError:
            _fill(row)
            row, text = row[byte]
        texts.append(text)
    if row is not start and not any(row is final for final in _final_rows()):
        return None
    return b"".join(texts)
