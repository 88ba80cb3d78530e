"""Authentication: TLS, the greeting, and the users that there are."""

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
        """Users and certificates for connections that come from now on."""
        self.context, self.users = who.context, who.users
        self.wants_user, self._by_certificate = who.wants_user, who.by_certificate

    async def read(self, stream: muxpy.Stream) -> Message:
        """Read a greeting. Raises NotWelcome if it is none."""
        try:
            if stream.stream_type != Purpose.HELLO:
                raise WireError("it did not say who it is")
            message, _ = await receive_message(stream)
        except WireError as error:
            stream.reset(muxpy.ErrorCode.PROTOCOL_ERROR)
            raise NotWelcome(str(error)) from None
        except trio.BrokenResourceError as error:
            raise NotWelcome(f"it went away: {describe(error)}", "left") from error
        return message

    def recognise(self, session: muxpy.Session, stream: muxpy.Stream, message: Message) -> Greeting:
        """Who has sent a greeting. Raises Refused if nobody who may come in, NotWelcome if it is no greeting."""
        try:
            return self._recognise(session, stream, message)
        except WireError as error:
            stream.reset(muxpy.ErrorCode.PROTOCOL_ERROR)
            raise NotWelcome(str(error)) from None

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
        if token is not None and self.wants_user:
            # No token has others than printable characters, and some of those cannot even be encoded to be hashed.
            user = self.users.by_token(token) if token.isprintable() else None
            if user is None:
                raise Refused("forbidden", "the token is not known here")
            return user
        if self._by_certificate and session.tls is not None:
            names = certificate_names(session.tls)
            user = self.users.by_certificate(names)
            if user is not None:
                return user
            if self.wants_user:
                raise Refused("forbidden", f"no user is called {' or '.join(names) or 'as the certificate says'}")
            return _named_by_certificate(names)
        if self.wants_user:
            raise Refused("forbidden", "it takes a token: set MUXPY_TOKEN, or give --token-file")
        return None


def _named_by_certificate(names: list[str]) -> User | None:
    """Nobody is listed, so everybody whose certificate the CA has signed may come in, with what all may do."""
    return User(name=names[0]) if names else None
