"""Trace files written by hand, and `muxpy trace` run on them."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from muxpy_cli.commands._trace import trace_command
from tests.helpers.tasks import LIMIT

from .program import COMMAND, ENVIRONMENT

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

BEGIN = 1_700_000_000.0
EVIL = "bye\x1b[2J\x1b]0;owned\x07\n9.999999 all is well\r\u202e\u009b"


def event(at: float, kind: str = "frame", session: int = 1, **fields: Any) -> str:  # noqa: ANN401
    """One line; `at` seconds after the first session's begin."""
    return json.dumps({"time": BEGIN + at, "session": session, "event": kind, **fields}) + "\n"


def begin(at: float = 0.0, session: int = 1, **fields: Any) -> str:  # noqa: ANN401
    usual = {"role": "client", "local": "127.0.0.1:5", "remote": "[::1]:42", "tls": "TLSv1.3"}
    return event(at, "begin", session, **{**usual, **fields})


def sent(at: float, kind: str, stream: int, session: int = 1, **fields: Any) -> str:  # noqa: ANN401
    return event(at, session=session, direction="sent", type=kind, stream=stream, **fields)


def received(at: float, kind: str, stream: int, session: int = 1, **fields: Any) -> str:  # noqa: ANN401
    return event(at, session=session, direction="received", type=kind, stream=stream, **fields)


def data(at: float, stream: int, session: int = 1, *, fin: bool = False) -> str:
    flags: dict[str, Any] = {"flags": ["FIN"]} if fin else {}
    return received(at, "DATA", stream, session, length=16_383, **flags)


WHOLE = (
    begin()
    + sent(0.0005, "SYN", 3, priority=7, stream_type=2)
    + sent(0.000612, "DATA", 3, length=100)
    + sent(0.000612, "DATA", 3, length=20, flags=["FIN"])
    + received(0.0122, "SYN", 2, priority=2**31 - 1, stream_type=0xFFFFFEFF)
    + "".join(data(0.02 + number / 1000, 3) for number in range(52))
    + sent(0.08, "WND_INC", 3, increment=65_536)
    + received(3.0, "RST", 3, code="CANCEL")
    + received(3.5, "GOAWAY", 0, last_id=41, code="NO_ERROR", text="bye")
    + event(4.0, "end", code="NO_ERROR", text="it was closed")
)

GOLDEN = """\
session 1: client, 127.0.0.1:5 ↔ [::1]:42, TLSv1.3, 2023-11-14 22:13:20
    seconds     gap this side                                                               the peer
   0.000500         │ SYN 3 priority 7 type 2 ────────────────────────────────────────────────────►│
   0.000612         │ DATA 3 ×2 120 B FIN ────────────────────────────────────────────────────────►│
   0.012200         │◄──────────────────────────────────────────────────────────── SYN 2 heartbeat │
   0.020000         │◄─────────────────────────────────────────────────────── DATA 3 ×52 851,916 B │
   0.080000         │ WND_INC 3 +65,536 ──────────────────────────────────────────────────────────►│
   3.000000 +2.92 s │◄─────────────────────────────────────────────────────────────── RST 3 CANCEL │
   3.500000 +500 ms │◄────────────────────────────────────────────── GOAWAY last 41 NO_ERROR "bye" │
   4.000000         session 1 ended: it was closed (NO_ERROR)

stream  opened by   sent   received  lasted  ended
     3  this side  120 B  851,916 B  3.00 s  CANCEL by peer
     2  peer         0 B        0 B  3.99 s  with the session

frames    sent   received
SYN          1          1
DATA         2         52
WND_INC      1          0
RST          0          1
GOAWAY       0          1
payload  120 B  851,916 B
"""  # noqa: RUF001 - the sign of multiplication


class Trace:
    """The command, with a file that has this text."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = folder / "t.jsonl"
        self._capsys = capsys

    def __call__(self, text: str | bytes, *options: str) -> tuple[int, str, str]:
        self.path.write_bytes(text.encode() if isinstance(text, str) else text)
        code = trace_command.main([str(self.path), *options], prog_name="muxpy", standalone_mode=False)
        out, err = self._capsys.readouterr()
        return code, out, err.replace(str(self.path), "FILE")


def labels(out: str) -> list[str]:
    """What stands on the arrows."""
    return [line.split("│")[1].strip(" ─►◄") for line in out.splitlines() if "│" in line]


def run(*arguments: str, stdin: bytes | None = None, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**ENVIRONMENT, "TZ": "UTC", **variables}
    return subprocess.run(
        [*COMMAND, "trace", *arguments], input=stdin, capture_output=True, env=environment, check=False, timeout=LIMIT
    )
