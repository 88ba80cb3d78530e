"""What people write on the command line and in configurations, as values."""

from ._addresses import check_host, ipv6, parse_address, parse_listen, parse_name, parse_stdio
from ._fields import MAX_PATH, SpecError
from ._forwards import parse_bind, parse_dynamic, parse_http_proxy, parse_local, parse_remote, parse_target
from ._model import (
    ALL_INTERFACES,
    Address,
    Direction,
    Endpoint,
    Forward,
    Kind,
    UnixPath,
    family_of,
    format_address,
    host_of,
    socket_address,
)
from ._text import MAX_TEXT, excerpt, name_problem, printable
from ._values import MAX_COUNT, MAX_SESSIONS, parse_duration, parse_fingerprint, parse_rate, parse_size

__all__ = [
    "ALL_INTERFACES",
    "MAX_COUNT",
    "MAX_PATH",
    "MAX_SESSIONS",
    "MAX_TEXT",
    "Address",
    "Direction",
    "Endpoint",
    "Forward",
    "Kind",
    "SpecError",
    "UnixPath",
    "check_host",
    "excerpt",
    "family_of",
    "format_address",
    "host_of",
    "ipv6",
    "name_problem",
    "parse_address",
    "parse_bind",
    "parse_duration",
    "parse_dynamic",
    "parse_fingerprint",
    "parse_http_proxy",
    "parse_listen",
    "parse_local",
    "parse_name",
    "parse_rate",
    "parse_remote",
    "parse_size",
    "parse_stdio",
    "parse_target",
    "printable",
    "socket_address",
]
