"""From a file to options, with everything that is wrong on the way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .._options import ConnectOptions, ListenOptions, Output
from ..access import Limits, Rules
from ._checks import asks_for_certificates, check_connect, check_listen, client_tls, server_tls
from ._document import ConfigError, Document, Problem
from ._format import ROOT
from ._schema import Section
from ._users import limits_of, read_users, rules_of

if TYPE_CHECKING:
    import os

__all__ = ["Inspection", "inspect", "load_connect", "load_listen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a file says, and all that was found in it."""

    options: ListenOptions | ConnectOptions | None
    """None if there are problems."""
    problems: tuple[Problem, ...] = ()
    """With any of them the file cannot be used."""
    warnings: tuple[Problem, ...] = ()
    """What can be used, but may not be what was meant, or not for long."""


def load_listen(path: str | os.PathLike[str]) -> ListenOptions:
    """The options of a file for the listening end; raises ConfigError."""
    options = _load(path)
    if not isinstance(options, ListenOptions):
        raise _other_end(path, "connect", "listen")
    return options


def load_connect(path: str | os.PathLike[str]) -> ConnectOptions:
    """The options of a file for the connecting end; raises ConfigError."""
    options = _load(path)
    if not isinstance(options, ConnectOptions):
        raise _other_end(path, "listen", "connect")
    return options


def inspect(path: str | os.PathLike[str]) -> Inspection:
    """Read a file for either end, and the files that it names. Raises nothing: problems are in the result."""
    try:
        document = Document.read(Path(path))
    except ConfigError as error:
        return Inspection(options=None, problems=error.problems)
    options = _read(document)
    problems, warnings = tuple(document.problems), tuple(document.warnings)
    return Inspection(options=None if problems else options, problems=problems, warnings=warnings)


def _load(path: str | os.PathLike[str]) -> ListenOptions | ConnectOptions:
    inspection = inspect(path)
    if inspection.options is None:
        raise ConfigError(inspection.problems, Path(path))
    return inspection.options


def _other_end(path: str | os.PathLike[str], found: str, wanted: str) -> ConfigError:
    message = f"this file has [{found}], and is for muxpy {found}; muxpy {wanted} needs one with [{wanted}]"
    return ConfigError([Problem(file=str(path), message=message)])


def _read(document: Document) -> ListenOptions | ConnectOptions | None:
    """The options as far as they are right: they count only if no problem was noted."""
    root: Section = ROOT.read(document, (), document.data)
    ends = {"listen", "connect"} & root.given
    if len(ends) == 2:
        later = max(ends, key=list(document.data).index)
        document.wrong(
            (later,), "one file is for one end; put [listen] and [connect] into files of their own", at_key=True
        )
    elif not ends and not document.problems:
        document.wrong((), "the file has no table [listen] and none [connect]; add the one for its end")
    elif "listen" in root:
        return _listen(document, root)
    elif "connect" in root:
        return _connect(document, root)
    return None


def _listen(document: Document, root: Section) -> ListenOptions | None:
    listen: Section = root["listen"]
    rules = Rules(**rules_of(listen))
    limits = Limits(**limits_of(listen.get("limits", Section((), frozenset()))))
    by_certificate = asks_for_certificates(listen)
    users = tuple(read_users(document, root, rules, limits, by_certificate=by_certificate))
    check_listen(document, root, users)
    if document.problems:
        return None
    return ListenOptions(
        tls=server_tls(listen["tls"]) if "tls" in listen else None,
        users=users,
        rules=rules,
        limits=limits,
        output=_output(listen),
        source=document.path,
        **listen.pick(
            address="address",
            insecure="insecure",
            tokens="tokens",
            idle_timeout="idle-timeout",
            session_idle_timeout="session-idle-timeout",
            drain="drain",
        ),
    )


def _connect(document: Document, root: Section) -> ConnectOptions | None:
    connect: Section = root["connect"]
    check_connect(document, root)
    if document.problems:
        return None
    return ConnectOptions(
        forwards=tuple(root.get("forwards", {}).values()),
        tls=client_tls(connect["tls"]) if "tls" in connect else None,
        output=_output(connect),
        source=document.path,
        **connect.pick(
            address="server",
            insecure="insecure",
            token_file="token-file",
            sessions="sessions",
            max_retries="max-retries",
            connect_wait="connect-wait",
            drain="drain",
        ),
    )


def _output(section: Section) -> Output:
    output: Section = section.get("output", Section((), frozenset()))
    return Output(
        **output.pick(format="log-format", verbosity="verbosity", metrics="metrics", control="control", trace="trace")
    )
