"""The tables of users, in a configuration and in a token file: both are read, and judged, by what stands here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from ..access import Limits, Rules, User, Users, makes_users
from ._document import ConfigError, Document
from ._format import TOKEN_FILE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._options import ListenOptions
    from ._schema import Section

__all__ = ["limits_of", "load_users", "read_token_file", "read_users", "rules_of"]

_NO_WAY_IN: Final = (
    "this user has no token, and certificates are not asked for; add token, or have the listening end ask for"
    " certificates (client-ca in [listen.tls], or --client-ca)"
)


def load_users(options: ListenOptions) -> Users:
    """The users of a listening end: those of its token file, and those that its configuration names. Raises Failure."""
    if options.tokens is None:
        return Users(options.users)
    document = Document.read(options.tokens, makes_users)
    by_certificate = options.tls is not None and options.tls.client_ca is not None
    users = read_token_file(document, options.rules, options.limits, options.users, by_certificate=by_certificate)
    if document.problems:
        raise ConfigError(document.problems)
    return Users([*users, *options.users])


def read_token_file(
    document: Document,
    rules: Rules | None = None,
    limits: Limits | None = None,
    beside: Iterable[User] = (),
    *,
    by_certificate: bool = True,
) -> list[User]:
    """The users of a token file; `beside` are those of the configuration that names it. See `read_users`."""
    root: Section = TOKEN_FILE.read(document, (), document.data)
    return read_users(document, root, rules, limits, beside, by_certificate=by_certificate)


def read_users(
    document: Document,
    root: Section,
    rules: Rules | None = None,
    limits: Limits | None = None,
    beside: Iterable[User] = (),
    *,
    by_certificate: bool,
) -> list[User]:
    """The users of a file, as far as they are right. What is wrong is noted in the document.

    `rules` and `limits` are those of the listening end. Where a user's table has only some of them, they fill in the
    others, key by key; a user with none keeps None, and follows the listening end's. `by_certificate` says that the
    listening end asks for certificates, or that nobody knows: only then is a user without a token any use.
    """
    sections: dict[str, Section] = root.get("users", {})
    users = [_user(section, rules or Rules(), limits or Limits()) for section in sections.values()]
    _check_differ(document, users, beside)
    for section in sections.values():
        if not by_certificate and "token" not in section.given:
            document.wrong(section.where, _NO_WAY_IN)
    return users


def rules_of(section: Section) -> dict[str, Any]:
    """The rules that a table has, as keyword arguments."""
    return section.pick(targets="allow", binds="allow-bind")


def limits_of(section: Section) -> dict[str, Any]:
    """The limits that a table has, as keyword arguments."""
    return section.pick(
        sessions="max-sessions",
        streams="max-streams",
        forwards="max-forwards",
        rate="rate",
        session_rate="session-rate",
    )


def _user(section: Section, rules: Rules, limits: Limits) -> User:
    own_rules, own_limits = rules_of(section), limits_of(section)
    return User(
        name=str(section.where[-1]),
        token=section.get("token"),
        rules=replace(rules, **own_rules) if own_rules else None,
        limits=replace(limits, **own_limits) if own_limits else None,
    )


def _check_differ(document: Document, users: Iterable[User], beside: Iterable[User]) -> None:
    """Each user has a name and a token of its own."""
    names = {user.name for user in beside}
    holders = {user.token: user.name for user in beside}
    for user in users:
        if user.name in names:
            document.wrong(("users", user.name), "the configuration has a user of that name, too: take another one")
        elif user.token is not None and (other := holders.setdefault(user.token, user.name)) != user.name:
            document.wrong(("users", user.name, "token"), f"{other} has the same token: make each their own")
