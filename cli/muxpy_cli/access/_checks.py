"""Asking rules: every refusal says what was asked for and which rules there are, and whose, if a user is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..specs import Address, excerpt
from ._addresses import known_addresses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._rules import BindRule, TargetRule

__all__ = ["Forbidden", "check_bind", "check_bind_path", "check_target", "check_target_path"]

SHOWN_RULES: Final = 8
"""In a refusal, which is one line. The file has the others."""


class Forbidden(Exception):
    """No rule allows it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        """What was asked for, and the rules that were asked."""


def check_target_name(rules: Sequence[TargetRule], host: str, port: int, user: str = "") -> None:
    """Whether `host`, a name that was not looked up yet, may be reached if it leads to the right address; raises
    Forbidden if not. To look up a name for a client that may not reach it would be work for nothing, and could tell
    where it leads."""
    if not any(rule.may_allow(host, port) for rule in rules):
        raise Forbidden(f"{_shown(host, port)} is not in {_listed('allow', rules, user)}")


def check_target(
    rules: Sequence[TargetRule], host: str, addresses: Sequence[str], port: int, user: str = ""
) -> list[str]:
    """Those of the numeric `addresses` of `host` that may be reached, in their order; raises Forbidden if none.

    A name must not be resolved again after this: connect to one of the addresses. The refusal does not tell them.
    """
    allowed = [address for address in addresses if any(rule.allows(host, address, port) for rule in rules)]
    if allowed:
        return allowed
    if any(rule.names(host, port) for rule in rules):
        reason = (
            "leads to a loopback, link-local or other special address, or one of the machine's own, "
            "which a rule must name as an address"
        )
        raise Forbidden(f"{_shown(host, port)} {reason}; {_listed('allow', rules, user)}")
    raise Forbidden(f"{_shown(host, port)} is not in {_listed('allow', rules, user)}")


def check_target_path(rules: Sequence[TargetRule], path: str, user: str = "") -> None:
    """Whether the Unix socket at `path` may be reached; raises Forbidden if not."""
    if not any(rule.allows_path(path) for rule in rules):
        raise Forbidden(f"unix:{excerpt(path)} is not in {_listed('allow', rules, user)}")


def check_bind_name(rules: Sequence[BindRule], host: str, port: int, user: str = "") -> None:
    """Whether `host`, a name that was not looked up yet, may be bound if it leads to the right address; raises
    Forbidden if not."""
    if not any(rule.may_allow(host, port) for rule in rules):
        raise Forbidden(f"{_shown(host, port)} is not in {_listed('allow-bind', rules, user)}")


def check_bind(rules: Sequence[BindRule], address: str, port: int, asked: str | None = None, user: str = "") -> None:
    """Whether `address` (numeric, `*` or `localhost`) may be bound; raises Forbidden if not. The refusal tells what was
    `asked` for instead, if that is a name.

    localhost is both loopback addresses, so both must be allowed.
    """
    wanted = known_addresses(address) or (address,)
    if not all(any(rule.allows(one, port) for rule in rules) for one in wanted):
        raise Forbidden(f"{_shown(asked or address, port)} is not in {_listed('allow-bind', rules, user)}")


def check_bind_path(rules: Sequence[BindRule], path: str, user: str = "") -> None:
    """Whether a Unix socket may be made at `path`; raises Forbidden if not."""
    if not any(rule.allows_path(path) for rule in rules):
        raise Forbidden(f"unix:{excerpt(path)} is not in {_listed('allow-bind', rules, user)}")


def _shown(host: str, port: int) -> str:
    return str(Address(excerpt(host), port))


def _listed(name: str, rules: Sequence[TargetRule] | Sequence[BindRule], user: str) -> str:
    whose = f" of {user}" if user else ""
    if not rules:
        return f"{name}, which is empty{whose}"
    more = f" and {len(rules) - SHOWN_RULES} more" if len(rules) > SHOWN_RULES else ""
    return f"{name} = {', '.join(rule.text for rule in rules[:SHOWN_RULES])}{more}{whose}"
