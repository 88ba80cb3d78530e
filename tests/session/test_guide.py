"""The code in docs/guide.md: that it is code, and that what it promises holds where that is easily got wrong."""

from __future__ import annotations

import ast
import logging
import re
import socket
from pathlib import Path
from typing import Any

import pytest
import trio

import muxpy
from tests.helpers.pairs import session_pair
from tests.helpers.tasks import bounded

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"
BLOCKS: list[str] = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("block", BLOCKS, ids=[block.partition("\n")[0] for block in BLOCKS])
def test_a_block_is_code(block: str) -> None:
    compile(block, "guide.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@bounded()
async def test_a_target_that_refuses_is_no_failure_of_the_handler(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (block,) = [block for block in BLOCKS if "async def reach(" in block]
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    names: dict[str, Any] = {}
    exec(block.replace('"127.0.0.1", 80)', f'"127.0.0.1", {port})'), names)

    async with session_pair("tcp") as (client, server):
        stream = await client.open_stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(names["serve"], server)
            cut = await stream.wait_ended()
            nursery.cancel_scope.cancel()
        assert isinstance(cut, muxpy.StreamReset)
        assert cut.retryable
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
