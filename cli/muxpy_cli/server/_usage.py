"""What one user may do, and has at present."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import muxpy

from ..access import (
    check_bind,
    check_bind_name,
    check_bind_path,
    check_target,
    check_target_name,
    check_target_path,
)
from ..entrances import FLOWS
from ..net import Policy, lookups_of
from ..relay import RESET_RATE, Rate, session_streams
from ..specs import Address, UnixPath
from ..wire import Openings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._options import ListenOptions
    from ..access import Limits, Rules, User
    from ..specs import Endpoint

__all__ = ["Usage", "UserPolicy", "limit_reached", "what_holds_for"]

MANY: Final = 1_000_000
"""Connections of a user, where there is no limit: more than a machine has descriptors for."""


class _Allowed(NamedTuple):
    """What the rules have allowed of a target's addresses. Asking them is a twentieth of a new connection, and the next
    one mostly goes where this one went."""

    rules: Rules
    target: Address
    addresses: Sequence[str]
    allowed: Sequence[str]

    def answers(self, rules: Rules, target: Address, addresses: Sequence[str]) -> bool:
        """Whether it is the answer now, too. Not after a lookup, whose addresses are never the same object: whether
        one of them is this machine's own may change from one moment to the next."""
        same = self.target is target or self.target == target
        return self.addresses is addresses and self.rules is rules and same


class UserPolicy(Policy):
    """Asks the rules that hold now: a reload changes them for connections that come afterwards."""

    def __init__(self, name: str, rules: Rules) -> None:
        super().__init__(lookups_of(name), ourselves=False)
        self._name = name
        self.rules = rules
        self._last: _Allowed | None = None

    def name(self, target: Address) -> None:
        check_target_name(self.rules.targets, target.host, target.port, self._name)

    def addresses(self, target: Address, addresses: Sequence[str]) -> Sequence[str]:
        last = self._last
        if last is not None and last.answers(self.rules, target, addresses):
            return last.allowed
        allowed = check_target(self.rules.targets, target.host, addresses, target.port, self._name)
        self._last = _Allowed(self.rules, target, addresses, allowed)
        return allowed

    def path(self, target: UnixPath) -> None:
        check_target_path(self.rules.targets, target.path, self._name)

    def bind_name(self, place: Address) -> None:
        """Raises Forbidden if a place may not be bound, wherever its name leads."""
        check_bind_name(self.rules.binds, place.host, place.port, self._name)

    def bind(self, place: Endpoint, asked: Endpoint | None = None) -> None:
        """Raises Forbidden if it may not be bound; that tells what was `asked` for, if that was a name."""
        if isinstance(place, UnixPath):
            check_bind_path(self.rules.binds, place.path, self._name)
        else:
            name = asked.host if isinstance(asked, Address) else None
            check_bind(self.rules.binds, place.host, place.port, name, self._name)


class Usage:
    """What one user has open, over all sessions; everybody without a name counts as one user."""

    def __init__(self, name: str, rules: Rules, limits: Limits) -> None:
        self.name = name
        self.limits = limits
        self.sessions = 0
        self.streams = 0
        self.forwards = 0
        self.policy = UserPolicy(name, rules)
        self.openings = Openings()
        self.rate = Rate(limits.rate) if limits.rate is not None else None
        # However many sessions a user has, they are one party: they share turns of the loop, and the budget of resets.
        self.group = muxpy.SessionGroup(muxpy.SessionConfig(reset_rate=RESET_RATE))

    @property
    def rules(self) -> Rules:
        """The rules that hold now."""
        return self.policy.rules

    @property
    def rested(self) -> bool:
        """Whether it remembers nothing that a new one would not begin with."""
        return not self.streams and (self.rate is None or self.rate.full)

    def most_flows(self) -> int:
        """How many streams of a session may be UDP flows: the same part of what the user may have, if that is less."""
        most = self.limits.streams
        return FLOWS if most is None else min(FLOWS, most // 4)

    def session_streams(self) -> int:
        """How many streams one session takes: with one session, too, a user may have what the limits say."""
        return session_streams((self.limits.streams or MANY) + (self.limits.forwards or 0))

    def change(self, rules: Rules, limits: Limits) -> None:
        """New rules and limits, for connections that come from now on."""
        if limits.rate is None or self.rate is None:
            self.rate = Rate(limits.rate) if limits.rate is not None else None
        else:
            self.rate.change(limits.rate)
        self.policy.rules, self.limits = rules, limits


def what_holds_for(user: User | None, options: ListenOptions) -> tuple[Rules, Limits]:
    """What a user may do: what is said for this one, otherwise what is said for all."""
    if user is None:
        return options.rules, options.limits
    return user.rules or options.rules, user.limits or options.limits


def limit_reached(what: str, option: str, most: int) -> str:
    """In words that make sense at either end: whose limit it is, and what would help."""
    return f"{what} as {option} = {most} at the listening end allows; raise it there, or close some"
