"""Files with secrets or with rights, and who else on this machine may read or change them."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from .._options import ConnectOptions, ListenOptions

__all__ = ["connect_warnings", "key_file_warning", "listen_warnings", "token_file_warning", "users_file_warning"]

_READ: Final = stat.S_IRGRP | stat.S_IROTH
_CHANGE: Final = stat.S_IWGRP | stat.S_IWOTH


def token_file_warning(path: Path) -> str | None:
    """What is wrong with who may use the file of the connecting end's token; None if nothing is."""
    mode = _mode(path)
    if mode & (_READ | _CHANGE):
        return (
            f"others on this machine can {'read' if mode & _READ else 'change'} the token in {path}: chmod 600 {path}"
        )
    return None


def users_file_warning(path: Path) -> str | None:
    """The same for the listening end's file of users. It has hashes only: who reads it cannot come in."""
    if _mode(path) & _CHANGE:
        return f"others on this machine can change the users in {path}, and so come in: chmod go-w {path}"
    return None


def key_file_warning(path: Path) -> str | None:
    """The same for the private key of a certificate. A group that may read keys is usual."""
    mode = _mode(path)
    if mode & stat.S_IROTH:
        return f"everybody on this machine can read the key: chmod o-r {path}"
    if mode & _CHANGE:
        return f"others on this machine can change the key: chmod go-w {path}"
    return None


def listen_warnings(options: ListenOptions) -> list[str]:
    """All of them, of the files that a listening end uses."""
    tls = options.tls
    key = key_file_warning(tls.key or tls.cert) if tls is not None else None
    users = users_file_warning(options.tokens) if options.tokens is not None else None
    return [warning for warning in (key, users) if warning is not None]


def connect_warnings(options: ConnectOptions) -> list[str]:
    """All of them, of the files that a connecting end uses."""
    tls = options.tls
    key = key_file_warning(tls.key or tls.cert) if tls is not None and tls.cert is not None else None
    token = token_file_warning(options.token_file) if options.token_file is not None else None
    return [warning for warning in (key, token) if warning is not None]


def _mode(path: Path) -> int:
    """The rights of a regular file; none of another one, or of one that cannot be looked at: reading it says why."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")  # of systemd, whose access list shows as rights of the group
    if folder and path.is_relative_to(folder):
        return 0
    try:
        mode = path.stat().st_mode
    except OSError:
        return 0
    return mode if stat.S_ISREG(mode) else 0
