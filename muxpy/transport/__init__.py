"""What a session runs over: any Trio stream; and sockets, with and without TLS, on a shorter path."""

from ._base import LOGIN_BYTES, TRANSPORT_ERRORS, Address, Interrupted, StreamTransport, Transport, peer_name
from ._socket import SocketTransport, bound_local_queue
from ._tls import TlsTransport
from ._turns import Turns, ending_turns

__all__ = [
    "LOGIN_BYTES",
    "TRANSPORT_ERRORS",
    "Address",
    "Interrupted",
    "SocketTransport",
    "StreamTransport",
    "TlsTransport",
    "Transport",
    "Turns",
    "bound_local_queue",
    "ending_turns",
    "peer_name",
]
