"""The bytes of muxado (docs/protocol.md, "Frames")."""

from ._beginning import looks_like, looks_like_muxado
from ._decoder import Decoder, Piece
from ._encoder import encode_data_header, encode_goaway, encode_rst, encode_syn, encode_wnd_inc, set_fin
from ._frames import parse_code, parse_goaway, parse_increment, parse_syn
from ._header import (
    DATA,
    FIN,
    GOAWAY,
    HEADER_SIZE,
    MAX_ID,
    MAX_PAYLOAD,
    MAX_PRIORITY,
    MAX_STREAM_TYPE,
    MAX_WINDOW,
    MIN_EXTENSION_TYPE,
    RST,
    SYN,
    TYPE_NAMES,
    WND_INC,
)

__all__ = [
    "DATA",
    "FIN",
    "GOAWAY",
    "HEADER_SIZE",
    "MAX_ID",
    "MAX_PAYLOAD",
    "MAX_PRIORITY",
    "MAX_STREAM_TYPE",
    "MAX_WINDOW",
    "MIN_EXTENSION_TYPE",
    "RST",
    "SYN",
    "TYPE_NAMES",
    "WND_INC",
    "Decoder",
    "Piece",
    "encode_data_header",
    "encode_goaway",
    "encode_rst",
    "encode_syn",
    "encode_wnd_inc",
    "looks_like",
    "looks_like_muxado",
    "parse_code",
    "parse_goaway",
    "parse_increment",
    "parse_syn",
    "set_fin",
]
