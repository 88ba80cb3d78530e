"""Reflection: what a side serves, for callers that do not have its classes."""

from __future__ import annotations

import inspect
import re
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from ._service import arguments_type, idempotent, service, services_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._service import Method, Service

__all__ = ["MethodInfo", "Reflecting", "Reflection", "ServiceInfo"]

Schema = dict[str, Any]


class MethodInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is to know of a method."""

    name: str
    """With that of its service, as in "Calculator.add"."""
    doc: str
    signature: str
    """As Python writes it: "add(a: int, b: int = 5) -> int"."""
    takes_items: str | None
    """The parameter that is an async iterator, if one is."""
    gives_items: bool
    takes_streams: list[str]
    """The parameters that are raw streams: ids in the arguments."""
    gives_stream: bool
    idempotent: bool
    arguments: Schema
    """The JSON schema of the arguments by name, without `takes_items`."""
    items: Schema | None
    """That of each item which the method takes."""
    result: Schema
    """That of the result, or of each item which the method gives."""


class ServiceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is to know of a service."""

    name: str
    doc: str
    methods: list[MethodInfo]


@service
class Reflection(Protocol):
    """What this side serves."""

    @idempotent
    async def services(self) -> list[ServiceInfo]:
        """All services with their methods, by name."""
        ...


class Reflecting(Reflection):
    """Tells of these services, and of itself."""

    def __init__(self, implementations: Iterable[object]) -> None:
        services = chain.from_iterable(map(services_of, [*implementations, self]))
        self._services = sorted(services, key=lambda service: service.name)

    async def services(self) -> list[ServiceInfo]:
        """See `Reflection`."""
        return [_service_info(service) for service in self._services]


@cache  # as the description of a class is: whoever asks again and again costs little
def _service_info(service: Service) -> ServiceInfo:
    methods = sorted(service.methods.values(), key=lambda method: method.name)
    return ServiceInfo(name=service.name, doc=service.doc, methods=[_method_info(method) for method in methods])


def _method_info(method: Method) -> MethodInfo:
    parameters = list(method.signature.parameters)
    return MethodInfo(
        name=method.name,
        doc=method.doc,
        signature=method.attribute + _signature_text(method.signature),
        takes_items=None if method.takes_items is None else parameters[method.takes_items],
        gives_items=method.gives_items,
        takes_streams=[method.fields[place][0] for place in method.takes_streams],
        gives_stream=method.gives_stream,
        idempotent=method.idempotent,
        arguments=_schema(arguments_type(method.fields)),
        items=None if method.takes_items is None else _schema(method.items),
        result=_schema(method.result),
    )


def _schema(kind: Any) -> Schema:  # noqa: ANN401 - any type
    return msgspec.json.schema(kind, schema_hook=_schema_of_strange)


def _schema_of_strange(kind: type) -> Schema:
    """Of types that msgspec does not know, only the name is said."""
    return {"description": kind.__name__}


class _Written(str):
    """A text that is shown without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _signature_text(signature: inspect.Signature) -> str:
    parameters = [
        parameter.replace(annotation=_hint_text(parameter.annotation)) for parameter in signature.parameters.values()
    ]
    return str(inspect.Signature(parameters, return_annotation=_hint_text(signature.return_annotation)))


def _hint_text(hint: object) -> _Written:
    """As it is written in the program, or with the names of types without their modules."""
    if isinstance(hint, str):
        return _Written(hint)
    dotted = r"""('[^']*'|"[^"]*")|(?:[^\W\d]\w*\.)+(\w+)"""  # what stands in quotes is a value
    return _Written(re.sub(dotted, lambda found: found[1] or found[2], inspect.formatannotation(hint)))
