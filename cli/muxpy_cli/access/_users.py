"""Who may connect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._tokens import token_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ._model import User

__all__ = ["Users"]


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
