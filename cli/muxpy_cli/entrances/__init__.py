"""Entrances for more than a byte stream to a fixed target: proxies, and UDP."""

from ._proxy import NotServed, greet, handshake_for
from ._udp import FLOWS, Flows, Places, Route

__all__ = ["FLOWS", "Flows", "NotServed", "Places", "Route", "greet", "handshake_for"]
