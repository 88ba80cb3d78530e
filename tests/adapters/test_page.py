"""docs/adapters.md: each block is run, and short."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tests.docs.blocks import blocks

from .page import PAGE

MOST_LINES: Final = 6
CODE: Final = [block for block in blocks(PAGE) if block.language == "python"]


def test_each_block_is_run() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert {block.heading for block in CODE} == set(re.findall(r'^@shows\("(.+)"\)$', tests, re.MULTILINE))


def test_each_is_short_and_uses_public_names_only() -> None:
    for block in CODE:
        assert len([line for line in block.text.splitlines() if line]) <= MOST_LINES, block
        assert not re.search(r"\._|muxpy\.(?!adapters)", block.text), block
