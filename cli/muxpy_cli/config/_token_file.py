"""Changing the token file, and leaving everything else in it as it was."""

from __future__ import annotations

import os
import shlex
import tomllib
from functools import partial
from typing import TYPE_CHECKING, Any

from .._errors import Failure, describe
from ..access import locked_folder, makes_users, new_token, replace_file, token_hash, user_name_problem
from ._document import ConfigError, Document
from ._users import read_token_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tomlkit import TOMLDocument

    from ..access import User

__all__ = ["add_user", "list_users", "remove_user"]


def add_user(
    path: Path, name: str, settings: Mapping[str, Any], show: Callable[[str], object], *, replace: bool = False
) -> None:
    """Write a user with a new token into the file. Raises Failure.

    `show` is given the token, which is kept nowhere else. A Failure that it raises leaves the file as it was: nobody
    could use a token that was not shown. `settings` are the keys of a user's table without the token. With `replace` a
    user who is there gets a new token and these settings, and keeps the other ones.
    """
    if problem := user_name_problem(name):
        raise Failure(problem, 2)
    token = new_token()
    table = {"token": token_hash(token), **settings}
    add = partial(_add, path=path, name=name, table=table, replace=replace)
    _edit(path, name, add, create=True, ready=partial(show, token))


def remove_user(path: Path, name: str) -> None:
    """Take a user out of the file; raises Failure."""
    _edit(path, name, partial(_remove, path=path, name=name), create=False)


def list_users(path: Path) -> list[tuple[User, dict[str, Any]]]:
    """The users of the file, each with what its table says, except the hash of the token. Raises Failure."""
    document = Document.read(path, makes_users)
    users = _users(document)
    tables = document.data.get("users", {})
    return [(user, {key: value for key, value in tables[user.name].items() if key != "token"}) for user in users]


def _users(document: Document) -> list[User]:
    """Those that it has; raises Failure if anything in it is wrong."""
    users = read_token_file(document)
    if document.problems:
        raise ConfigError(document.problems)
    return users


def _add(document: TOMLDocument, path: Path, name: str, table: Mapping[str, Any], replace: bool) -> None:
    import tomlkit

    from ._toml_edit import fill_table

    if "users" not in document:
        document["users"] = tomlkit.table(is_super_table=True)
    users: Any = document["users"]
    if name not in users:
        users[name] = tomlkit.table()
    elif not replace:
        raise Failure(f"{path} has a user {name} already: choose another name, or --replace for a new token", 2)
    fill_table(users[name], table)


def _remove(document: TOMLDocument, path: Path, name: str) -> None:
    from ._toml_edit import drop_table

    users: Any = document.get("users", {})
    if name not in users:
        known = f"; there are {', '.join(map(shlex.quote, users))}" if users else ""
        raise Failure(f"{path} has no user {name}{known}", 2)
    drop_table(document, "users", name)


def _edit(
    path: Path,
    name: str,
    change: Callable[[TOMLDocument], None],
    *,
    create: bool,
    ready: Callable[[], object] | None = None,
) -> None:
    try:
        with locked_folder(path.parent):
            new = create and not os.path.lexists(path)
            before = Document(path, "") if new else Document.read(path, makes_users)
            _users(before)  # a file with mistakes is not touched
            after = _changed(before.text, path, name, change)
            _users(Document(path, after))  # and none is made of it
            replace_file(path, after.encode(), 0o600, ready)
    except OSError as error:
        raise Failure(f"cannot change {path}: {describe(error)}") from error


def _changed(before: str, path: Path, name: str, change: Callable[[TOMLDocument], None]) -> str:
    """The text after the change. There are many ways to write TOML, and in the rarer ones tomlkit makes mistakes: they
    must not change somebody else's rights."""
    import tomlkit  # here, because few commands need it and it takes long to import

    trouble = Failure(f"cannot change {path}: its users must stand in tables of their own, like [users.alice]", 2)
    try:
        document = tomlkit.parse(_ended(before))
        change(document)
        after = _ended(tomlkit.dumps(document).lstrip("\n"))
    except ValueError as error:  # all of tomlkit's are
        raise trouble from error
    if _others(before, name) != _others(after, name):
        raise trouble
    return after


def _others(text: str, name: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {"": "not even TOML"}
    return document | {"users": {user: table for user, table in document.get("users", {}).items() if user != name}}


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"
