"""What is particular to the tables of users; `access` decides it, as for token files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..access import UserTableError, user_from_table
from ._schema import Value

if TYPE_CHECKING:
    from ._document import Document

__all__ = ["token", "user_name_problem"]


def token() -> Value:
    """The hash of a token. Messages do not repeat it, since it may be a secret in the wrong place."""
    return Value((str,), '"sha256:..."', _token, secret=True)


def user_name_problem(name: str) -> str | None:
    """What is wrong with it as the name of a user; None if nothing is."""
    return _problem(name, {})


def _token(raw: str, _: Document) -> str:
    if problem := _problem("NAME", {"token": raw}):
        raise ValueError(problem)
    return raw


def _problem(name: str, table: dict[str, Any]) -> str | None:
    try:
        user_from_table(name, table)
    except UserTableError as error:
        return error.message
    return None
