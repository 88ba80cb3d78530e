"""The options of the two ends: plain data, from the command line or a configuration file.

Files are named here and not read, so that a reload can read them again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .access import Limits, Rules

if TYPE_CHECKING:
    from pathlib import Path

    from .access import ClientTls, ServerTls, User
    from .specs import Address, Forward

__all__ = ["ConnectOptions", "ListenOptions", "Output"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What is shown, and where a process can be asked for its state."""

    format: str = "auto"
    """auto (a live display on a terminal, lines elsewhere), text or json."""
    verbosity: int = 0
    """-1: problems only. 0: also what is set up. 1: also each connection. 2: also the library's log."""
    metrics: Address | None = None
    """Where Prometheus finds /metrics, /healthz and /readyz."""
    control: Path | None = None
    """The control socket that `muxpy status` asks. None: the default place for this process."""
    trace: Path | None = None
    """The file that records each frame of each session, for `muxpy trace`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenOptions:
    """The options of `muxpy listen`."""

    address: Address
    tls: ServerTls | None = None
    insecure: bool = False
    """Listen off loopback without TLS, or without users."""
    tokens: Path | None = None
    """The file with the users and their token hashes."""
    users: tuple[User, ...] = ()
    """Users from the configuration file, in addition to those of the token file."""
    rules: Rules = field(default_factory=Rules)
    """What a user without rules of their own may do; without users, what everybody may do."""
    limits: Limits = field(default_factory=Limits)
    """The limits of a user without limits of their own; without users, those of everybody."""
    idle_timeout: float | None = None
    """Seconds after which a forwarded connection that carries nothing is closed. None: never."""
    session_idle_timeout: float | None = None
    """Seconds after which a session without connections and without remote forwards is ended. None: never."""
    drain: float = 5.0
    """Seconds that open connections have to finish at a graceful shutdown."""
    output: Output = field(default_factory=Output)
    source: Path | None = None
    """The configuration file of these options, which SIGHUP reads again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectOptions:
    """The options of `muxpy connect`."""

    address: Address
    forwards: tuple[Forward, ...] = ()
    stdio: Address | None = None
    """-W: carry standard input and output to this target, instead of forwarding ports."""
    tls: ClientTls | None = None
    insecure: bool = False
    token_file: Path | None = None
    """The file with the token, if it is not in MUXPY_TOKEN."""
    ask_token: bool = False
    """Ask for the token on the terminal."""
    sessions: int = 1
    """Parallel sessions, each a connection of its own."""
    max_retries: int | None = None
    """Attempts to connect that may fail in a row. None: unlimited."""
    connect_wait: float = 5.0
    """Seconds that new connections wait for a session."""
    drain: float = 5.0
    output: Output = field(default_factory=Output)
    source: Path | None = None
