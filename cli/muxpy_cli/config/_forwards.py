"""One forward of a configuration: a table of its own, or one line as on the command line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from ..specs import (
    Direction,
    Forward,
    Kind,
    SpecError,
    UnixPath,
    name_problem,
    parse_bind,
    parse_dynamic,
    parse_http_proxy,
    parse_local,
    parse_remote,
    parse_target,
)
from ._schema import BROKEN, Section, Table, Value
from ._values import choice, number, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._document import Document
    from ._positions import Where

__all__ = ["ForwardNode", "forward_name_problem"]

MAX_NAME: Final = 64
"""Characters: names stand in every line about their forward, and in tables."""


@dataclass(frozen=True, slots=True)
class _Type:
    """A value of `type`."""

    option: str
    """Of the command line, which the short form begins with."""
    parse: Callable[[str], Forward]
    target: bool | None
    """Whether it takes a target. None: it may."""


_TYPES: Final = {
    "local": _Type("-L", parse_local, True),
    "remote": _Type("-R", parse_remote, None),
    "dynamic": _Type("-D", parse_dynamic, False),
    "http-proxy": _Type("--http-proxy", parse_http_proxy, False),
}
_OPTIONS: Final = {kind.option: kind for kind in _TYPES.values()}


def _checked(parse: Callable[[str], object]) -> Callable[[str], str]:
    """To check one end by itself; the two ends are read together, as on the command line."""

    def check(written: str) -> str:
        parse(written)
        return written

    return check


def _target(written: str) -> object:
    ending = written[-4:].lower()
    return parse_target(written[:-4] if ending in ("/udp", "/tcp") else written)


_TABLE: Final = Table(
    {
        "type": choice(*_TYPES),
        "listen": text(_checked(parse_bind), "8080"),
        "target": text(_checked(_target), "localhost:80"),
        "proxy-protocol": number(0, 2, 2),
    },
    required=("type", "listen"),
)


class ForwardNode:
    """A Forward that is bound, or reaches its target, at this end relative to the file's folder."""

    example: Final = '"-L 8080:localhost:80"'

    def read(self, document: Document, where: Where, raw: Any) -> Any:  # noqa: ANN401
        """The Forward, with the last key as its name."""
        if isinstance(raw, dict):
            forward = self._from_table(document, where, raw)
        else:
            forward = Value((str, dict), self.example, _from_line).read(document, where, raw)
        if not isinstance(forward, Forward):
            return BROKEN
        return replace(_from_folder(forward, document), name=str(where[-1]))

    def _from_table(self, document: Document, where: Where, raw: dict[str, Any]) -> object:
        section: Section = _TABLE.read(document, where, raw)
        ends = _ends(document, section)
        if ends is None:
            return BROKEN
        try:
            forward = _TYPES[section["type"]].parse(":".join(ends))
        except SpecError as error:  # what only shows in both together
            document.wrong(section.way("target"), str(error))
            return BROKEN
        return _with_proxy_protocol(document, section, forward)


def forward_name_problem(name: str) -> str | None:
    """What is wrong with it as the name of a forward; None if nothing is."""
    return name_problem("a forward's", name, MAX_NAME)


def _from_line(raw: str, _: Document) -> Forward:
    """`-L 8080:localhost:80`"""
    match raw.split(maxsplit=1):
        case [option, spec] if option in _OPTIONS:
            return _OPTIONS[option].parse(spec.strip())
    options = ", ".join(f"{option} ..." for option in _OPTIONS)
    raise ValueError(f"it must be one of {options}; for example {ForwardNode.example}")


def _ends(document: Document, section: Section) -> list[str] | None:
    """What is written for listen and, if the type takes one, target; None if that has a problem, which is noted."""
    if "type" not in section:
        return None
    takes = _TYPES[section["type"]].target
    if takes is True and "target" not in section.given:
        needs = f"target is missing, which {section['type']} needs"
        document.wrong(section.where, f'{needs}; for example target = "localhost:80"')
        return None
    if takes is False and "target" in section.given:
        names = f"{section['type']} takes no target, each connection names its own"
        document.wrong(section.way("target"), f"{names}; leave it out, or take another type", at_key=True)
        return None
    ends = ["listen", "target"] if "target" in section.given else ["listen"]
    return [section[end] for end in ends] if section.keys() >= set(ends) else None


def _with_proxy_protocol(document: Document, section: Section, forward: Forward) -> object:
    version = section.get("proxy-protocol", 0)
    if version and forward.kind is not Kind.TCP:
        document.wrong(section.way("proxy-protocol"), "only a TCP connection to a target has it; leave it out")
        return BROKEN
    return replace(forward, proxy_protocol=version)


def _from_folder(forward: Forward, document: Document) -> Forward:
    """The Unix sockets of this end are files beside the configuration; those of the other end are its own affair."""
    end = "bind" if forward.direction is Direction.LOCAL else "target"
    endpoint = getattr(forward, end)
    if not isinstance(endpoint, UnixPath):
        return forward
    path = UnixPath(str(document.path.parent / endpoint.path))
    return replace(forward, bind=path) if end == "bind" else replace(forward, target=path)
