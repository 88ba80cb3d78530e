"""Certificates: what they say and until when they are valid; and making one with its key, for those without a CA."""

from __future__ import annotations

import hashlib
import hmac
import re
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from .._errors import NOT_ALLOWED, Failure, describe
from ._addresses import is_numeric, parse_ip
from ._files import create_file, replace_file

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import trio
    from cryptography.x509 import Certificate

__all__ = [
    "CERT_FILE",
    "KEY_FILE",
    "certificate_names",
    "certificate_warning",
    "check_fingerprint",
    "default_names",
    "fingerprint_of",
    "format_fingerprint",
    "make_keys",
    "place_of_key",
]

WARN_BEFORE: Final = timedelta(days=14)
"""Time for a person to react. Programs renew certificates when a third of their life is left, so those that are valid
for a few days are only worth a word in the last third."""

_PRIVATE_KEY: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)

TlsEnd: TypeAlias = "ssl.SSLObject | ssl.SSLSocket | trio.SSLStream[Any]"

CERT_FILE: Final = "cert.pem"
KEY_FILE: Final = "key.pem"

_MAX_NAME: Final = 253
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME: Final = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")


def certificate_names(ssl_object: TlsEnd) -> list[str]:
    """The common name and the DNS names of the peer's certificate; empty if it has shown none, or none was verified.

    The handshake must be over. Only a verified certificate's names can be relied on, and OpenSSL hides the others.
    """
    certificate: dict[str, Any] = ssl_object.getpeercert() or {}
    return list(dict.fromkeys(_names(certificate)))


def _names(certificate: dict[str, Any]) -> Iterator[str]:
    for part in certificate.get("subject", ()):
        yield from (value for key, value in part if key == "commonName")
    yield from (value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS")


def check_fingerprint(ssl_object: TlsEnd, fingerprint: bytes) -> None:
    """Whether the peer's certificate is the pinned one, by the SHA-256 of its DER form; raises Failure.

    The handshake must be over: it has proved that the peer has the certificate's key. Nothing may be sent before.
    """
    certificate: bytes | None = ssl_object.getpeercert(True)
    if not certificate:
        raise Failure("the other end has shown no certificate", NOT_ALLOWED)
    shown = hashlib.sha256(certificate).digest()
    if not hmac.compare_digest(shown, fingerprint):
        raise Failure(
            f"the certificate of the other end is not the pinned one: it has the fingerprint "
            f"{format_fingerprint(shown)}. If it was renewed, ask who runs it before you take that one",
            NOT_ALLOWED,
        )


def fingerprint_of(path: Path) -> str:
    """That of the first certificate of a PEM file; raises Failure."""
    from cryptography.hazmat.primitives.hashes import SHA256

    return format_fingerprint(_first_certificate(path).fingerprint(SHA256()))


def format_fingerprint(fingerprint: bytes) -> str:
    """As `sha256:` and lower-case hex digits."""
    return f"sha256:{fingerprint.hex()}"


def certificate_warning(path: Path, now: datetime | None = None) -> str | None:
    """What there is to say about the dates of the first certificate of a PEM file; None if nothing. Raises Failure."""
    return _dates(_first_certificate(path), now or datetime.now(UTC))


def _dates(certificate: Certificate, now: datetime) -> str | None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < start:
        return f"is not valid before {start:%Y-%m-%d %H:%M} UTC"
    if now > end:
        return f"has expired on {end:%Y-%m-%d}"
    left = end - now
    if left > min(WARN_BEFORE, (end - start) / 3):
        return None
    if left < timedelta(days=2):
        hours = int(left / timedelta(hours=1))
        return f"expires in {hours} hour{'' if hours == 1 else 's'}"
    return f"expires in {left.days} days"


def _first_certificate(path: Path) -> Certificate:
    from cryptography import x509  # takes longer to import than the rest of the program needs to start

    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise Failure(f"cannot read {path}: {describe(error)}") from error
    except ValueError:
        raise Failure(f"cannot use {path}: no certificate in PEM format in it") from None


def place_of_key(certificates: Path, key: Path) -> int | None:
    """Which certificate of a PEM file a private key belongs to, counted from 0; None if to none, or if that
    cannot be told."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        block = _PRIVATE_KEY.search(key.read_bytes())
        public = load_pem_private_key(block[0], None).public_key() if block is not None else None
        found = [one.public_key() for one in x509.load_pem_x509_certificates(certificates.read_bytes())]
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):  # a key with a passphrase is a TypeError
        return None
    return next((place for place, one in enumerate(found) if one == public), None)


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
