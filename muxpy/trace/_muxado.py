"""The frames of muxado, as a trace shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from muxpy._codes import code_name
from muxpy.frame.muxado import (
    FIN,
    GOAWAY,
    RST,
    SYN,
    TYPE_NAMES,
    WND_INC,
    Decoder,
    parse_code,
    parse_goaway,
    parse_increment,
    parse_syn,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muxpy.frame import Buffer

__all__ = ["MuxadoFrames"]


class MuxadoFrames:
    """Cuts the bytes of one direction."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._length = 0  # payload bytes so far of the DATA frame that is under way

    def __call__(self, data: Buffer) -> Iterator[dict[str, Any]]:
        """The frames that end in `data`, as fields of a TraceEvent."""
        for kind, flags, stream_id, body, rest in self._decoder.feed(data):
            self._length += len(body)
            if not rest:
                fin = ("FIN",) if flags & FIN and kind not in (RST, WND_INC, GOAWAY) else None
                name = TYPE_NAMES[kind].removeprefix("STREAM_")
                yield {"type": name, "stream": stream_id, "flags": fin, **self._details(kind, flags, body)}
                self._length = 0

    def _details(self, kind: int, flags: int, body: memoryview) -> dict[str, Any]:
        if kind == SYN:
            priority, stream_type = parse_syn(flags, body)
            return {"priority": priority, "stream_type": stream_type}
        if kind == RST:
            return {"code": code_name(parse_code(body))}
        if kind == WND_INC:
            return {"increment": parse_increment(body)}
        if kind == GOAWAY:
            last_id, code, debug = parse_goaway(body)
            return {"last_id": last_id, "code": code_name(code), "text": debug.decode(errors="backslashreplace")}
        return {"length": self._length}
