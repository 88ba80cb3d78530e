"""Off loopback, TLS is required, and at a listening end also a way to know who connects.

TLS alone hides the traffic; anyone who reaches the port could still use it. `--insecure` lifts both demands: on a
network that is encrypted otherwise neither may be needed, and two switches would be given together anyway.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from .._errors import Failure
from ._addresses import is_loopback

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Protection", "missing_protection", "require_connect_protection", "require_listen_protection"]


class Protection(Enum):
    """What is required off loopback."""

    TLS = auto()
    USERS = auto()
    """Tokens, or certificates of a client CA."""


def missing_protection(
    addresses: Sequence[str] | None, *, tls: bool, users: bool = True, insecure: bool
) -> list[Protection]:
    """What is required at numeric addresses, and is not there. None: a name that was not looked up, or all interfaces,
    which other machines may reach."""
    if insecure or (addresses is not None and all(map(is_loopback, addresses))):
        return []
    there = {Protection.TLS: tls, Protection.USERS: users}
    return [one for one in Protection if not there[one]]


def require_listen_protection(
    place: object, addresses: Sequence[str] | None, *, tls: bool, users: bool, insecure: bool
) -> None:
    """Raises Failure if that must not be listened on like this; `place` is what its addresses are called."""
    missing = missing_protection(addresses, tls=tls, users=users, insecure=insecure)
    if Protection.TLS in missing:
        raise Failure(
            f"other machines can reach {place}: give --tls-cert and --tls-key (muxpy keygen makes them), or"
            " --insecure to let everybody on the way read along",
            2,
        )
    if Protection.USERS in missing:
        raise Failure(
            f"anybody who can reach {place} could use what it forwards: give --tokens (muxpy token new makes"
            " them) or --client-ca, or --insecure to let them",
            2,
        )


def require_connect_protection(place: object, addresses: Sequence[str], *, tls: bool, insecure: bool) -> None:
    """Raises Failure if that must not be connected to like this."""
    if missing_protection(addresses, tls=tls, insecure=insecure):
        raise Failure(
            f"{place} is another machine: give --tls or --fingerprint, or --insecure to let everybody on the"
            " way read along",
            2,
        )
