"""The limits that the page of HTTP/2 lists are those that there are."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Final

from muxpy import http

from .blocks import ROOT

ROW: Final = re.compile(r"^\| `(?P<name>\w+)` \| (?P<default>[^|]*) \| (?P<reason>[^|]+) \|$", re.MULTILINE)
MIB: Final = 2**20


def as_said(name: str, value: object) -> str:
    """A default as the page writes it."""
    if value is None or isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:,g} a second" if name.endswith("_rate") else f"{value:g} s"
    assert isinstance(value, int)
    return f"{value:,}" if value % MIB else f"{value // MIB} MiB"


def test_each_field_stands_there_with_its_default() -> None:
    text = (ROOT / "docs" / "http2.md").read_text()
    table = text[text.index("## Limits\n") : text.index("## Rules\n")]
    said = [(row["name"], row["default"]) for row in ROW.finditer(table)]
    assert dict(said) == {field.name: as_said(field.name, field.default) for field in fields(http.Config)}
    assert len(said) == len(dict(said))
