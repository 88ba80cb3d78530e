"""Authentication: TLS, the greeting, and the users that there are.

The greeting is the first stream of a session. So authentication happens inside the session, and inside TLS, and needs
no protocol of its own. Any other stream before the answer ends the session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

import muxpy

from .._errors import describe
from ..access import User, certificate_names, server_context
from ..config import load_users
from ..wire import Purpose, Refused, WireError, receive_message, unpack_integer, unpack_text
from ._turned_away import NotWelcome, Refusals

if TYPE_CHECKING:
    import ssl

    from .._options import ListenOptions
    from ..access import Users
    from ..wire import Message

__all__ = ["Door", "Greeting", "Welcome", "read_door"]


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a client has said, and who it turned out to be."""

    user: User | None
    client: str
    process: str
    slot: int
    stream: muxpy.Stream
    """On which it waits for the answer."""


@dataclass(frozen=True, slots=True)
class Welcome:
    """Who may come in: what the files say that the options name."""

    context: ssl.SSLContext | None
    users: Users
    wants_user: bool
    by_certificate: bool


def read_door(options: ListenOptions) -> Welcome:
    """Read users and certificates. Raises Failure if a file is not as it should be."""
    context = server_context(options.tls) if options.tls is not None else None
    users = load_users(options)
    return Welcome(
        context=context,
        users=users,
        # A file whose last user was revoked lets nobody in, not everybody.
        wants_user=options.tokens is not None or bool(users),
        by_certificate=options.tls is not None and options.tls.client_ca is not None,
    )


class Door:
    """Lets in those who may come in."""

    def __init__(self, options: ListenOptions) -> None:
        """Raises Failure if a file is not as it should be."""
        self.refusals = Refusals()
        self.strangers = muxpy.SessionGroup()
        """Those who have not said who they are: together they have one turn of the loop."""
        self.use(read_door(options))

    def use(self, who: Welcome) -> None:
        """For connections that come from now on."""
        self.who = who

    async def greet(self, session: muxpy.Session, stream: muxpy.Stream) -> Greeting:
        """Read a greeting. Raises NotWelcome if it is none, Refused if its sender may not come in."""
        try:
            if stream.stream_type != Purpose.HELLO:
                raise WireError("it did not say who it is")
            message, _ = await receive_message(stream)
            return self._recognise(session, stream, message)
        except WireError as error:
            stream.reset(muxpy.ErrorCode.PROTOCOL_ERROR)
            raise NotWelcome(str(error)) from None
        except trio.BrokenResourceError as error:
            raise NotWelcome(f"it went away: {describe(error)}", "left") from error

    def _recognise(self, session: muxpy.Session, stream: muxpy.Stream, message: Message) -> Greeting:
        token = unpack_text(message, "token", most=200)
        return Greeting(
            user=self._user(session, token),
            client=unpack_text(message, "client", most=64) or "",
            process=unpack_text(message, "process", most=64) or "",
            slot=unpack_integer(message, "slot", most=1000) if "slot" in message else 0,
            stream=stream,
        )

    def _user(self, session: muxpy.Session, token: str | None) -> User | None:
        who = self.who
        if token is not None and who.wants_user:
            # No token has others than printable characters, and some of those cannot even be encoded to be hashed.
            user = who.users.by_token(token) if token.isprintable() else None
            if user is None:
                raise Refused("forbidden", "the token is not known here")
            return user
        if who.by_certificate and session.tls is not None:
            names = certificate_names(session.tls)
            user = who.users.by_certificate(names)
            if user is not None:
                return user
            if who.wants_user:
                raise Refused("forbidden", f"no user is called {' or '.join(names) or 'as the certificate says'}")
            return _named_by_certificate(names)
        if who.wants_user:
            raise Refused("forbidden", "it takes a token: set MUXPY_TOKEN, or give --token-file")
        return None


def _named_by_certificate(names: list[str]) -> User | None:
    """Nobody is listed, so everybody whose certificate the CA has signed may come in, with what all may do."""
    return User(name=names[0]) if names else None
