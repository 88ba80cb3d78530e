"""The tables of a configuration and of a token file: these are the formats, and the one place that lists their keys."""

from __future__ import annotations

from typing import Final

from ..access import (
    makes_authority,
    makes_certificate,
    makes_token,
    makes_users,
    parse_bind_rule,
    parse_target_rule,
    user_name_problem,
)
from ..specs import (
    MAX_COUNT,
    MAX_SESSIONS,
    parse_address,
    parse_duration,
    parse_fingerprint,
    parse_listen,
    parse_name,
    parse_rate,
)
from ._forwards import ForwardNode, forward_name_problem
from ._schema import Array, Named, Node, Table
from ._values import TokenHash, boolean, choice, duration, existing_file, number, rate, some_path, text

__all__ = ["ROOT", "TOKEN_FILE"]

_TARGETS: Final = Array(text(parse_target_rule, "db.internal:5432"))
_BINDS: Final = Array(text(parse_bind_rule, "127.0.0.1:8000-8099"))

_LIMITS: Final[dict[str, Node]] = {
    "max-sessions": number(1, MAX_COUNT, 4),
    "max-streams": number(1, MAX_COUNT, 100),
    "max-forwards": number(0, MAX_COUNT, 4),
    "rate": rate(parse_rate, "10MiB"),
    "session-rate": rate(parse_rate, "5MiB"),
}

_OUTPUT: Final = Table(
    {
        "log-format": choice("auto", "text", "json"),
        "verbosity": number(-1, 2, 1),
        "metrics": text(parse_listen, "127.0.0.1:9100"),
        "control": some_path("/run/muxpy/control.sock"),
        "trace": some_path("/var/log/muxpy/trace.jsonl"),
    },
)

_LISTEN: Final = Table(
    {
        "address": text(parse_listen, "0.0.0.0:4242"),
        "insecure": boolean(),
        "tokens": existing_file("users.toml", makes_users),
        "allow": _TARGETS,
        "allow-bind": _BINDS,
        "idle-timeout": duration(parse_duration, "1h", above_zero=True),
        "session-idle-timeout": duration(parse_duration, "1d", above_zero=True),
        "drain": duration(parse_duration, "5s"),
        "tls": Table(
            {
                "cert": existing_file("cert.pem", makes_certificate),
                "key": existing_file("key.pem", makes_certificate),
                "client-ca": existing_file("clients.pem", makes_authority),
            },
            required=("cert",),
        ),
        "limits": Table(_LIMITS),
        "output": _OUTPUT,
    },
    required=("address",),
)

_USERS: Final = Named(
    Table({"token": TokenHash(), "allow": _TARGETS, "allow-bind": _BINDS, **_LIMITS}),
    user_name_problem,
    "[users.alice]",
)

_CONNECT: Final = Table(
    {
        "server": text(parse_address, "example.org:4242"),
        "insecure": boolean(),
        "token-file": existing_file("token", makes_token),
        "sessions": number(1, MAX_SESSIONS, 2),
        "max-retries": number(0, MAX_COUNT, 10),
        "connect-wait": duration(parse_duration, "5s"),
        "drain": duration(parse_duration, "5s"),
        "tls": Table(
            {
                "ca": existing_file("ca.pem", makes_authority),
                "name": text(parse_name, "example.org"),
                "fingerprint": text(parse_fingerprint, "sha256:..."),
                "cert": existing_file("client.pem", makes_certificate),
                "key": existing_file("client-key.pem", makes_certificate),
            },
        ),
        "output": _OUTPUT,
    },
    required=("server",),
)

ROOT: Final = Table(
    {
        "listen": _LISTEN,
        "users": _USERS,
        "connect": _CONNECT,
        "forwards": Named(ForwardNode(), forward_name_problem, "[forwards.web]"),
    }
)

TOKEN_FILE: Final = Table({"users": _USERS})
