"""The Python of docs/adapters.md, which the tests run as it stands there."""

from __future__ import annotations

import ast
import inspect
from typing import TYPE_CHECKING, Any, Final

from tests.docs.blocks import Block, blocks

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PAGE", "run", "shows"]

PAGE: Final = "docs/adapters.md"


def shows(heading: str) -> Callable[[Any], Any]:
    """Decorator: the test runs the blocks below this heading. A test of the page finds it by its text."""
    assert below(heading)
    return lambda test: test


def below(heading: str) -> list[Block]:
    """The Python below a heading."""
    return [block for block in blocks(PAGE) if (block.heading, block.language) == (heading, "python")]


async def run(
    heading: str,
    number: int = 0,
    instead: dict[str, object] | None = None,
    **names: Any,  # noqa: ANN401
) -> dict[str, Any]:
    """Run one of the blocks below a heading, with these names, and other texts `instead` of what the page has; all
    names that there are then."""
    text = below(heading)[number].text
    for old, new in (instead or {}).items():
        assert old in text
        text = text.replace(old, str(new))
    code = compile(text, heading, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, names)
    if inspect.iscoroutine(result):
        await result
    return names
