"""Carrying connections between sockets and streams of a session."""

from ._carriage import Carriage
from ._datagrams import MAX_DATAGRAM, Exchange, relay_datagrams
from ._rate import Rate
from ._relay import abort, relay
from ._streams import GRACE, RESET_RATE, Account, serve_streams, session_streams, used_up
from ._tunnel import Answer, Unanswered, ask_peer, carry, reach, receive_answer, receive_opening, refuse

__all__ = [
    "GRACE",
    "MAX_DATAGRAM",
    "RESET_RATE",
    "Account",
    "Answer",
    "Carriage",
    "Exchange",
    "Rate",
    "Unanswered",
    "abort",
    "ask_peer",
    "carry",
    "reach",
    "receive_answer",
    "receive_opening",
    "refuse",
    "relay",
    "relay_datagrams",
    "serve_streams",
    "session_streams",
    "used_up",
]
