"""One call."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING

from muxpy import rpc

from ..get import Output
from ._input import FromInput

if TYPE_CHECKING:
    from ._target import Target

__all__ = ["call"]


async def call(target: Target, method: str, arguments: str | None, *, items: bool) -> None:
    """Call, and write each result on a line of its own, as it comes. Without `arguments` they are on standard input;
    with `items` the values that the method takes are. Raises Failure."""
    lines = FromInput().lines() if items else None
    if arguments is None:
        arguments = await FromInput().arguments()
    output = Output(None, quiet=True)
    async with (
        target.session(method) as session,
        aclosing(rpc.call_json(session, method, arguments, items=lines, metadata=target.metadata)) as results,
    ):
        async for text in results:
            await output.write(f"{_shown(text)}\n".encode())


def _shown(text: str) -> str:
    """The same JSON, without characters that a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)
