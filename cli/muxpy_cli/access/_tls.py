"""TLS for both ends: what it is told, contexts, and failures in words that say what to do."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

from .._errors import Failure
from ._certificates import place_of_key
from ._files import if_missing, makes_authority, makes_certificate

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ALPN", "ClientTls", "ServerTls", "client_context", "negotiated", "server_context"]

ALPN: Final = "muxado/1"
"""What is spoken inside TLS, so that one port can serve others as well."""

KEY_LOG: Final = "SSLKEYLOGFILE"
"""The variable that names a file for the keys of sessions: with them, captured traffic can be read."""

# OpenSSL's reasons, the last if the key is of a kind of which it has loaded no certificate.
_MISMATCH: Final = {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """The listening end's side of TLS."""

    cert: Path
    key: Path | None = None
    """None: in the same file as the certificate."""
    client_ca: Path | None = None
    """Clients must show a certificate that one of these CAs has signed."""

    @property
    def key_file(self) -> Path:
        """The file with the private key."""
        return self.key or self.cert


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """The connecting end's side of TLS."""

    ca: Path | None = None
    """None: the system's CAs."""
    name: str | None = None
    """The name that the certificate must have, if not the host's."""
    fingerprint: bytes | None = None
    """SHA-256 of the one certificate (DER) that is accepted; then neither CAs nor names count."""
    cert: Path | None = None
    """The client's own certificate, for a listening end with --client-ca."""
    key: Path | None = None

    @property
    def key_file(self) -> Path | None:
        """The file with its private key, if it has one."""
        return self.key or self.cert


def negotiated(tls: ssl.SSLObject | None) -> str | None:
    """Version and cipher, for people; None without TLS."""
    cipher = tls.cipher() if tls is not None else None
    return f"{tls.version()} {cipher[0]}" if tls is not None and cipher is not None else None


def server_context(tls: ServerTls) -> ssl.SSLContext:
    """For the listening end; asks for client certificates if there is a client CA. Raises Failure."""
    _check_key_log()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _harden(context)
    _load_chain(context, tls.cert, tls.key, "--tls-key")
    if tls.client_ca is not None:
        try:
            context.load_verify_locations(tls.client_ca)
        except OSError as error:
            raise _bad_ca(tls.client_ca, error) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(tls: ClientTls) -> ssl.SSLContext:
    """For the connecting end; raises Failure.

    With a fingerprint it checks nothing: after the handshake, and before anything is sent, call check_fingerprint.
    """
    _check_key_log()
    context = _unchecking() if tls.fingerprint is not None else _checking(tls.ca)
    _harden(context)
    if tls.cert is not None:
        _load_chain(context, tls.cert, tls.key, "its key in a file of its own")
    return context


def _unchecking() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # before verify_mode, which ssl refuses otherwise
    context.verify_mode = ssl.CERT_NONE
    if path := os.environ.get(KEY_LOG):  # as a default context has it
        context.keylog_filename = path
    return context


def _checking(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
    except OSError as error:
        raise _bad_ca(ca, error) from error


def _check_key_log() -> None:
    """A default context opens that file, and fails as if it were about the CAs."""
    path = os.environ.get(KEY_LOG)
    if not path:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).keylog_filename = path
    except OSError as error:
        raise Failure(f"cannot write the keys of TLS to {path}, as {KEY_LOG} says: {_reason(error)}", 2) from error


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # costs the answering side much more than the asking one
    context.set_alpn_protocols([ALPN])
    # Python 3.13 has made both its defaults. Strictness refuses private CAs that lack an extension which RFC 5280 wants
    # of them, and that OpenSSL and all other programs take. A partial chain may end in any certificate of the file: to
    # name an intermediate CA is to trust that one, without its root.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def _bad_ca(ca: Path | None, error: OSError) -> Failure:
    if isinstance(error, ssl.SSLError) and error.reason in (None, "NO_CERTIFICATE_OR_CRL_FOUND"):
        return Failure(f"cannot use {ca}: no certificate in PEM format in it", 2)
    hint = if_missing(error, ca, makes_authority) if ca is not None else ""
    return Failure(f"cannot use {ca or 'the CAs of the system'}: {_reason(error)}{hint}", 2)


def _load_chain(context: ssl.SSLContext, cert: Path, key: Path | None, option: str) -> None:
    try:
        context.load_cert_chain(cert, key, password=partial(_no_password, key or cert))
    except OSError as error:  # ssl.SSLError is one
        files = f"{cert} with {key}" if key else str(cert)
        raise Failure(f"cannot use {files}: {_chain_reason(cert, key, option, error)}", 2) from error


def _no_password(file: Path) -> NoReturn:
    raise Failure(f"cannot use {file}: the private key is encrypted; give one without a passphrase", 2)


def _chain_reason(cert: Path, key: Path | None, option: str, error: OSError) -> str:
    if not isinstance(error, ssl.SSLError):
        return _unreadable(cert, key) or _reason(error)
    if "CERTIFICATE-----" not in _text(cert):
        return f"no certificate in PEM format in {cert}"
    if "PRIVATE KEY-----" not in _text(key or cert):
        return f"no private key in {key}" if key else f"no private key in it: give {option}"
    if error.reason in _MISMATCH:
        return _mismatch(cert, key or cert)
    return _reason(error)


def _mismatch(cert: Path, key: Path) -> str:
    place = place_of_key(cert, key)
    if not place:  # OpenSSL has compared it with the first
        return "the key does not belong to the certificate"
    return (
        f"the certificates in {cert} are in the wrong order: that of the key is number {place + 1}, and must come"
        " first, followed by those of the CAs that have signed it"
    )


def _unreadable(cert: Path, key: Path | None) -> str | None:
    """OpenSSL does not say which of the two files it could not open."""
    for file in filter(None, (cert, key)):
        try:
            file.open("rb").close()
        except OSError as error:
            hint = if_missing(error, file, makes_certificate)
            return (f"{file}: {_reason(error)}" if key else _reason(error)) + hint
    return None


def _text(file: Path) -> str:
    return file.read_text(errors="replace")


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason.lower().replace("_", " ") if error.reason else "not in PEM format"
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]
