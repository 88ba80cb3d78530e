"""One authenticated session with a listening end."""

from __future__ import annotations

import math
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

import muxpy

from .._errors import NOT_ALLOWED, Failure, Unreachable, describe, innermost
from .._identity import client_id, process_id, program_version
from ..access import check_fingerprint, client_context, read_token, require_connect_protection
from ..net import connect_first, resolve
from ..relay import RESET_RATE, ask_peer, session_streams
from ..wire import Purpose, Refused, WireError, unpack_integer
from ._retrying import telling_progress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .._options import ConnectOptions
    from .._tracing import Trace
    from ._retrying import Attempt, Tell

__all__ = ["Credentials", "leave", "log_in", "reach", "refusal_verb"]

CONNECT_TIMEOUT: Final = 10.0
"""Seconds for the connection and the TLS handshake."""

HELLO_TIMEOUT: Final = 15.0
"""Seconds for the answer to HELLO: the listening end answers or closes within ten, however busy it is."""

LEAVING: Final = 1.0
"""Seconds to send GOAWAY, and for the other end to close."""

OTHER_PIN: Final = "the certificate here is not the one that it was told to expect (--fingerprint)"
"""What the listening end is told if the pinned certificate differs."""

MOST_STREAMS: Final = 65_536
"""The most connections over one session to our remote forwards, whatever the listening end says: each takes memory."""

_NOT_TRUSTED: Final = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    "TLSV1_ALERT_UNKNOWN_CA",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED",
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    "SSLV3_ALERT_HANDSHAKE_FAILURE",
}
"""OpenSSL's names for the alerts of a listening end that does not accept our certificate."""

_OTHER_NAME: Final = {62, 64}
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH: the certificate is for another name or address."""


class Credentials:
    """The client's credentials: read once for all sessions, and again at a reload."""

    def __init__(self, options: ConnectOptions, before: Credentials | None = None) -> None:
        """May ask for the token on the terminal, unless `before` has it. Raises Failure if a file cannot be used."""
        self.context = client_context(options.tls) if options.tls is not None else None
        ask = str(options.address) if options.ask_token else None
        self.token: str | None = before.token if before is not None and ask else read_token(options.token_file, ask)
        self.client = client_id(str(options.address))


@asynccontextmanager
async def log_in(
    options: ConnectOptions,
    credentials: Credentials | None = None,
    *,
    slot: int = 0,
    trace: Trace | None = None,
    tell: Tell | None = None,
) -> AsyncIterator[muxpy.Session]:
    """A session that is connected and authenticated in both directions. `tell` is called with a sentence if that takes
    long. Raises Unreachable if it may work later, otherwise Failure."""
    credentials = credentials or Credentials(options)
    async with (
        telling_progress(tell) as attempt,
        _connected(options, credentials.context, trace, attempt, "`muxpy listen`") as session,
    ):
        await _check_pin(session, options)
        attempt.step(_waits_for_answer(options))
        async with _left_in_order(session):
            try:
                await _say_hello(session, options, credentials, slot)
            finally:
                attempt.done()  # it has answered, or will not
            yield session


@asynccontextmanager
async def reach(options: ConnectOptions, tell: Tell | None = None) -> AsyncIterator[muxpy.Session]:
    """A session with something else than this program: it is connected, and the other end has proved who it is.
    Otherwise like `log_in`."""
    context = client_context(options.tls) if options.tls is not None else None
    async with telling_progress(tell) as attempt, _connected(options, context, None, attempt, None) as session:
        await _check_pin(session, options)
        attempt.done()
        yield session


async def _check_pin(session: muxpy.Session, options: ConnectOptions) -> None:
    if options.tls is None or options.tls.fingerprint is None or session.tls is None:
        return
    try:
        check_fingerprint(session.tls, options.tls.fingerprint)
    except Failure:
        await leave(session, OTHER_PIN)  # otherwise its log would only show a client that comes and goes
        raise


@asynccontextmanager
async def _left_in_order(session: muxpy.Session) -> AsyncIterator[None]:
    """A Failure in the block ends the session in order: otherwise the other end would take it for lost."""
    try:
        yield
    except Failure:
        await leave(session)
        raise


async def leave(session: muxpy.Session, why: str = "") -> None:
    """Send GOAWAY with the reason to an end that may not listen any more."""
    session.go_away(debug=why.encode())
    with trio.move_on_after(LEAVING):
        await session.aclose()


@asynccontextmanager
async def _connected(
    options: ConnectOptions,
    context: ssl.SSLContext | None,
    trace: Trace | None,
    attempt: Attempt,
    program: str | None,
) -> AsyncIterator[muxpy.Session]:
    """`program` is what should be running there, as far as it is known."""
    address = options.address
    name = options.tls.name if options.tls is not None else None
    deadline = trio.current_time() + CONNECT_TIMEOUT
    is_open = False
    try:
        with trio.CancelScope(deadline=deadline) as limit:
            stream = await _reach(options, deadline, attempt)
            attempt.step(f"connected to {address}; waiting for its answer to the TLS handshake")
            async with muxpy.open_session(
                stream,
                client=True,
                ssl_context=context,
                server_hostname=name or address.host,
                config=muxpy.SessionConfig(drain_timeout=options.drain, reset_rate=RESET_RATE, trace=trace),
            ) as session:
                limit.deadline = math.inf
                is_open = True
                yield session
    except (OSError, UnicodeError, trio.BrokenResourceError) as error:
        if is_open:
            raise
        raise _not_connected(options, error, program) from error
    if limit.cancelled_caught:
        raise Unreachable(f"cannot connect to {address}: no answer within {CONNECT_TIMEOUT:g} seconds")


async def _reach(options: ConnectOptions, deadline: float, attempt: Attempt) -> trio.SocketStream:
    """Connect to one of the addresses that were checked: another lookup might lead elsewhere."""
    attempt.step(f"still looking up the name of {options.address}")
    addresses = await resolve(options.address.host)
    require_connect_protection(options.address, addresses, tls=options.tls is not None, insecure=options.insecure)
    attempt.step(f"still trying to connect to {options.address}: nothing has answered at {', '.join(addresses)}")
    connection = await connect_first(addresses, options.address.port, deadline)
    return trio.SocketStream(trio.socket.from_stdlib_socket(connection))


def _not_connected(options: ConnectOptions, error: BaseException, program: str | None) -> Failure:
    message = f"cannot connect to {options.address}: {describe(error)}"
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = "--tls-ca trusts a CA, --fingerprint one certificate"
        if error.verify_code in _OTHER_NAME:
            hint = "--tls-name says which name it must have, --fingerprint trusts one certificate"
        return Failure(f"{message} ({hint})", NOT_ALLOWED)
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        return Failure(message, NOT_ALLOWED if error.reason in _NOT_TRUSTED else 1)
    if program is not None and isinstance(innermost(error), ConnectionRefusedError):
        message += f" (is {program} running there?)"
    return Unreachable(message)


def _waits_for_answer(options: ConnectOptions) -> str:
    others = "it is no muxpy listen" + (", or it wants --tls" if options.tls is None else "")
    return (
        f"connected to {options.address}; waiting for its first answer: the token is wrong or missing (it says so after"
        f" 2 s), it has too much to do, or {others}"
    )


async def _say_hello(session: muxpy.Session, options: ConnectOptions, credentials: Credentials, slot: int) -> None:
    """Authenticate, and find out now, not with the first connection, whether a muxpy listens there."""
    hello = {"program": f"muxpy {program_version()}", "client": credentials.client, "process": process_id, "slot": slot}
    if credentials.token is not None:
        hello["token"] = credentials.token
    try:
        # Closed in any case: a refusal is over when this end has closed its direction, too, and the session with it.
        async with await session.open_stream(stream_type=Purpose.HELLO) as stream:
            answer = await ask_peer(stream, hello, HELLO_TIMEOUT)
        if not isinstance(answer.get("user"), str):
            raise WireError("its answer names no user; does it send back what it receives?")
        if "streams" in answer:  # the connections that we may have, those of remote forwards included
            count = min(unpack_integer(answer, "streams"), MOST_STREAMS)
            session.allow_streams(session_streams(count))
    except Refused as refused:
        kind = Unreachable if refused.error == "in use" else Failure
        code = NOT_ALLOWED if refused.error == "forbidden" else 1
        raise kind(f"{options.address} refuses: {refused}", code) from refused
    except (trio.BrokenResourceError, trio.TooSlowError, WireError) as error:
        raise _no_hello(session, options, error) from error


def refusal_verb(refused: Refused) -> str:
    """The words between "the other end" and the reason why it did not accept a connection."""
    return {"forbidden": "does not allow it:", "limit": "takes no more:"}.get(refused.error, "cannot reach")


def _no_hello(session: muxpy.Session, options: ConnectOptions, error: BaseException) -> Failure:
    cause = error.end.error if isinstance(error, muxpy.SessionClosed) and error.end is not None else error
    if isinstance(cause, ssl.SSLError) and cause.reason in _NOT_TRUSTED:
        what = (
            "wants a client certificate that it knows"
            if options.tls and not options.tls.cert
            else "does not trust our certificate"
        )
        return Failure(f"{options.address} {what} (--tls-cert, --tls-key): {describe(cause)}", NOT_ALLOWED)
    hint = " (does it want --tls?)" if options.tls is None and _said_nothing(error) else ""
    if isinstance(cause, muxpy.HeartbeatLost | trio.TooSlowError):
        # Silence proves nothing: it, or this machine, may be overloaded.
        text = describe(cause).removeprefix("the peer is dead: ")
        return Unreachable(f"{options.address} does not answer: {text}{hint}")
    if options.tls is not None and isinstance(cause, trio.BrokenResourceError):
        # The certificates were fine: it may be overloaded, or shutting down.
        return Unreachable(f"{options.address} has closed the connection: {describe(error)}")
    if isinstance(cause, ConnectionError):
        # This happens to a client that has to make room in a crowd, as when all clients of a restarted server return.
        return Unreachable(f"{options.address} has closed the connection without an answer{hint}")
    text = describe(error).removesuffix("; does it expect TLS?")  # the program has its own words for that
    return Failure(f"{options.address} does not answer as a muxpy: {text}{hint}")


def _said_nothing(error: BaseException) -> bool:
    """Whether the other end only waited or closed the connection, as one that requires TLS does."""
    if isinstance(error, muxpy.SessionClosed):
        return error.end is None or not isinstance(error.end.error, muxpy.ProtocolError)
    return isinstance(error, trio.TooSlowError)
