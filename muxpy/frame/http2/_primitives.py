"""What HPACK is made of: integers and strings (RFC 7541, 5)."""

from typing import Final

from muxpy._codes import ProtocolError

from ._codes import ErrorCode as Http2Code
from ._huffman import huffman_decode, huffman_encode

MAX_CACHED: Final = 64
"""Bytes of the longest string whose other form is kept: names and common values are shorter."""
CACHED_STRINGS: Final = 1024
"""How many are kept, for the whole process."""

_decoded: Final[dict[bytes, bytes]] = {}
_encoded: Final[dict[bytes, bytes]] = {}


def compression_error(reason: str) -> ProtocolError:
    """The error of a header block that cannot be decoded; it ends the connection (RFC 9113, 4.3)."""
    return ProtocolError(Http2Code.COMPRESSION_ERROR, f"a header block {reason}")


def encode_integer(value: int, mask: int, pattern: int) -> bytes:
    """An integer behind the bits of `pattern` in its first byte, of which `mask` leaves the lower ones to it."""
    if value < mask:
        return bytes((pattern | value,))
    octets = bytearray((pattern | mask,))
    value -= mask
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def read_integer(data: bytes, pos: int, mask: int) -> tuple[int, int]:
    """The rest of an integer whose first byte is all ones under `mask`, and where it ends.

    More than four bytes are refused: with leading zeros they could go on for ever, and nothing here needs 2^28.
    """
    value = mask
    for shift, octet in zip((0, 7, 14, 21), data[pos : pos + 4], strict=False):
        value += (octet & 0x7F) << shift
        if octet < 0x80:
            return value, pos + shift // 7 + 1
    raise compression_error("has an integer that is too long" if len(data) >= pos + 4 else "ends within an integer")


def encode_string(text: bytes) -> bytes:
    """A string, in Huffman code if that is shorter; the form of short ones is kept."""
    found = _encoded.get(text)
    if found is None:
        found = encode_secret(text)
        if len(text) <= MAX_CACHED:
            _keep(_encoded, text, found)
    return found


def encode_secret(text: bytes) -> bytes:
    """A string of which nothing is kept."""
    coded = huffman_encode(text)
    return encode_integer(len(coded), 0x7F, 0x80) + coded if len(coded) < len(text) else encode_plain(text)


def encode_plain(text: bytes) -> bytes:
    """A string as it is."""
    return encode_integer(len(text), 0x7F, 0) + text


def read_string(data: bytes, pos: int, secret: bool = False) -> tuple[bytes, int]:
    """The string that begins at `pos`, and where it ends. Of one that is `secret` nothing is kept."""
    if pos == len(data):
        raise compression_error("ends before a string")
    head = data[pos]
    length = head & 0x7F
    pos += 1
    if length == 0x7F:
        length, pos = read_integer(data, pos, 0x7F)
    stop = pos + length
    text = data[pos:stop]
    if len(text) != length:
        raise compression_error("ends within a string")
    if head < 0x80:
        return text, stop
    return _decoded.get(text) or _decode(text, secret), stop


def _decode(coded: bytes, secret: bool) -> bytes:
    text = huffman_decode(coded)
    if text is None:
        raise compression_error("has a string that is no Huffman code")
    if len(coded) <= MAX_CACHED and not secret:
        _keep(_decoded, coded, text)
    return text


def _keep(cache: dict[bytes, bytes], key: bytes, value: bytes) -> None:
    if len(cache) >= CACHED_STRINGS:
        cache.clear()
    cache[key] = value
