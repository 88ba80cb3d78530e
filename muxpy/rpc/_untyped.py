"""Calls without the class of a service: text in, text out, both JSON."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import msgspec

from ._alone import CUT, ItemSender, open_call, unavailable
from ._client import error_of, time_left
from ._endpoint import endpoint_of
from ._errors import Code, Error, Unavailable
from ._reading import MessageReader
from ._wire import IN_JSON, JSON, Kind, pack

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Mapping

    from muxpy import Session

    from ._wire import Message

__all__ = ["call_json"]


async def call_json(
    session: Session,
    method: str,
    arguments: str = "{}",
    *,
    items: AsyncIterable[str] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> AsyncGenerator[str, None]:
    """Call a method by its name, as in "Calculator.add", without having the class of its service:

        async for text in rpc.call_json(session, "Calculator.add", '{"a": 1, "b": 2}'):
            print(text)

    All values are JSON: `arguments` an object with the names of the parameters, or an array; `items` those of the
    parameter that is an async iterator. It gives the result, or one item after another, each on a line of its own. The
    other side looks at the types, and sees what JSON has no words for as text: bytes in base64, times in ISO 8601.

    Raises ValueError for what is no JSON, before it is sent, and otherwise what calls of a `client` raise. A call that
    was refused is not made again. Leave the loop early with `contextlib.aclosing` around it: that ends the call.
    """
    encoded = _checked(arguments)
    if encoded[:1] not in (b"{", b"["):
        raise ValueError(f"arguments are a JSON object or array, not {arguments}")
    endpoint = endpoint_of(session)
    request = JSON.encode([method, msgspec.Raw(encoded), time_left(), dict(metadata or {})])
    message = pack(Kind.CALL | IN_JSON, 0, request)
    if items is None:  # in case that the method takes some
        message += pack(Kind.END, 0)
    stream = await open_call(session, 0, message, last=items is None)
    sender = ItemSender(session, stream, items, _checked) if items is not None else None
    try:
        with closing(MessageReader(stream, endpoint.budget)) as reader:
            while (answer := await reader.next()) is not None:
                if answer[0] == Kind.END:
                    return
                yield _text(answer)
                if answer[0] == Kind.RESULT:
                    return
        raise Unavailable("the other side has broken the call off")
    except CUT as error:
        if sender is not None and sender.error is not None:
            raise sender.error from None
        raise unavailable(error) from error
    finally:
        stream.reset()  # no effect if both directions have ended
        if sender is not None:
            await sender.stopped()


def _text(message: Message) -> str:
    """What an answer says. Raises the Error that it is."""
    kind, _, body = message
    if kind not in (Kind.RESULT, Kind.ITEM):
        raise error_of(kind, body, JSON)
    try:
        return _checked(body).decode()
    except ValueError as error:
        raise Error(f"the answer is no JSON: {error}", code=Code.INTERNAL) from error


def _checked(text: str | bytes) -> bytes:
    """The same JSON on one line. Raises ValueError for anything else."""
    try:
        return bytes(msgspec.json.format(text if isinstance(text, bytes) else text.encode(), indent=-1))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
