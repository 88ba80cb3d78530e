"""Which addresses are this machine's own."""

from __future__ import annotations

import socket
from typing import Final

from .._errors import is_exhausted
from ..specs import family_of, socket_address
from ._addresses import parse_ip

__all__ = ["is_own"]

_DISCARD: Final = 9
"""Any port will do (RFC 863)."""


def is_own(address: str) -> bool:
    """Whether an interface of this machine has the numeric address.

    The kernel is asked, so the answer is up to date: the way to an own address begins at that very address. Nothing
    is sent. Of the loopback addresses, that is so for 127.0.0.1 and ::1 only.
    """
    try:
        with socket.socket(family_of(address), socket.SOCK_DGRAM) as probe:
            probe.connect(socket_address(address, _DISCARD))
            return parse_ip(str(probe.getsockname()[0])) == parse_ip(address)
    except OSError as error:
        # Without a way there it is none of ours. Where it cannot be asked, the safe answer is that it is.
        return is_exhausted(error)
