"""Types of click's parameters: what the parsers of specs and rules read, and files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from .._errors import Failure
from ..access import (
    RuleError,
    makes_authority,
    makes_certificate,
    makes_token,
    makes_users,
    parse_bind_rule,
    parse_target_rule,
)
from ..specs import (
    SpecError,
    parse_address,
    parse_duration,
    parse_dynamic,
    parse_fingerprint,
    parse_http_proxy,
    parse_listen,
    parse_local,
    parse_name,
    parse_rate,
    parse_remote,
    parse_size,
    parse_stdio,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    _ParamType = click.ParamType[object]
else:  # it takes a type argument since click 8.2
    _ParamType = click.ParamType

__all__ = [
    "ADDRESS",
    "AUTHORITY",
    "BIND_RULE",
    "CERTIFICATE",
    "DURATION",
    "DYNAMIC",
    "FILE",
    "FINGERPRINT",
    "HTTP_PROXY",
    "LISTEN",
    "LOCAL",
    "NAME",
    "PATH",
    "RATE",
    "REMOTE",
    "SIZE",
    "STDIO",
    "TARGET_RULE",
    "TOKEN",
    "TRACE_FILE",
    "USERS",
]


class _Parsed(_ParamType):
    """An argument that a parser reads, which raises SpecError or RuleError."""

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except (SpecError, RuleError) as error:
            where = param.opts[0] + " " if isinstance(param, click.Option) else ""
            raise click.UsageError(f"{where}{value}: {error}") from None


class _File(click.Path):
    """A file that must exist. If it does not, `made_by` says what creates it."""

    def __init__(self, made_by: Callable[[Path], str] | None = None, *, allow_dash: bool = False) -> None:
        super().__init__(exists=True, dir_okay=False, allow_dash=allow_dash, path_type=Path)
        self._made_by = made_by

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        if not os.path.lexists(value) and not (self.allow_dash and value == "-"):
            where = param.opts[0] + " " if isinstance(param, click.Option) else ""
            hint = f"; {self._made_by(Path(value))}" if self._made_by is not None else ""
            raise Failure(f"{where}{value}: there is no such file{hint}", 2)
        return super().convert(value, param, ctx)


def _makes_trace(_: Path) -> str:
    return "--trace FILE of `muxpy listen` and `muxpy connect` writes one"


LISTEN: Final = _Parsed("[HOST:]PORT", parse_listen)
ADDRESS: Final = _Parsed("HOST:PORT", parse_address)
LOCAL: Final = _Parsed("SPEC", parse_local)
NAME: Final = _Parsed("NAME", parse_name)
REMOTE: Final = _Parsed("SPEC", parse_remote)
DYNAMIC: Final = _Parsed("[BIND:]PORT", parse_dynamic)
HTTP_PROXY: Final = _Parsed("[BIND:]PORT", parse_http_proxy)
STDIO: Final = _Parsed("HOST:PORT", parse_stdio)
SIZE: Final = _Parsed("SIZE", parse_size)
RATE: Final = _Parsed("RATE", parse_rate)
DURATION: Final = _Parsed("TIME", parse_duration)
FINGERPRINT: Final = _Parsed("sha256:...", parse_fingerprint)
TARGET_RULE: Final = _Parsed("RULE", parse_target_rule)
BIND_RULE: Final = _Parsed("RULE", parse_bind_rule)
FILE: Final = _File()
AUTHORITY: Final = _File(makes_authority)
CERTIFICATE: Final = _File(makes_certificate)
TOKEN: Final = _File(makes_token)
USERS: Final = _File(makes_users)
TRACE_FILE: Final = _File(_makes_trace, allow_dash=True)
PATH: Final = click.Path(path_type=Path)
