"""Go's client and server of HTTP/2, of net/http and golang.org/x/net: the program in the folder go/."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.cli.real._programs import run
from tests.interop.goprogram import GoProgram

if TYPE_CHECKING:
    from .tls import Tls

__all__ = ["PROGRAM", "go_asks"]

PROGRAM = GoProgram(
    name="http2peer",
    sources=Path(__file__).parent / "go",
    package="golang.org/x/net",
    part="http2/h2c",
    debian="golang-golang-x-net-dev",
)


async def go_asks(what: str, url: str, tls: Tls | None, count: int = 100, **variables: str) -> dict[str, Any]:
    """What a scenario of go/client.go says."""
    trusted = () if tls is None else ("-ca", tls.authority)
    command = (str(PROGRAM.build()), "ask", *trusted, "-count", str(count), what, url)
    answer: dict[str, Any] = json.loads((await run(*command, **variables)).out)
    return answer
