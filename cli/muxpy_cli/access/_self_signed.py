"""Self-signed certificates. A module of its own, because its imports take long."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["VALIDITY", "self_signed"]

VALIDITY: Final = timedelta(days=3653)
"""Ten years. It is trusted by itself, in a file or by its fingerprint, until somebody takes it out there: no authority
has to look again at whose it is, and an end in between would only be an outage."""
_CLOCKS: Final = timedelta(hours=1)
"""How far the clocks of the two ends may be apart right after it was made."""
_MAX_COMMON_NAME: Final = 64  # RFC 5280, appendix A.1


def self_signed(names: Sequence[str]) -> tuple[bytes, bytes]:
    """A new certificate and its key, both PEM, for names and numeric addresses; the first is its common name.

    It serves either end. It is no CA, so its key can vouch for nobody else; OpenSSL still takes it for a trust anchor,
    as a self-signed certificate in the file of CAs. Raises ValueError for a name that no certificate can have.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    common = next((name for name in names if len(name) <= _MAX_COMMON_NAME), "muxpy")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS)
        .not_valid_after(now + VALIDITY)
    )
    certificate = _with_extensions(builder, key.public_key(), names).sign(key, hashes.SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), private


def _with_extensions(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePublicKey, names: Sequence[str]
) -> x509.CertificateBuilder:
    uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    return (
        builder.add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_signing_only(), critical=True)
        .add_extension(uses, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)  # X509_STRICT wants them
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key), critical=False)
    )


def _signing_only() -> x509.KeyUsage:
    """Signing handshakes is all that an ECDSA key does in TLS."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
