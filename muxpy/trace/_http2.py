"""The frames of HTTP/2, as a trace shows them: of fields the names alone, since values are nobody's business."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from muxpy._codes import code_name
from muxpy.frame import http2 as wire
from muxpy.frame.http2 import Decoder, HpackDecoder, Setting, named_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muxpy.frame import Buffer

__all__ = ["Http2Frames"]

_LARGEST: Final = 2**24 - 1
_ALL: Final = 2**31
"""More than any header list: what is too large for the session is still to be seen."""


class Http2Frames:
    """Cuts the bytes of one direction."""

    def __init__(self) -> None:
        self._decoder = Decoder(_LARGEST)
        self._hpack = HpackDecoder(max_fields_bytes=_ALL, max_fields=_ALL)
        self._preface = b""  # what there is of it, as long as the bytes may still begin with one
        self._begun = False
        self._length = 0  # payload bytes so far of the DATA frame that is under way
        self._block = b""  # of HEADERS or PUSH_PROMISE without END_HEADERS

    def __call__(self, data: Buffer) -> Iterator[dict[str, Any]]:
        """The frames that end in `data`, as fields of a TraceEvent."""
        if not self._begun:
            data = self._without_preface(data)
        for kind, flags, stream_id, body, rest, _ in self._decoder.feed(data):
            self._length += len(body)
            if not rest:
                name = wire.TYPE_NAMES.get(kind, f"type {kind:#x}")
                details = self._details(kind, flags, body)
                yield {"type": name, "stream": stream_id, "flags": _flags(kind, flags), **details}
                self._length = 0

    def _without_preface(self, data: Buffer) -> Buffer:
        begin = self._preface + bytes(data)
        if len(begin) < len(wire.PREFACE) and wire.PREFACE.startswith(begin):
            self._preface = begin
            return b""
        self._begun = True
        return begin.removeprefix(wire.PREFACE)

    def _details(self, kind: int, flags: int, body: bytes) -> dict[str, Any]:
        match kind:
            case wire.DATA:
                return {"length": self._length}
            case wire.HEADERS:
                return self._names(flags, wire.parse_headers(flags, body)[0])
            case wire.PUSH_PROMISE:
                promised, part = wire.parse_push_promise(flags, body)
                return {"promised": promised, **self._names(flags, part)}
            case wire.CONTINUATION:
                return self._names(flags, self._block + body)
            case wire.RST_STREAM:
                return {"code": code_name(named_code(wire.parse_rst_stream(body)))}
            case wire.WINDOW_UPDATE:
                return {"increment": wire.parse_window_update(body)}
            case wire.GOAWAY:
                last_id, code, debug = wire.parse_goaway(body)
                text = debug.decode(errors="backslashreplace")
                return {"last_id": last_id, "code": code_name(named_code(code)), "text": text or None}
            case wire.SETTINGS:
                settings = [f"{_setting(key)}={value}" for key, value in wire.parse_settings(body)]
                return {"settings": tuple(settings) or None}
            case _:
                return {"length": len(body)}

    def _names(self, flags: int, block: bytes) -> dict[str, Any]:
        """The names of the fields, if the block ends here."""
        if not flags & wire.END_HEADERS:
            self._block = block
            return {}
        self._block = b""
        fields = self._hpack.decode(block).fields
        return {"headers": tuple(name.decode(errors="backslashreplace") for name, _ in fields)}


def _setting(key: int) -> str:
    return Setting(key).name if key in Setting._value2member_map_ else f"{key:#x}"


def _flags(kind: int, flags: int) -> tuple[str, ...] | None:
    names = []
    if kind in (wire.DATA, wire.HEADERS) and flags & wire.END_STREAM:
        names.append("END_STREAM")
    if kind in (wire.SETTINGS, wire.PING) and flags & wire.ACK:
        names.append("ACK")
    return tuple(names) or None
