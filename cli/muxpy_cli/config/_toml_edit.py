"""Changing tables of a TOML document, so that comments stay with what they are about.

tomlkit takes what stands before a header for the end of the table before it. Here it belongs to the table after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tomlkit.items import Comment, Table, Whitespace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tomlkit import TOMLDocument
    from tomlkit.items import Item, Key

    _Body = list[tuple[Key | None, Item]]

__all__ = ["drop_table", "fill_table"]


def fill_table(table: Any, values: Mapping[str, Any]) -> None:  # noqa: ANN401
    """Set keys; new ones go right after those that are there."""
    after = _cut_end(table.value.body) if isinstance(table, Table) else []
    for key, value in values.items():
        table[key] = value
    if after:
        table.value.body.extend(after)


def drop_table(document: TOMLDocument, parent: str, name: str) -> None:
    """Take `name` out of the table `parent`. The document is only good for writing afterwards."""
    tables: Any = document[parent]
    table = tables[name]
    after: _Body = _cut_end(table.value.body) if isinstance(table, Table) else []
    before = _table_before(tables, name)
    del tables[name]
    if before is not None:
        before.value.body.extend(after)
    else:
        document.body[:] = _with_before(document.body, parent, after)


def _cut_end(body: _Body) -> _Body:
    """Take off what follows the last key, from the first empty line, or all if it follows a header directly."""
    last = max((index for index, (key, _) in enumerate(body) if key is not None), default=-1)
    start = next((i for i in range(last + 1, len(body)) if isinstance(body[i][1], Whitespace)), len(body))
    end = body[start:]
    del body[start:]
    return end


def _table_before(tables: Any, name: str) -> Table | None:  # noqa: ANN401
    names = list(tables)
    before = tables[names[names.index(name) - 1]] if names.index(name) else None
    return before if isinstance(before, Table) else None


def _with_before(body: _Body, key: str, what: _Body) -> _Body:
    """`what`, if it says anything, in front of a key of the document; it is gone if that was all."""
    index = next((i for i, (other, _) in enumerate(body) if other is not None and other.key == key), len(body))
    said = what if any(isinstance(item, Comment) for _, item in what) else []
    return [*body[:index], *said, *body[index:]]
