"""The way of one small message is as short as docs/architecture.md says: what is added is added to each message."""

import re

import pytest
import trio

from .path import shortest
from .source import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()


@pytest.mark.parametrize(("first", "last"), [("send_all", "write"), ("readv", "receive_some")])
def test_a_small_message_takes_the_way_that_the_page_tells(first: str, last: str) -> None:
    [row] = re.findall(rf"^\| \w+, `{first}` to `{last}` \| (\d+) \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE)
    way = trio.run(shortest, first, last)
    assert [len(way.functions), len(set(way.files)), way.returns] == list(map(int, row)), way.functions
