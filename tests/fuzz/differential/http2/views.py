"""What applications see of exchanges, by what must be the same; and where Go's may differ, with the reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .plan import content, shown_content

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .plan import Exchange, Field

__all__ = ["View", "common", "expected_by_client", "expected_by_server"]


@dataclass(frozen=True)
class View:
    """What one application saw of one exchange."""

    number: int
    method: str = ""
    path: str = ""
    authority: str = ""
    status: int = 0
    """0: no head has come."""
    fields: tuple[Field, ...] = ()
    length: int = -1
    """What content-length says; -1: nothing."""
    body: str = ""
    trailers: tuple[Field, ...] = ()
    end: str = "unread"
    """How what was received ended: clean, or why not; unread: it was not read; given up: by this end."""
    cut: bool = False
    """The peer has given up after that."""


NOT_COMPARED = ("date", "content-length", "trailer", "expect")
"""`date` is another each time. The others are hidden by net/http, which has what they say in fields of its own
(Request.ContentLength, Request.Trailer) or does it (`expect`), and may add them; `View.length` and `View.trailers` are
compared instead."""


def common(view: View, exchange: Exchange) -> View:
    """A view without what need not be the same.

    - net/http has fields in a map: names in another case, and no order but among the values of a name.
    - It joins the crumbs of a cookie, and cuts it into crumbs; RFC 9113, 8.2.3, says that both mean the same.
    - A message that ends with its head, and one that has nothing to send, may say or not say that its length is 0; and
      what does not know it beforehand may be small enough to be measured. So a length is compared where it was asked
      for.
    - Of what ended by a reset, more or less may have come before: it overtakes data.
    """
    asked = exchange.length and sum(exchange.body or ()) > 0 if view.method else exchange.response_length
    broken = view.end not in ("clean", "unread")
    return View(
        view.number,
        view.method,
        view.path,
        view.authority,
        view.status,
        _common_fields(view.fields),
        view.length if asked else -1,
        "" if broken else view.body,
        () if broken else _common_fields(view.trailers),
        view.end,
        view.cut,
    )


def _common_fields(fields: Iterable[Field]) -> tuple[Field, ...]:
    named = [(name.lower(), value) for name, value in fields if name.lower() not in NOT_COMPARED]
    cookies = "; ".join(value for name, value in named if name == "cookie")
    rest = [(name, value) for name, value in named if name != "cookie"]
    return tuple(sorted([*rest, *([("cookie", cookies)] if cookies else [])], key=lambda field: field[0]))


# ---- the model ----


def expected_by_server(exchange: Exchange) -> View | None:
    """What the application of a server must see; None: it tells nothing, as it has not seen the end."""
    if exchange.client_reset == "at any time":
        return None
    unread = exchange.answer == "unread"
    end = "unread" if unread else "reset CANCEL" if exchange.client_reset == "open" else "clean"
    return common(
        View(
            exchange.number,
            exchange.method,
            exchange.path,
            exchange.authority,
            fields=exchange.fields,
            length=sum(exchange.body or ()),
            body="" if unread else _whole(exchange, "client", exchange.body or ()),
            trailers=() if unread else exchange.trailers,
            end=end,
            cut=exchange.client_reset == "closed",
        ),
        exchange,
    )


def expected_by_client(exchange: Exchange) -> View:
    """What the application of a client must see."""
    if exchange.server_reset == 0:
        return View(exchange.number, end="reset INTERNAL_ERROR")
    if exchange.client_reset == "at any time":
        return View(exchange.number, end="given up")
    end = "reset INTERNAL_ERROR" if exchange.server_reset > 0 else "given up" if exchange.client_reset else "clean"
    return common(
        View(
            exchange.number,
            status=exchange.status,
            fields=exchange.response_fields,
            length=sum(exchange.response_body),
            body=_whole(exchange, "server", () if exchange.bodiless else exchange.response_body),
            trailers=exchange.response_trailers,
            end=end,
        ),
        exchange,
    )


def _whole(exchange: Exchange, end: Literal["client", "server"], sizes: Iterable[int]) -> str:
    return shown_content(content(exchange.number, end, 0, sum(sizes)))
