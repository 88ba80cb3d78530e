"""What the two ends are told to do: plain data, from the command line or a configuration file.

Files are named here and not read, so that a reload can read them again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .access import Limits, Rules

if TYPE_CHECKING:
    from pathlib import Path

    from .access import User
    from .specs import Address, Forward

__all__ = ["ClientTls", "ConnectOptions", "ListenOptions", "Output", "ServerTls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """The listening end's side of TLS."""

    cert: Path
    key: Path | None = None
    """None: in the same file as the certificate."""
    client_ca: Path | None = None
    """Clients must show a certificate that one of these CAs has signed."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What is shown, and where a process can be asked."""

    format: str = "auto"
    """auto (a live display on a terminal, lines elsewhere), text or json."""
    verbosity: int = 0
    """-1: what goes wrong. 0: what is set up as well. 1: each connection, too. 2: and the library's log."""
    metrics: Address | None = None
    """Where Prometheus finds /metrics, /healthz and /readyz."""
    control: Path | None = None
    """The control socket that `muxpy status` asks. None: the default place for this process."""
    trace: Path | None = None
    """Where each frame of each session is noted, for `muxpy trace`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenOptions:
    """What `muxpy listen` was told."""

    address: Address
    tls: ServerTls | None = None
    insecure: bool = False
    """Off loopback without TLS, or without users."""
    tokens: Path | None = None
    """The file with the users and the hashes of their tokens."""
    users: tuple[User, ...] = ()
    """Users that the configuration names beside those of the token file."""
    rules: Rules = field(default_factory=Rules)
    """What users may do for whom nothing else is said, and everybody if there are no users."""
    limits: Limits = field(default_factory=Limits)
    """The same for limits."""
    idle_timeout: float | None = None
    """Seconds after which a forwarded connection that carries nothing is closed. None: never."""
    session_idle_timeout: float | None = None
    """Seconds after which a session without connections and without remote forwards is ended. None: never."""
    drain: float = 5.0
    """Seconds that open connections get at the end."""
    output: Output = field(default_factory=Output)
    source: Path | None = None
    """The configuration file that all this comes from, which SIGHUP reads again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectOptions:
    """What `muxpy connect` was told."""

    address: Address
    forwards: tuple[Forward, ...] = ()
    stdio: Address | None = None
    """-W: carry standard input and output to this target, instead of forwarding ports."""
    tls: ClientTls | None = None
    insecure: bool = False
    token_file: Path | None = None
    """Where the token stands, if not in MUXPY_TOKEN."""
    ask_token: bool = False
    """Ask for the token on the terminal."""
    sessions: int = 1
    """Parallel sessions, each a connection of its own."""
    max_retries: int | None = None
    """Attempts to connect that may fail in a row. None: any number."""
    connect_wait: float = 5.0
    """Seconds that new connections wait for a session."""
    drain: float = 5.0
    output: Output = field(default_factory=Output)
    source: Path | None = None
