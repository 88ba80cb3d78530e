"""Who may do what, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ..specs import name_problem
from ._rules import BindRule, TargetRule, default_bind_rules, default_target_rules

__all__ = ["Grants", "Limits", "User", "user_name_problem"]

MAX_NAME: Final = 253
"""Characters of a user's name: the longest DNS name, which a client certificate may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """What may be reached through the listening end, and bound on it. What no rule allows is refused."""

    targets: tuple[TargetRule, ...] = field(default_factory=default_target_rules)
    """For -L, -D and the HTTP proxy; checked at each connection, after resolution."""
    binds: tuple[BindRule, ...] = field(default_factory=default_bind_rules)
    """For -R."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one user may use at the listening end. None: no limit."""

    sessions: int | None = 64
    """Sessions at once."""
    streams: int | None = 4096
    """Connections through them at once."""
    forwards: int | None = 64
    """Ports bound at once (-R)."""
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
    grants: Grants | None = None
    """None: what the listening end says for all."""
    limits: Limits | None = None


def user_name_problem(name: str) -> str | None:
    """What is wrong with it as the name of a user; None if nothing is."""
    return name_problem("a user's", name, MAX_NAME)
