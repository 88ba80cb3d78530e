"""What a connection begins with: muxado, or another protocol."""

from muxpy.frame import ENOUGH, Buffer, known_beginning

from ._header import GOAWAY, HEADER, HEADER_SIZE, RST, SYN

__all__ = ["looks_like", "looks_like_muxado"]


def looks_like(data: Buffer) -> str | None:
    """Which protocol bytes that are not muxado look like; None for none that is known."""
    start = bytes(data[:ENOUGH])
    if looks_like_muxado(start):  # the length of a GOAWAY may be the bytes that another protocol begins with
        return None
    name = known_beginning(start)
    return None if name == "muxado" else name


def looks_like_muxado(data: Buffer) -> bool:
    """Whether a connection begins with a frame that a muxado peer may send first."""
    if len(data) < HEADER_SIZE:
        return False
    header: tuple[int, int, int, int] = HEADER.unpack_from(data)
    length, _, kind, stream_id = header
    if kind == GOAWAY:
        return stream_id == 0
    return (kind == SYN and length in (0, 4, 8) and stream_id >= 2) or (kind == RST and length == 4)
