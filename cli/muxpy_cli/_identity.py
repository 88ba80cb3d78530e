"""The identity of this program, and of this client."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

__all__ = ["DISTRIBUTION", "client_id", "process_id", "program_version"]

DISTRIBUTION: Final = "muxpy-trio"
"""What pip knows this program as: `muxpy` on PyPI is another project."""

process_id = secrets.token_hex(8)
"""A number for this run of the program, which nobody can guess."""


@cache
def program_version() -> str:
    """The installed version; "unknown" in a checkout that is not installed. Found once: each login tells it, and to
    find it is to parse a file."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"


def client_id(server: str) -> str:
    """The same for every run of this user on this machine towards `server`, and different for any other: a client that
    comes back takes over what it has bound there. It survives restarts and needs no file; and it is a hash, since the
    machine's own id is not for others to know."""
    machine = ""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with suppress(OSError):
            machine = machine or Path(path).read_text().strip()
    parts = "muxpy client", machine, socket.gethostname(), str(os.getuid()), server
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
