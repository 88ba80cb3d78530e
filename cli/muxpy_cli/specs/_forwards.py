"""Forwards as OpenSSH has them, with Unix sockets, UDP and proxies.

    -L  [bind:]port:host:hostport[/udp|/tcp]   [bind:]port:/path.sock   /path.sock:host:port   /a.sock:/b.sock
    -R  the same; without a target, [bind:]port or /path.sock is a SOCKS proxy at the other end
    -D, --http-proxy  [bind:]port or /path.sock

A field with a slash in it is a path. The ending /udp or /tcp always is the protocol, never a part of a path.
"""

from __future__ import annotations

from typing import Final

from ._addresses import listen_address, target_address
from ._fields import SpecError, check_endings, is_path, split, unix_path, wrong_count
from ._model import Direction, Endpoint, Forward, Kind, UnixPath

__all__ = [
    "parse_bind",
    "parse_dynamic",
    "parse_http_proxy",
    "parse_local",
    "parse_remote",
    "parse_target",
]

LOCAL_FORM: Final = "[bind:]port:host:hostport"
BIND_FORM: Final = "[bind:]port"
TARGET_FORM: Final = "host:port"

FORWARD_EXAMPLE: Final = "for example 8080:localhost:80, [::1]:8080:127.0.0.1:80 or 8080:/run/app.sock"
REMOTE_EXAMPLE: Final = "for example 8080:localhost:80, 8080:/run/app.sock, or 1080 alone for a SOCKS proxy"
UDP_EXAMPLE: Final = "for example 5353:1.1.1.1:53/udp"
BIND_EXAMPLE: Final = "for example 1080, 0.0.0.0:1080, [::1]:1080 or ./proxy.sock"
TARGET_EXAMPLE: Final = "for example localhost:80, [::1]:80 or /run/app.sock"


def parse_local(text: str) -> Forward:
    """`-L`: bound at this end, the target reached from the other. Port 0 binds any free one."""
    return _to_target(text, Direction.LOCAL, FORWARD_EXAMPLE)


def parse_remote(text: str) -> Forward:
    """`-R`: bound at the other end, the target reached from here; without a target, a SOCKS proxy there."""
    fields = _fields(text, REMOTE_EXAMPLE, _protocol(text))
    if _is_bind_alone(fields):
        return _proxy(text, Direction.REMOTE, Kind.SOCKS, REMOTE_EXAMPLE)
    return _to_target(text, Direction.REMOTE, REMOTE_EXAMPLE)


def parse_dynamic(text: str) -> Forward:
    """`-D`: a SOCKS proxy at this end."""
    return _proxy(text, Direction.LOCAL, Kind.SOCKS, BIND_EXAMPLE)


def parse_http_proxy(text: str) -> Forward:
    """`--http-proxy`: an HTTP proxy that knows CONNECT, at this end."""
    return _proxy(text, Direction.LOCAL, Kind.HTTP, BIND_EXAMPLE)


def parse_bind(text: str) -> Endpoint:
    """`[bind:]port` or a path, to bind; without a host, the loopback address."""
    return _bind_alone(text, BIND_EXAMPLE)


def parse_target(text: str) -> Endpoint:
    """`host:port` or a path, to connect to."""
    fields = _without_protocol(text, TARGET_EXAMPLE)
    if len(fields) == 1 and is_path(fields[0]):
        return unix_path(fields[0], TARGET_EXAMPLE)
    if len(fields) != 2:
        raise wrong_count(TARGET_FORM, fields, TARGET_EXAMPLE)
    return target_address(fields, TARGET_EXAMPLE)


def _to_target(text: str, direction: Direction, example: str) -> Forward:
    protocol = _protocol(text)
    fields = _fields(text, example, protocol)
    size = 1 if is_path(fields[-1]) else 2
    binding, target = fields[:-size], fields[-size:]
    if not _is_bind_alone(binding):
        raise wrong_count(LOCAL_FORM, fields, example)
    forward = Forward(
        direction=direction,
        kind=Kind.UDP if protocol == "udp" else Kind.TCP,
        bind=_bind(binding, example),
        target=unix_path(target[0], example) if size == 1 else target_address(target, example),
    )
    _check_protocol(forward, protocol)
    return forward


def _check_protocol(forward: Forward, protocol: str | None) -> None:
    for end in (forward.bind, forward.target):
        if protocol is not None and isinstance(end, UnixPath):
            raise SpecError(
                f"/{protocol} goes with a host and a port at both ends, and {end} is a Unix socket; {UDP_EXAMPLE}"
            )


def _proxy(text: str, direction: Direction, kind: Kind, example: str) -> Forward:
    return Forward(direction=direction, kind=kind, bind=_bind_alone(text, example), target=None)


def _bind_alone(text: str, example: str) -> Endpoint:
    fields = _without_protocol(text, example)
    if not _is_bind_alone(fields):
        raise wrong_count(BIND_FORM, fields, example)
    return _bind(fields, example)


def _is_bind_alone(fields: list[str]) -> bool:
    """Whether it is a path, a port, or a host and a port, but nothing behind it."""
    return len(fields) == 1 or (len(fields) == 2 and not any(map(is_path, fields)))


def _bind(fields: list[str], example: str) -> Endpoint:
    return unix_path(fields[0], example) if is_path(fields[0]) else listen_address(fields, example)


def _protocol(text: str) -> str | None:
    """The protocol after the last slash, if that is one."""
    ending = text[-4:].lower()
    return ending[1:] if ending in ("/udp", "/tcp") else None


def _fields(text: str, example: str, protocol: str | None) -> list[str]:
    """The fields without the protocol's ending."""
    fields = split(text if protocol is None else text[:-4], example)
    check_endings(fields, example)
    return fields


def _without_protocol(text: str, example: str) -> list[str]:
    """The fields of what has no protocol to choose."""
    if protocol := _protocol(text):
        raise SpecError(f"/{protocol} goes with a forward to a host and a port ({UDP_EXAMPLE}), not here; {example}")
    return _fields(text, example, None)
