"""Why a TLS handshake failed, in words for whoever runs the listening end."""

from __future__ import annotations

import ssl
from typing import Final

from .._errors import describe

__all__ = ["is_about_trust", "why_no_handshake"]

_DISTRUST: Final = "the client does not take the certificate here"
# What OpenSSL calls the alerts by which a client says so, RFC 8446, section 6.2.
_ALERTS: Final = {
    "TLSV1_ALERT_UNKNOWN_CA": f"{_DISTRUST}: it knows no CA that has signed it (--tls-ca, --fingerprint)",
    "SSLV3_ALERT_BAD_CERTIFICATE": f"{_DISTRUST}: it may know this end by a name that the certificate does not have",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": f"{_DISTRUST}: to the client it has expired, or is not valid yet",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": f"{_DISTRUST}: it has been revoked",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _DISTRUST,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": f"{_DISTRUST}: it is of a kind that the client does not know",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client shows no certificate (--tls-cert), and --client-ca wants one",
}


def is_about_trust(error: ssl.SSLError) -> bool:
    """Whether one end does not take the certificate of the other: such a client was meant to come here."""
    return isinstance(error, ssl.SSLCertVerificationError) or error.reason in _ALERTS


def why_no_handshake(error: ssl.SSLError) -> str:
    """What went wrong, and at which end."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the client's certificate is none that --client-ca stands for: {error.verify_message.rstrip('.')}"
    return _ALERTS.get(error.reason, "") or describe(error)
