"""Names, addresses and sockets."""

from ._accept import Bound, peer_of
from ._attempts import connect_first
from ._bind import bind_datagrams, bind_streams
from ._connect import CONNECT_TIMEOUT, connect_datagrams, connect_socket
from ._policy import Policy, all_but_ourselves, allow_all, guard
from ._resolve import Lookups, lookups_of, resolve
from ._sockets import (
    Socket,
    close_in_order,
    close_with_reset,
    end_in_order,
    inode,
    is_abandoned,
    prepare_forwarded,
    private_files,
    reset_on_close,
    unanswered_for,
)
from ._udp import Sender, UdpSocket

__all__ = [
    "CONNECT_TIMEOUT",
    "Bound",
    "Lookups",
    "Policy",
    "Sender",
    "Socket",
    "UdpSocket",
    "all_but_ourselves",
    "allow_all",
    "bind_datagrams",
    "bind_streams",
    "close_in_order",
    "close_with_reset",
    "connect_datagrams",
    "connect_first",
    "connect_socket",
    "end_in_order",
    "guard",
    "inode",
    "is_abandoned",
    "lookups_of",
    "peer_of",
    "prepare_forwarded",
    "private_files",
    "reset_on_close",
    "resolve",
    "unanswered_for",
]
