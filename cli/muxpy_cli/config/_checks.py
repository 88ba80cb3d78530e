"""What shows only when values are taken together, or when the files that they name are read."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from .._errors import Failure
from ..access import (
    ClientTls,
    Protection,
    ServerTls,
    certificate_warning,
    client_context,
    key_file_warning,
    known_addresses,
    missing_protection,
    server_context,
    token_file_warning,
    users_file_warning,
)
from ..specs import ALL_INTERFACES, Address, Direction, Kind
from ._document import ConfigError, Document
from ._schema import Section
from ._users import read_token_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ..access import User
    from ..specs import Endpoint, Forward
    from ._positions import Where

__all__ = ["asks_for_certificates", "check_connect", "check_listen", "client_tls", "server_tls"]

_WRONG_KEY: Final = "the key does not belong to the certificate"

_ALL: Final = {"4": "0.0.0.0", "6": "::"}


def check_listen(document: Document, root: Section, users: tuple[User, ...]) -> None:
    """Note what is wrong in a file for the listening end."""
    listen: Section = root["listen"]
    if "forwards" in root.given:
        document.wrong(("forwards",), "forwards belong in the file of the connecting end, with [connect]", at_key=True)
    _check_bindings(document, root)
    _check_reach(document, listen)
    if isinstance(tls := listen.get("tls"), Section):
        _check_pair(document, tls)
        _check_ca(document, tls, "client-ca")
    _warn_without_rules(document, listen, users)
    if "tokens" in listen:
        _check_token_file(document, listen, users)


def check_connect(document: Document, root: Section) -> None:
    """Note what is wrong in a file for the connecting end."""
    connect: Section = root["connect"]
    if "users" in root.given:
        document.wrong(("users",), "users belong in the file of the listening end, with [listen]", at_key=True)
    _check_bindings(document, root)
    if "server" in connect:
        _check_server(document, connect)
    if isinstance(tls := connect.get("tls"), Section):
        _check_client_tls(document, tls)
    if "token-file" in connect and (warning := token_file_warning(connect["token-file"])):
        document.warn(connect.way("token-file"), warning)
    if not document.data.get("forwards"):
        document.warn(connect.where, "there are no forwards; add a table such as [forwards.web]")


def asks_for_certificates(listen: Section) -> bool:
    """Whether clients may show a certificate, in place of a token."""
    return "client-ca" in getattr(listen.get("tls"), "given", ())


def server_tls(section: Section) -> ServerTls:
    """[listen.tls] as options."""
    return ServerTls(**section.pick(cert="cert", key="key", client_ca="client-ca"))


def client_tls(section: Section) -> ClientTls:
    """[connect.tls] as options."""
    return ClientTls(**section.pick(ca="ca", name="name", fingerprint="fingerprint", cert="cert", key="key"))


def _check_reach(document: Document, listen: Section) -> None:
    """Off loopback, TLS and users are required unless it is said that they are not wanted."""
    if "address" not in listen:
        return
    missing = missing_protection(
        known_addresses(listen["address"].host),
        tls="tls" in listen.given,
        users=asks_for_certificates(listen) or "tokens" in listen.given or bool(document.data.get("users")),
        insecure=_is_insecure(listen),
    )
    reach = f"other machines can reach {listen['address']}"
    if Protection.TLS in missing:
        document.wrong(
            listen.way("address"), f"{reach}, and there is no TLS; add [listen.tls] with cert, or insecure = true"
        )
    if Protection.USERS in missing:
        document.wrong(
            listen.way("address"),
            f"{reach}, and there are no users; add tokens, tables such as [users.alice], or insecure = true",
        )


def _is_insecure(section: Section) -> bool:
    """Whether the file says so; if it says something else there, that is the one problem."""
    return bool(section.get("insecure", "insecure" in section.given))


def _check_server(document: Document, connect: Section) -> None:
    server = connect["server"]
    if missing_protection(known_addresses(server.host), tls="tls" in connect.given, insecure=_is_insecure(connect)):
        document.wrong(
            connect.way("server"),
            f"{server} is another machine, and there is no TLS; add [connect.tls], or insecure = true",
        )


def _check_client_tls(document: Document, tls: Section) -> None:
    if "key" in tls.given and "cert" not in tls.given:
        document.wrong(tls.way("key"), "a key needs its certificate; add cert, or leave the key out", at_key=True)
    _check_pair(document, tls)
    _check_ca(document, tls, "ca")
    if "fingerprint" in tls.given:
        for name in sorted({"ca", "name"} & tls.given):
            document.warn(tls.way(name), f"with a fingerprint, {name} does not count; leave one of them out")


def _check_pair(document: Document, tls: Section) -> None:
    """Whether certificate and key can be used together, and for how long."""
    if "cert" not in tls or "key" in tls.given - tls.keys():
        return
    try:
        server_context(ServerTls(**tls.pick(cert="cert", key="key")))  # a client's pair is loaded in the same way
        age = certificate_warning(tls["cert"])
    except Failure as failure:
        message = str(failure).replace("--tls-key", "key")  # access speaks of the command line's options
        document.wrong(tls.way("key" if message.endswith(_WRONG_KEY) else "cert"), message)
        return
    if age is not None:
        note = document.warn if age.startswith("expires") else document.wrong
        note(tls.way("cert"), f"the certificate in {tls['cert']} {age}; renew it, or check this machine's clock")
    with_key = "key" if "key" in tls else "cert"
    if (warning := key_file_warning(tls[with_key])) is not None:
        document.warn(tls.way(with_key), warning)


def _check_ca(document: Document, tls: Section, name: str) -> None:
    if name in tls:
        try:
            client_context(ClientTls(ca=tls[name]))  # the certificates of a client CA are loaded in the same way
        except Failure as failure:
            document.wrong(tls.way(name), str(failure))


def _check_token_file(document: Document, listen: Section, users: Iterable[User]) -> None:
    """The token file that this file names is judged with it."""
    path: Path = listen["tokens"]
    try:
        tokens = Document.read(path)
    except ConfigError as error:
        document.include(error.problems)
        return
    found = read_token_file(tokens, beside=users, by_certificate=asks_for_certificates(listen))
    _warn_without_rules(tokens, listen, found)
    document.include(tokens.problems, tokens.warnings)
    if warning := users_file_warning(path):
        document.warn(listen.way("tokens"), warning)
    if not (users or found or tokens.problems):
        # No mistake: when the last one was revoked, a reload must not go on with the users that were.
        document.warn(listen.way("tokens"), "there are no users in it, so nobody may connect: `muxpy token new NAME`")


def _warn_without_rules(document: Document, listen: Section, users: Iterable[User]) -> None:
    if {"allow", "allow-bind"} & listen.given:
        return
    tables = document.data.get("users", {})
    bare = [user.name for user in users if not {"allow", "allow-bind"} & tables[user.name].keys()]
    if bare:  # one line for all of them: a token file may have thousands
        others = f", nor for {len(bare) - 1} more" if len(bare) > 1 else ""
        document.warn(
            ("users", bare[0]),
            f"no rules, here or in [listen]{others}: only loopback addresses of the listening end are allowed",
        )


@dataclass(frozen=True, slots=True)
class _Binding:
    where: Where
    """The value that says it."""
    end: Direction
    """LOCAL: this end."""
    udp: bool
    endpoint: Endpoint


def _check_bindings(document: Document, root: Section) -> None:
    """Note each address that is bound a second time, at the second place."""
    bindings = [*_forwards(document, root), *_others(root)]
    for first, second in combinations(bindings, 2):
        if (first.end, first.udp) == (second.end, second.udp) and _overlap(first.endpoint, second.endpoint):
            other = ".".join(map(str, first.where))
            document.wrong(
                second.where,
                f"{second.endpoint} is bound by {other}, too ({document.place(first.where)}); take another",
            )


def _forwards(document: Document, root: Section) -> list[_Binding]:
    forwards: dict[str, Forward] = root.get("forwards", {})
    return [
        _Binding(_bind_way(document, name), forward.direction, forward.kind is Kind.UDP, forward.bind)
        for name, forward in forwards.items()
    ]


def _bind_way(document: Document, name: str) -> Where:
    raw: Any = document.data["forwards"][name]
    return ("forwards", name, "listen") if isinstance(raw, dict) else ("forwards", name)


def _others(root: Section) -> list[_Binding]:
    ways = [(table, *rest) for table in ("listen", "connect") for rest in (("address",), ("output", "metrics"))]
    found = []
    for way in ways:
        value: Any = root
        for name in way:
            value = value.get(name, {})
        if isinstance(value, Address):
            found.append(_Binding(way, Direction.LOCAL, False, value))
    return found


def _overlap(one: Endpoint, other: Endpoint) -> bool:
    if not isinstance(one, Address) or not isinstance(other, Address):
        return one == other
    if one.port != other.port or one.port == 0:  # 0 is any free port
        return False
    return _covers(one.host, other.host) or _covers(other.host, one.host)


def _covers(one: str, other: str) -> bool:
    """Whether to bind `one` is to bind `other` with it."""
    ones, others = (known_addresses(host) or (host.lower(),) for host in (one, other))
    everywhere = {_ALL["6" if ":" in host else "4"] for host in others}
    return one == ALL_INTERFACES or one in everywhere or not set(ones).isdisjoint(others)
