"""What a service is: the methods of a class, and what their type hints say of them."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from muxpy import Stream

from ._errors import Code, Error
from ._wire import JSON, MAX_MESSAGE, MSGPACK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ._wire import Coding

__all__ = ["Codec", "Method", "Service", "arguments_type", "describe", "idempotent", "service", "services_of"]

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])

ITERATORS: Final = (AsyncIterator, AsyncIterable, AsyncGenerator)

StreamId = Annotated[int, msgspec.Meta(ge=1, le=0x7FFFFFFF)]
"""What stands on the wire for a stream."""

_MARK: Final = "__rpc_service__"
_IDEMPOTENT: Final = "__rpc_idempotent__"


def service(cls: C) -> C:
    """A class decorator: this class is a service. Objects of classes that are derived from it implement it, under its
    name.

    Without it, the class of the object that is served is the service.
    """
    if not isinstance(cls, type):
        raise TypeError(f"a service is a class, not {cls!r}")
    setattr(cls, _MARK, cls.__name__)
    describe(cls)
    return cls


def idempotent(method: F) -> F:
    """A decorator of a service's method: carrying it out twice does no harm, so that a call may be made again even if
    the other side may have acted on it (see `pool`)."""
    setattr(method, _IDEMPOTENT, True)
    return method


@dataclass(frozen=True)
class Method:
    """A method of a service."""

    name: str
    """With that of its service, as in "Calculator.add"."""
    attribute: str
    doc: str
    signature: inspect.Signature
    """Without `self`, with the hints as they are written."""
    fields: tuple[tuple[str, Any, Any], ...]
    """The parameters that stand in the request: name, type and default, as msgspec.defstruct takes them."""
    result: Any
    """The type of what is returned, or of each item; StreamId for a stream."""
    gives_items: bool
    takes_items: int | None
    """Which parameter is an iterator."""
    items: Any
    """The type of its values."""
    takes_streams: tuple[int, ...]
    """Which parameters are streams."""
    gives_stream: bool
    idempotent: bool

    @property
    def unary(self) -> bool:
        """Whether there is one request and one answer."""
        return not self.gives_items and self.takes_items is None

    @cached_property
    def count(self) -> int:
        """The number of parameters."""
        return len(self.signature.parameters)

    @cached_property
    def msgpack(self) -> Codec:
        """In msgpack."""
        return Codec(self, MSGPACK)

    @cached_property
    def json(self) -> Codec:
        """In JSON."""
        return Codec(self, JSON)

    def called_by_position(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function of an object that implements this, to be called with all arguments in order."""
        parameters = self.signature.parameters.values()
        names = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
        if not names:
            return function
        before = self.count - len(names)
        return lambda *values: function(*values[:before], **dict(zip(names, values[before:], strict=True)))

    def bind(self, arguments: tuple[object, ...], named: dict[str, object]) -> tuple[object, ...]:
        """All arguments in the order of the parameters. Raises TypeError as a call of the method would."""
        if not named and len(arguments) == self.count:
            return arguments
        try:
            bound = self.signature.bind(*arguments, **named)
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}") from None
        bound.apply_defaults()
        return tuple(bound.arguments.values())


class Codec:
    """What a method takes and gives, to bytes and back. All that is sent is checked by decoding it as the other side
    will: that costs a tenth of a microsecond, and what does not fit is an error where it was made."""

    def __init__(self, method: Method, coding: Coding) -> None:
        self.coding = coding
        self._method = method
        self._by_position = coding.decoder(arguments_type(method.fields, array_like=True))
        self._by_name = coding.decoder(arguments_type(method.fields))
        self._decode_metadata = coding.decoder(dict[str, str])
        self.decode_result = coding.decoder(method.result)
        """What is returned, or an item of it. Raises msgspec.ValidationError, and what the types' own code raises."""
        self.decode_item = coding.decoder(method.items)
        """An item of the parameter that is an iterator. Raises the same."""

    def arguments(self, values: tuple[object, ...]) -> bytes:
        """Raises TypeError for what the method does not take."""
        return self._checked(values, self._by_position, "argument", self._named)

    def request(self, arguments: bytes, timeout: float | None, metadata: Mapping[str, str] | None) -> bytes:
        """The body of a CALL. Raises TypeError for metadata that is no text, and Error if all is too large."""
        parts: list[object] = [self._method.name, msgspec.Raw(arguments)]
        if timeout is not None or metadata:
            parts.append(timeout)
        if metadata:
            parts.append(msgspec.Raw(self._checked(metadata, self._decode_metadata, "metadata")))
        encoded = self.coding.encode(parts)
        if len(encoded) > MAX_MESSAGE:
            raise self._too_large(encoded, "argument")
        return encoded

    def decode_arguments(self, encoded: bytes) -> tuple[Any, ...]:
        """Raises msgspec.ValidationError, which names the argument."""
        decode = self._by_name if encoded[0] in self.coding.maps else self._by_position
        try:
            values: tuple[Any, ...] = msgspec.structs.astuple(decode(encoded))
        except msgspec.ValidationError as error:
            raise msgspec.ValidationError(self._named(str(error))) from None
        return values

    def encode_result(self, value: object) -> bytes:
        """What is returned, or an item of it. Raises TypeError for what the method does not give, and Error for what is
        too large."""
        return self._checked(value, self.decode_result, "result")

    def encode_item(self, value: object) -> bytes:
        """An item of the parameter that is an iterator. Raises TypeError for what the method does not take, and Error
        for what is too large."""
        return self._checked(value, self.decode_item, "item")

    def _checked(
        self, value: object, decode: Callable[[bytes], object], what: str, words: Callable[[str], str] = str
    ) -> bytes:
        try:
            encoded = self.coding.encode(value)
        except Exception as error:  # such as OverflowError, RecursionError, and what the values' own code raises
            raise TypeError(f"{self._method.name}: the {what} cannot be sent: {error}") from None
        try:
            decode(encoded)
        except Exception as error:  # msgspec's, RecursionError, and what the types' own code raises
            raise TypeError(f"{self._method.name}: wrong {what}: {words(str(error))}") from None
        if len(encoded) > MAX_MESSAGE:
            raise self._too_large(encoded, what)
        return encoded

    def _too_large(self, encoded: bytes, what: str) -> Error:
        size = f"{len(encoded)} bytes, and more than {MAX_MESSAGE} take a muxpy.Stream"
        return Error(f"{self._method.name}: the {what} has {size}", code=Code.RESOURCE_EXHAUSTED)

    def _named(self, text: str) -> str:
        """msgspec's words about arguments, with the names of parameters in place of their numbers."""
        names = [name for name, _, _ in self._method.fields]
        return re.sub(r"`\$\[(\d+)\]", lambda found: f"`{names[int(found[1])]}", text, count=1)


def arguments_type(fields: Iterable[tuple[str, Any, Any]], *, array_like: bool = False) -> type[msgspec.Struct]:
    """The type of the arguments of a method with these `Method.fields`: a map by name, or an array."""
    return msgspec.defstruct(
        "Arguments",
        [_as_field(*field) for field in fields],
        array_like=array_like,
        forbid_unknown_fields=True,
        module=__name__,
    )


def _as_field(name: str, kind: object, default: object) -> tuple[Any, ...]:
    if default is inspect.Parameter.empty:
        return name, kind
    return name, kind, msgspec.field(default_factory=lambda: default)


@dataclass(frozen=True, eq=False)
class Service:
    """A class as others call it. There is one for a class, so that it may be the key of what is known of that."""

    name: str
    doc: str
    methods: dict[str, Method] = field(default_factory=dict)
    """By the names of the class's attributes."""


def services_of(implementation: object) -> list[Service]:
    """What an object implements: those of its bases that are marked with `service`, or otherwise its class."""
    if isinstance(implementation, type):
        raise TypeError(f"an object is served, not a class: {implementation.__name__}(), perhaps")
    cls: type = type(implementation)
    return [describe(base) for base in cls.__mro__ if _MARK in vars(base)] or [describe(cls)]


@cache
def describe(cls: type) -> Service:
    """The service that a class describes. Raises TypeError for one that cannot be called from elsewhere."""
    methods = {}
    for attribute in dir(cls):
        function = inspect.getattr_static(cls, attribute)
        if not attribute.startswith("_") and inspect.isfunction(function):
            methods[attribute] = _method(cls, attribute, function)
    if not methods:
        raise TypeError(f"{cls.__name__} has no public methods")
    doc = inspect.cleandoc(vars(cls).get("__doc__") or "")  # its own: a Protocol's says nothing of the service
    return Service(vars(cls).get(_MARK, cls.__name__), doc, methods)


def _method(cls: type, attribute: str, function: Callable[..., Any]) -> Method:
    name = f"{vars(cls).get(_MARK, cls.__name__)}.{attribute}"
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(f"{name}: {error} where its type hints are read: import it outside of TYPE_CHECKING") from None
    written = inspect.signature(function)
    parameters = list(written.parameters.values())[1:]
    fields: list[tuple[str, Any, Any]] = []
    streams: list[int] = []
    takes_items, items = None, Any
    for place, parameter in enumerate(parameters):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            stars = "**" if parameter.kind is parameter.VAR_KEYWORD else "*"
            raise TypeError(f"{name}: a method that is called from elsewhere has no {stars}{parameter.name}")
        kind = _hint(hints, parameter.name, name)
        if get_origin(kind) in ITERATORS:
            if takes_items is not None:
                raise TypeError(f"{name}: only one parameter can be an iterator")
            takes_items, items = place, get_args(kind)[0]
            continue
        if kind is Stream:
            streams.append(len(fields))
            kind = StreamId
        fields.append((parameter.name, kind, parameter.default))
    result = _hint(hints, "return", name)
    gives_items = get_origin(result) in ITERATORS
    if gives_items and inspect.iscoroutinefunction(function):
        raise TypeError(f"{name}: a method without a body that gives an iterator is a `def`, not an `async def`")
    if not gives_items and not inspect.iscoroutinefunction(function):
        raise TypeError(f"{name}: it is neither async, nor does it give an AsyncIterator")
    gives_stream = result is Stream
    method = Method(
        name=name,
        attribute=attribute,
        doc=inspect.getdoc(function) or "",
        signature=written.replace(parameters=parameters),
        fields=tuple(fields),
        result=get_args(result)[0] if gives_items else StreamId if gives_stream else result,
        gives_items=gives_items,
        takes_items=takes_items,
        items=items,
        takes_streams=tuple(streams),
        gives_stream=gives_stream,
        idempotent=hasattr(function, _IDEMPOTENT),
    )
    try:
        method.msgpack  # noqa: B018 - made now, so that a type that cannot be sent is an error here
    except Exception as error:  # msgspec looks into the types, too
        raise TypeError(f"{name}: {error}") from None
    return method


def _hint(hints: dict[str, Any], parameter: str, name: str) -> Any:  # noqa: ANN401 - any type
    try:
        kind = hints[parameter]
    except KeyError:
        what = "its result" if parameter == "return" else repr(parameter)
        raise TypeError(f"{name}: {what} has no type hint") from None
    return None if kind is type(None) else kind
