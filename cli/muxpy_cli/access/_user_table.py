"""One user's table of the token file."""

from __future__ import annotations

import difflib
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..specs import SpecError, parse_rate
from ._model import Grants, Limits, User
from ._rules import RuleError, parse_bind_rule, parse_target_rule
from ._tokens import is_hash, is_token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["MAX_NAME", "UserTableError", "name_problem", "user_from_table"]

_Rule = TypeVar("_Rule")

MAX_NAME: Final = 253
"""The longest DNS name, which a client certificate may have."""

_COUNTS: Final = {"max-sessions": ("sessions", 1), "max-streams": ("streams", 1), "max-forwards": ("forwards", 0)}
"""Key: the field of Limits, and the least that makes sense."""
_RATES: Final = {"rate": "rate", "session-rate": "session_rate"}
_KEYS: Final = ("token", "allow", "allow-bind", *_COUNTS, *_RATES)


class UserTableError(Exception):
    """What is wrong, and the key in the user's table; None if it is the table itself."""

    def __init__(self, key: str | None, message: str) -> None:
        super().__init__(message)
        self.key = key
        self.message = message


def name_problem(name: str) -> str | None:
    """What is wrong with it as the name of a user, which goes into logs and metrics; None if nothing is.

    Spaces and signs inside are fine: the common name of a certificate is a user's name, too, and often has them.
    """
    if not name or len(name) > MAX_NAME or name != name.strip() or not name.isprintable():
        return f"a user's name is 1 to {MAX_NAME} printable characters, without spaces around it"
    return None


def user_from_table(
    name: str, table: Mapping[str, Any], grants: Grants | None = None, limits: Limits | None = None
) -> User:
    """The user; raises UserTableError.

    `grants` and `limits` are those of the listening end. They fill in what a user's table leaves out who has some of
    them; one without any keeps None, and follows the listening end's.
    """
    if problem := name_problem(name):
        raise UserTableError(None, problem)
    for key in table:
        if key not in _KEYS:
            raise UserTableError(key, f"there is no such key{_instead(key)}")
    return User(
        name=name,
        token=_token(name, table["token"]) if "token" in table else None,
        grants=_grants(table, grants or Grants()),
        limits=_limits(table, limits or Limits()),
    )


def _instead(key: str) -> str:
    similar = difflib.get_close_matches(key.replace("_", "-"), _KEYS, 1)
    return f"; {similar[0]}?" if similar else f"; there are {', '.join(_KEYS)}"


def _token(name: str, value: object) -> str:
    if isinstance(value, str) and is_hash(value):
        return value
    # The value is not quoted in any of these: it may be a secret in the wrong place.
    if isinstance(value, str) and is_token(value):
        what = "this is a token itself, which nobody must read here: now make a new one"
    else:
        what = 'it must be "sha256:" and 64 hex digits in lower case, the hash of a token: make one'
    raise UserTableError("token", f"{what} with `muxpy token new {shlex.quote(name)} --replace`")


def _grants(table: Mapping[str, Any], base: Grants) -> Grants | None:
    if "allow" in table:
        base = replace(base, targets=_rules(table, "allow", parse_target_rule))
    if "allow-bind" in table:
        base = replace(base, binds=_rules(table, "allow-bind", parse_bind_rule))
    return base if "allow" in table or "allow-bind" in table else None


def _rules(table: Mapping[str, Any], key: str, parse: Callable[[str], _Rule]) -> tuple[_Rule, ...]:
    value = table[key]
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise UserTableError(key, 'it takes a list of rules; for example ["localhost:8000-8099"]')
    return tuple(_rule(key, text, parse) for text in value)


def _rule(key: str, text: str, parse: Callable[[str], _Rule]) -> _Rule:
    try:
        return parse(text)
    except RuleError as error:
        raise UserTableError(key, f'"{text}": {error}') from None


def _limits(table: Mapping[str, Any], base: Limits) -> Limits | None:
    said: dict[str, int] = {}
    for key, (field, least) in _COUNTS.items():
        if key in table:
            said[field] = _count(key, table[key], least)
    for key, field in _RATES.items():
        if key in table:
            said[field] = _rate(key, table[key])
    return replace(base, **said) if said else None


def _count(key: str, value: object, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UserTableError(key, f"it takes a whole number of at least {least}")
    return value


def _rate(key: str, value: object) -> int:
    # A bare number is bytes a second, as on the command line.
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        raise UserTableError(key, 'it takes bytes a second; for example "10MiB"')
    try:
        return parse_rate(text)
    except SpecError as error:
        raise UserTableError(key, str(error)) from None
