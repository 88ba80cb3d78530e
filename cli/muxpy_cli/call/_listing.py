"""What the other end serves, as it says itself."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from rich.text import Text

from muxpy import rpc

from .._errors import Failure
from ..specs import excerpt
from ..view import Console

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ._target import Target

__all__ = ["names", "show"]


async def show(target: Target, service: str | None) -> None:
    """Show all services and their methods, or how those of one service are called. Raises Failure."""
    services, console = await _services(target), Console()
    if service is None:
        _show_services(services, console)
    else:
        _show_methods(services, service, console)
    console.check_shown()


async def names(target: Target) -> list[tuple[str, str]]:
    """Services and methods, and what they are. A name that could mean something to a shell, into whose command line it
    may go, is left out. Raises Failure."""
    services = await _services(target)
    found = [(service.name, service.doc) for service in services]
    found += [(method.name, method.doc) for service in services for method in service.methods]
    return [(name, excerpt(_first_line(doc))) for name, doc in found if re.fullmatch(r"\w+(\.\w+)?", name)]


async def _services(target: Target) -> list[rpc.ServiceInfo]:
    async with target.session("Reflection.services") as session:
        try:
            return await rpc.client(session, rpc.Reflection, metadata=target.metadata).services()
        except rpc.Unimplemented:
            raise Failure(
                "the other end does not say what it serves; it would with rpc.serve(..., reflection=True)"
            ) from None


def _show_services(services: Sequence[rpc.ServiceInfo], console: Console) -> None:
    width = max((len(method.name) for service in services for method in service.methods), default=0)
    for service in services:
        console.show(_heading(service))
        for method in service.methods:
            console.show(Text(excerpt(f"  {method.name:<{width}}  {_first_line(method.doc)}").rstrip()))


def _show_methods(services: Sequence[rpc.ServiceInfo], name: str, console: Console) -> None:
    found = {service.name: service for service in services}
    if name not in found:
        alike = get_close_matches(name, found, n=1)
        advice = f"did you mean {alike[0]}?" if alike else f"there are {', '.join(found)}"
        raise Failure(f"there is no service {name}: {advice}", 2)
    service = found[name]
    console.show(_heading(service))
    _show_lines(service.doc.splitlines()[1:], "", console)
    for method in service.methods:
        console.show(Text(f"\n  {excerpt(f'{service.name}.{method.signature}')}", style="bold"))
        _show_lines([*method.doc.splitlines(), *_remarks(method)], "      ", console)


def _show_lines(lines: Iterable[str], indent: str, console: Console) -> None:
    for line in lines:
        console.show(Text(f"{indent}{excerpt(line)}".rstrip()))


def _heading(service: rpc.ServiceInfo) -> Text:
    doc = _first_line(service.doc)
    return Text.assemble((excerpt(service.name), "bold"), excerpt(f": {doc}") if doc else "")


def _remarks(method: rpc.MethodInfo) -> Iterator[str]:
    """What the signature does not say to somebody at a terminal."""
    if method.takes_items is not None:
        yield f"{method.takes_items} come from standard input, one a line, with --items."
    if method.takes_streams or method.gives_stream:
        yield "It takes or gives a stream of bytes, and is for programs only."


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
