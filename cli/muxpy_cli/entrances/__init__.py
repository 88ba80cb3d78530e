"""Where connections come in that are more than a byte stream to a fixed target."""

from ._proxy import NotServed, greet, handshake_for
from ._udp import FLOWS, Flows, Places, Route

__all__ = ["FLOWS", "Flows", "NotServed", "Places", "Route", "greet", "handshake_for"]
