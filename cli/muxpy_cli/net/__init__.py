"""Names, addresses and sockets."""

from ._accept import Bound, bind_datagrams, bind_streams, peer_of
from ._connect import CONNECT_TIMEOUT, Policy, allow_all, connect_datagrams, connect_stream
from ._resolve import is_loopback, on_loopback, resolve
from ._udp import Sender, UdpSocket
from ._unix import inode, is_abandoned, private_files

__all__ = [
    "CONNECT_TIMEOUT",
    "Bound",
    "Policy",
    "Sender",
    "UdpSocket",
    "allow_all",
    "bind_datagrams",
    "bind_streams",
    "connect_datagrams",
    "connect_stream",
    "inode",
    "is_abandoned",
    "is_loopback",
    "on_loopback",
    "peer_of",
    "private_files",
    "resolve",
]
