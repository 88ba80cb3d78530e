"""Where other machines can connect, TLS and a way to know who comes are required."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._errors import Failure, describe
from ..net import is_loopback, on_loopback

if TYPE_CHECKING:
    from .._options import ListenOptions
    from ..net import Bound

__all__ = ["check_address", "check_bound"]


async def check_address(options: ListenOptions) -> None:
    """Before anything is bound: raises Failure if the address must not be listened on like this."""
    try:
        if not await on_loopback(options.address):
            _require_protection(options, str(options.address))
    except OSError as error:
        raise Failure(f"cannot listen on {options.address}: {describe(error)}") from error


def check_bound(options: ListenOptions, bound: Bound) -> None:
    """What is really bound, which a service manager may have chosen, and new options, too: raises Failure likewise."""
    if not all(map(is_loopback, bound.hosts)):
        _require_protection(options, str(bound))


def _require_protection(options: ListenOptions, place: str) -> None:
    if options.insecure:
        return
    if options.tls is None:
        raise Failure(
            f"other machines can reach {place}: give --tls-cert and --tls-key (muxpy keygen makes them), or"
            " --insecure to let everybody on the way read along",
            2,
        )
    if options.tokens is None and not options.users and options.tls.client_ca is None:
        raise Failure(
            f"anybody who can reach {place} could use what it forwards: give --tokens (muxpy token new makes"
            " them) or --client-ca, or --insecure to let them",
            2,
        )
