"""Who may connect, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ..specs import name_problem
from ._rules import BindRule, TargetRule, default_bind_rules, default_target_rules
from ._tokens import token_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Limits", "Rules", "User", "Users", "user_name_problem"]

MAX_NAME: Final = 253
"""Characters of a user's name: the longest DNS name, which a client certificate may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What may be reached through the listening end, and bound on it. What no rule allows is refused."""

    targets: tuple[TargetRule, ...] = field(default_factory=default_target_rules)
    """For -L, -D and the HTTP proxy; checked at each connection, after resolution."""
    binds: tuple[BindRule, ...] = field(default_factory=default_bind_rules)
    """For -R."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The quotas of one user at the listening end. None: no limit."""

    sessions: int | None = 64
    """Sessions at the same time."""
    streams: int | None = 4096
    """Connections through them at the same time."""
    forwards: int | None = 64
    """Ports bound at the same time (-R)."""
    rate: int | None = None
    """Bytes a second, all of the user's sessions together, both directions together."""
    session_rate: int | None = None
    """Bytes a second of one session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who may connect."""

    name: str
    token: str | None = None
    """`sha256:` and the hex digest of the token. None: known by the name in a client certificate."""
    rules: Rules | None = None
    """None: what the listening end says for all."""
    limits: Limits | None = None


def user_name_problem(name: str) -> str | None:
    """What is wrong with it as the name of a user; None if nothing is."""
    return name_problem("a user's", name, MAX_NAME)


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

    def __bool__(self) -> bool:
        return bool(self._users)

    def __len__(self) -> int:
        return len(self._users)

    def __iter__(self) -> Iterator[User]:
        return iter(self._users.values())

    def by_token(self, token: str) -> User | None:
        """Whose token it is; None if nobody's.

        How long a look-up takes may depend on the hash. That tells nobody anything: a token has 256 random bits, and
        a token with one bit changed has another hash, with nothing in common. Comparing all users in constant time
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
