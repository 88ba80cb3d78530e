"""Making a certificate and its key, for those who have no CA."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Final

from .._errors import Failure, describe
from ._addresses import is_numeric, parse_ip
from ._certificates import fingerprint_of
from ._files import create_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["CERT_FILE", "KEY_FILE", "default_names", "make_keys"]

CERT_FILE: Final = "cert.pem"
KEY_FILE: Final = "key.pem"

_MAX_NAME: Final = 253
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME: Final = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")


def default_names() -> list[str]:
    """Localhost in all forms, and the name of this machine if that can be one in a certificate."""
    names = ["localhost", "127.0.0.1", "::1"]
    own = socket.gethostname().removesuffix(".")
    return names if own in names or _problem(own) else [*names, own]


def make_keys(directory: Path, names: Sequence[str] = (), *, force: bool = False) -> str:
    """Write cert.pem and key.pem for `names`, or the default ones; the fingerprint as `sha256:...`. Raises Failure.

    The directory is made if there is none. Files that are there are only overwritten with `force`.
    """
    from ._self_signed import self_signed

    names = list(dict.fromkeys(names)) or default_names()
    for name in names:
        if problem := _problem(name):
            raise Failure(f"{name!r} cannot stand in a certificate: {problem}", 2)
    cert, key = directory / CERT_FILE, directory / KEY_FILE
    if not force:
        _refuse_existing(cert, key)
    cert_pem, key_pem = self_signed(names)
    _write(cert, key, cert_pem, key_pem, force)
    return fingerprint_of(cert)


def _problem(name: str) -> str | None:
    if parse_ip(name) is not None:
        return "leave the zone (%...) out" if "%" in name else None
    if not name.isascii():
        return "write the name in its ASCII form (xn--...), which is what DNS knows"
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name) or is_numeric(name):
        return "it takes a host name or an address; for example example.org or 10.0.0.5"
    return None


def _refuse_existing(*files: Path) -> None:
    for file in files:
        if file.exists():
            raise Failure(f"{file} is already there: choose another folder, or --force to overwrite it", 2)


def _write(cert: Path, key: Path, cert_pem: bytes, key_pem: bytes, force: bool) -> None:
    write = replace_file if force else create_file
    try:
        cert.parent.mkdir(parents=True, exist_ok=True)
        write(key, key_pem, 0o600)
        try:
            write(cert, cert_pem, 0o644)
        except BaseException:
            key.unlink()  # it belongs to no certificate
            raise
    except FileExistsError as error:  # somebody was faster, or the folder is a file
        raise Failure(f"cannot write to {cert.parent}: {error.filename} is already there") from error
    except OSError as error:
        raise Failure(f"cannot write to {cert.parent}: {describe(error)}") from error
