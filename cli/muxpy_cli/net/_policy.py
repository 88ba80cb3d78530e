"""Who may reach which targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._resolve import Lookups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..specs import Address, UnixPath

__all__ = ["Policy", "all_but_ourselves", "allow_all"]


class Policy:
    """What one party may reach. This one: all."""

    def __init__(self, lookups: Lookups, *, ourselves: bool = True) -> None:
        self.lookups = lookups
        """In which its names are looked up."""
        self.ourselves = ourselves
        """Whether it may reach what this process listens on for itself: see `guarding`."""

    def name(self, target: Address) -> None:
        """Raises Forbidden if the target may not be reached, wherever its name leads: nobody looks it up then."""

    def addresses(self, target: Address, addresses: Sequence[str]) -> Sequence[str]:
        """Those of the target's numeric addresses that may be reached; raises Forbidden if none."""
        return addresses

    def path(self, target: UnixPath) -> None:
        """Raises Forbidden if it may not be reached."""


# All targets that the other end has reached from here count as one party, so that they do not keep this program's own
# lookups waiting.
_lookups: Final = Lookups()

allow_all: Final = Policy(_lookups)
"""For targets that this end has chosen."""
all_but_ourselves: Final = Policy(_lookups, ourselves=False)
"""For targets that somebody at the other end has chosen."""
