"""Who may connect."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

from .._errors import Failure, describe
from ._lines import find_line
from ._makers import if_missing, makes_users
from ._tokens import token_hash
from ._user_table import UserTableError, user_from_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from ._model import Grants, Limits, User

__all__ = ["Users", "parse_users", "read_text"]


class Users:
    """The users of a listening end. Raises ValueError if two have the same name, or the same token."""

    def __init__(self, users: Iterable[User] = ()) -> None:
        self._users: dict[str, User] = {}
        self._by_hash: dict[str, User] = {}
        for user in users:
            if user.name in self._users:
                raise ValueError(f"there are two users {user.name}")
            if user.token is not None and (other := self._by_hash.setdefault(user.token, user)) is not user:
                raise ValueError(f"{other.name} and {user.name} have the same token")
            self._users[user.name] = user

    @classmethod
    def load(
        cls, path: Path, more: Iterable[User] = (), grants: Grants | None = None, limits: Limits | None = None
    ) -> Users:
        """Those of a token file, and `more`; raises Failure with the file, and the line if it is known.

        `grants` and `limits` are those of the listening end, for users whose table says only some of them.
        """
        users = parse_users(read_text(path), str(path), grants, limits)
        try:
            return cls([*users, *more])
        except ValueError as error:
            raise Failure(f"{path}: {error}", 2) from None

    def __bool__(self) -> bool:
        return bool(self._users)

    def __len__(self) -> int:
        return len(self._users)

    def __iter__(self) -> Iterator[User]:
        return iter(self._users.values())

    def by_token(self, token: str) -> User | None:
        """Whose token it is; None if nobody's.

        How long a look-up takes may depend on the hash. That tells nobody anything: a token has 256 random bits, and
        whoever changes one of them gets another hash, with nothing in common. Comparing all users in constant time
        instead would cost each login, and each wrong token, milliseconds with ten thousand users.
        """
        return self._by_hash.get(token_hash(token))

    def by_name(self, name: str) -> User | None:
        """The user of that name, however it proves itself."""
        return self._users.get(name)

    def by_certificate(self, names: Sequence[str]) -> User | None:
        """The first of `names` that is a user without a token: one with a token must show it, certificate or not."""
        found = (self._users.get(name) for name in names)
        return next((user for user in found if user is not None and user.token is None), None)


def parse_users(text: str, source: str, grants: Grants | None = None, limits: Limits | None = None) -> list[User]:
    """The users of a token file's text; raises Failure that starts with `source`."""
    users: list[User] = []
    holders: dict[str, str] = {}
    for name, table in _tables(text, source).items():
        try:
            user = user_from_table(name, table, grants, limits)
        except UserTableError as error:
            keys = ["users", name, *([error.key] if error.key is not None else [])]
            raise _failure(text, source, keys, error.message) from None
        other = holders.setdefault(user.token, name) if user.token else name
        if other != name:
            raise _failure(text, source, ["users", name, "token"], f"{other} has the same token: make each their own")
        users.append(user)
    return users


def read_text(path: Path) -> str:
    """A token file's text; raises Failure."""
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors begin a file with a byte order mark
    except OSError as error:
        hint = if_missing(error, path, makes_users)
        raise Failure(f"cannot read {path}: {describe(error)}{hint}", 2) from error
    except UnicodeDecodeError:
        raise Failure(f"cannot read {path}: it is not UTF-8 text", 2) from None


def _tables(text: str, source: str) -> dict[str, dict[str, Any]]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Failure(_syntax(error, source), 2) from None
    for key in document:
        if key != "users":
            raise _failure(text, source, [key], "there is no such key; users stand in tables like [users.alice]")
    users = document.get("users", {})
    if not isinstance(users, dict):
        raise _failure(text, source, ["users"], "users stand in tables like [users.alice]")
    for name, table in users.items():
        if not isinstance(table, dict):
            raise _failure(text, source, ["users", name], f"a user is a table, like [users.{name}]")
    return users


def _failure(text: str, source: str, keys: Sequence[str], message: str) -> Failure:
    line = find_line(text, keys)
    where = f"{source}:{line}" if line else source
    shown = ".".join(key if key.isprintable() else ascii(key) for key in keys)
    return Failure(f"{where}: {shown}: {message}", 2)


def _syntax(error: tomllib.TOMLDecodeError, source: str) -> str:
    """tomllib ends its messages with the position: `(at line 3, column 5)`."""
    match = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", str(error), re.DOTALL)
    if match is None:
        return f"{source}: no valid TOML: {error}"
    where = f"{source}:{match[2]}" if match[2] else f"{source}: at its end"
    return f"{where}: no valid TOML: {match[1][:1].lower()}{match[1][1:]}"
