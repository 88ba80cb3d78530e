"""Where keys and values stand in TOML, however it is written."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muxpy_cli.config._positions import Positions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muxpy_cli.config._positions import Where

LAYOUTS = """\
# a comment = 1
title = "a # no comment"  # a comment
multi = \"\"\"
[no.table]
x = 1 \\\"\"\" escaped \\
\"\"\"\"\"
literal = '''
'no = 1' ''''
after = 5
point = { x = 1, "y z" = { deep = [2] } }
a.b . "c.d" = 3
list = [
    1, # one ]
    [2, 3],
    {k = 4},
]
date = 1979-05-27 07:32:00

[table]
key = true
  [ table . 'inner' ]
  key = false
[[item]]
name = 1
[item.sub]
x = 1
[[item]]
name = 2
[[item.nested]]
y = 1
[top.below]
z = 1
[top]
w = 1
"""


@pytest.mark.parametrize(
    ("where", "place"),
    [
        (("title",), (2, 9)),
        (("multi",), (3, 9)),
        (("literal",), (7, 11)),
        (("after",), (9, 9)),
        (("point",), (10, 9)),
        (("point", "x"), (10, 15)),
        (("point", "y z", "deep", 0), (10, 36)),
        (("a", "b", "c.d"), (11, 15)),
        (("a", "b"), (11, 3)),
        (("list", 0), (13, 5)),
        (("list", 1, 1), (14, 9)),
        (("list", 2, "k"), (15, 10)),
        (("date",), (17, 8)),
        (("table",), (19, 2)),
        (("table", "inner", "key"), (22, 9)),
        (("item", 0, "sub", "x"), (26, 5)),
        (("item", 1, "name"), (28, 8)),
        (("item", 1, "nested", 0, "y"), (30, 5)),
        (("top",), (33, 2)),
        (("top", "below"), (31, 6)),
        (("table", "missing"), (19, 2)),
        (("nothing",), (1, 1)),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_places_of_values(where: Where, place: tuple[int, int], newline: str) -> None:
    assert Positions(LAYOUTS.replace("\n", newline)).value(where) == place


def test_places_of_keys() -> None:
    positions = Positions(LAYOUTS)
    assert positions.key(("point", "y z")) == (10, 18)
    assert positions.key(("a", "b", "c.d")) == (11, 7)
    assert positions.key(("list", 0)) == (13, 5)


KEYS = st.sampled_from(["a", "b", "c", "d-1", '"q r"', "'l.t'", '"\\u0065"', '""'])
PATHS = st.lists(KEYS, min_size=1, max_size=3).map(" . ".join)
GAPS = st.sampled_from(["", " ", "\n", " # [c] = {\n", "\n\t"])
SCALARS = st.integers(0, 10**6).map(str) | st.sampled_from(
    ['"t"', "'l'", '"""\n]"" \\""""""', "'''x\n='''", '"\\\\"', "1.5", "true", "1979-05-27T07:32:00Z", '""', "''"]
)


def _array(elements: list[tuple[str, str]]) -> str:
    return "[" + ",".join(f"{gap}{value}{gap}" for gap, value in elements) + "]"


def _inline(pairs: list[tuple[str, str]]) -> str:
    return "{ " + ", ".join(f"{path} = {value}" for path, value in pairs) + " }"


VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(st.tuples(GAPS, inner), max_size=3).map(_array)
        | st.lists(st.tuples(PATHS, inner), max_size=2).map(_inline)
    ),
    max_leaves=6,
)
LINES = (
    st.tuples(PATHS, VALUES).map(" = ".join)
    | PATHS.map(lambda path: f"[{path}]")
    | PATHS.map(lambda path: f"[[ {path} ]]  # [x]")
    | st.just("# y = 1")
)
DOCUMENTS = st.lists(LINES, max_size=8)


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _valid(lines: list[str]) -> str:
    """Those of the lines that fit to the ones before them."""
    text = ""
    for line in lines:
        longer = f"{text}{line}\n"
        if _is_toml(longer):
            text = longer
    return text


def _walk(value: Any, where: Where = ()) -> Iterator[tuple[Where, Any]]:  # noqa: ANN401
    if where:
        yield where, value
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        yield from _walk(child, (*where, name))


@settings(deadline=None)
@given(DOCUMENTS.map(_valid))
def test_every_value_has_its_place(text: str) -> None:
    data = tomllib.loads(text)
    positions = Positions(text)
    lines = text.split("\n")
    assert {*positions._keys, *positions._values} == {where for where, _ in _walk(data)}
    for where, value in _walk(data):
        line, column = positions.value(where)
        rest = lines[line - 1][column - 1 :]
        if isinstance(value, int) and not isinstance(value, bool):
            assert rest.startswith(str(value))
        if isinstance(value, str):
            assert rest[0] in "\"'"
        key = where[-1]
        line, column = positions.key(where)
        if isinstance(key, str):
            rest = lines[line - 1][column - 1 :]
            assert rest.startswith((key or '""', '"\\u0065"' if key == "e" else f'"{key}"', f"'{key}'"))
