"""The rules of one user, as what connects and binds asks them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..access import (
    Forbidden,
    check_bind,
    check_bind_name,
    check_bind_path,
    check_target,
    check_target_name,
    check_target_path,
)
from ..net import Policy, lookups_of
from ..specs import Address, UnixPath

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..access import Grants
    from ..specs import Endpoint

__all__ = ["UserPolicy"]


class UserPolicy(Policy):
    """Asks the rules that hold now: a reload changes them for connections that come afterwards."""

    def __init__(self, name: str, grants: Grants) -> None:
        super().__init__(lookups_of(name), ourselves=False)
        self._name = name
        self.grants = grants

    def name(self, target: Address) -> None:
        try:
            check_target_name(self.grants.targets, target.host, target.port)
        except Forbidden as error:
            raise self._for_user(error) from None

    def addresses(self, target: Address, addresses: Sequence[str]) -> Sequence[str]:
        try:
            return check_target(self.grants.targets, target.host, addresses, target.port)
        except Forbidden as error:
            raise self._for_user(error) from None

    def path(self, target: UnixPath) -> None:
        try:
            check_target_path(self.grants.targets, target.path)
        except Forbidden as error:
            raise self._for_user(error) from None

    def bind_name(self, place: Address) -> None:
        """Raises Forbidden if a place may not be bound, wherever its name leads."""
        try:
            check_bind_name(self.grants.binds, place.host, place.port)
        except Forbidden as error:
            raise self._for_user(error) from None

    def bind(self, place: Endpoint, asked: Endpoint | None = None) -> None:
        """Raises Forbidden if it may not be bound; that tells what was `asked` for, if that was a name."""
        try:
            if isinstance(place, UnixPath):
                check_bind_path(self.grants.binds, place.path)
            else:
                name = asked.host if isinstance(asked, Address) else None
                check_bind(self.grants.binds, place.host, place.port, name)
        except Forbidden as error:
            raise self._for_user(error) from None

    def _for_user(self, error: Forbidden) -> Forbidden:
        return Forbidden(f"{error.reason} of {self._name}" if self._name else error.reason)
