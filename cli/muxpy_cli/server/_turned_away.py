"""Those who are not let in: why, when they are answered, and what the log says of them."""

from __future__ import annotations

import ssl
from collections import Counter
from typing import TYPE_CHECKING, Final, Literal

import trio

from .._errors import describe

if TYPE_CHECKING:
    from typing import TypeAlias

    from ..view import Console

__all__ = ["NotWelcome", "Refusals", "Tally", "is_about_trust", "why_no_handshake"]

EVERY: Final = 60.0
"""Seconds between lines."""

Kind: TypeAlias = Literal["left", "silent", "strange", "untrusted", "gave_up", "dropped", "refused"]
"""The last one has said who it is, and may not come in: each has a line of its own, for those who mend or watch it."""

_KINDS: Final[dict[Kind, str]] = {
    "left": "left without a word",
    "silent": "did not say in time who they are",
    "strange": "did not speak as a client does",
    "untrusted": "did not take the certificate here, or had none that is taken here",
    "gave_up": "left, and said why",
    "dropped": "had to make room",
}

DELAY: Final = 2.0
"""Seconds until the answer. A client that is not allowed comes back much later anyway."""
HELD: Final = 64
"""Answers that wait, together: up to 96 KiB each, and no place at the door. One more, and the first goes early."""

ANSWER: Final = 1.0
"""Seconds that the answer has to be sent, before the time limit of its connection."""

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


class NotWelcome(Exception):
    """The connection ends here; `reason` says why, and `kind` how it is counted, for the log."""

    def __init__(self, reason: str, kind: Kind = "strange") -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind: Final = kind


class Refusals:
    """Answers to those who could not say who they are: counted, and late.

    That slows a client that tries one token after the other, on its own connection, and nobody else: others come from
    the same address, behind a NAT or a TLS terminator, and a token of 256 random bits is not found by trying anyway.
    """

    def __init__(self) -> None:
        self.count = 0
        """All there ever were."""
        self._held: dict[trio.CancelScope, None] = {}  # the longest first

    async def delay(self, deadline: float) -> None:
        """Count one, and return when it is time to answer: before the deadline of its connection."""
        self.count += 1
        if len(self._held) >= HELD:
            first = next(iter(self._held))
            del self._held[first]  # now, not with its next turn: others may come before that
            first.cancel()
        with trio.CancelScope(deadline=min(trio.current_time() + DELAY, deadline - ANSWER)) as scope:
            self._held[scope] = None
            try:
                await trio.sleep_forever()
            finally:
                self._held.pop(scope, None)


class Tally:
    """Counts them. The first of a kind is told immediately, for a person who tries something out."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._counts: Counter[Kind] = Counter()
        self._told: set[Kind] = set()

    def add(self, kind: Kind, peer: str, reason: str) -> None:
        """One more; `reason` completes "it was not let in: "."""
        if kind in self._told:
            self._counts[kind] += 1
            return
        if kind in _KINDS:
            self._told.add(kind)
        self._console.complain(f"{peer} was not let in: {reason}", peer=peer, event="not_admitted")

    async def run(self) -> None:
        """Tell the counts of each minute, and at the end those of the minute that it cuts short."""
        try:
            while True:
                await trio.sleep(EVERY)
                self._tell()
        finally:
            self._tell()

    def _tell(self) -> None:
        # A kind that goes on is no news: only after a minute without it, its next one is told by itself again.
        counts, self._counts = self._counts, Counter()
        self._told = set(counts)
        if counts:
            what = ", ".join(f"{counts[kind]:,} {text}" for kind, text in _KINDS.items() if counts[kind])
            self._console.complain(
                f"connections of the last minute that were not let in: {what}",
                level="warning",
                event="turned_away",
                **{str(kind): counts[kind] for kind in _KINDS},
            )


def is_about_trust(error: ssl.SSLError) -> bool:
    """Whether one end does not take the certificate of the other: such a client was meant to come here."""
    return isinstance(error, ssl.SSLCertVerificationError) or error.reason in _ALERTS


def why_no_handshake(error: ssl.SSLError) -> str:
    """What went wrong, and at which end."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the client's certificate is none that --client-ca stands for: {error.verify_message.rstrip('.')}"
    return _ALERTS.get(error.reason, "") or describe(error)
