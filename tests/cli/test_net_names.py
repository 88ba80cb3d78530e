"""Names: only looked up if a rule could allow them, by turns, and never to where their DNS must not lead."""

from __future__ import annotations

import gc
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from muxpy_cli._errors import Failure
from muxpy_cli._options import ConnectOptions
from muxpy_cli.access import Rules, is_own, parse_bind_rule, parse_target_rule
from muxpy_cli.client._session import Credentials, log_in
from muxpy_cli.net import _resolve, all_but_ourselves, allow_all, connect_datagrams, connect_socket, lookups_of, resolve
from muxpy_cli.server._usage import UserPolicy
from muxpy_cli.specs import Address
from muxpy_cli.wire import Refused
from tests.helpers.tasks import LIMIT, read_all

from .program import Server, echo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muxpy_cli.net import Policy


class Dns:
    """Stands in for getaddrinfo: what names lead to, and what was asked."""

    def __init__(self, **names: str) -> None:
        self.names = names
        self.asked: list[str] = []
        self.answering = threading.Event()
        """Names that begin with `slow` are answered after this."""
        self.is_file = False
        """It knows no names that end with a dot."""

    def __call__(self, host: str, *_: object, **__: object) -> list[Any]:
        self.asked.append(host)
        if host.startswith("slow"):
            self.answering.wait(LIMIT)
        found = self.names.get(host.partition(".")[0], "").split()
        if not found or (self.is_file and host.endswith(".")):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(None, None, 0, "", (address, 0)) for address in found]


@contextmanager
def dns(monkeypatch: pytest.MonkeyPatch, **names: str) -> Iterator[Dns]:
    one = Dns(**names)
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", one)
        try:
            yield one
        finally:
            one.answering.set()


def user(*rules: str, binds: tuple[str, ...] = (), name: str = "alice") -> UserPolicy:
    allowed = Rules(targets=tuple(map(parse_target_rule, rules)), binds=tuple(map(parse_bind_rule, binds)))
    return UserPolicy(name, allowed)


async def refusal(host: str, port: int, policy: Policy) -> Refused:
    """Why a target is refused, by TCP as by UDP."""
    reasons = []
    for connect in (connect_socket, connect_datagrams):
        with pytest.raises(Refused) as caught:
            await connect(Address(host, port), policy)
        reasons.append(caught.value)
    assert str(reasons[0]) == str(reasons[1])
    return reasons[0]


# ---- Which are looked up ----


@pytest.mark.parametrize("rule", ["db.internal:5432", "*.internal:80", "10.0.0.0/8:81", "*:81", "localhost:81"])
async def test_a_name_that_no_rule_could_allow_is_not_looked_up(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with dns(monkeypatch, x="10.0.0.5") as names:
        refused = await refusal("x.attacker", 80, user(rule))
        assert refused.error == "forbidden"
        assert str(refused) == f"x.attacker:80 is not in allow = {rule} of alice"
        assert names.asked == []


@pytest.mark.parametrize("rule", ["10.0.0.0/8:80", "127.0.0.1:80", "[fd00::/8]:*", "localhost:80"])
async def test_a_name_that_may_lead_to_what_a_rule_allows_is(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with dns(monkeypatch, x="11.7.7.7 2001:db8::7") as names:
        refused = await refusal("x.attacker", 80, user(rule))
        assert refused.error == "forbidden"
        assert str(refused) == f"x.attacker:80 is not in allow = {rule} of alice"  # and not where it leads
        assert names.asked == ["x.attacker"] * 2


async def test_a_name_that_leads_to_this_machine_is_refused_without_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with dns(monkeypatch, db="127.7.7.7"):
        refused = await refusal("db.internal", 80, user("db.internal:80"))
        assert refused.error == "forbidden"
        assert "127.7.7.7" not in str(refused)


# ---- Turns ----


async def test_slow_names_of_one_user_leave_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there are threads, which no longer stand in the way of anybody else."""
    slow, quick = user("*:*", name="slow one"), user("*:*", name="quick one")
    with trio.fail_after(LIMIT):
        async with Server(echo) as target, trio.open_nursery() as nursery:
            with dns(monkeypatch, name="127.0.0.1") as names:
                for number in range(2 * _resolve.THREADS):
                    nursery.start_soon(connect_socket, Address(f"slow{number}", 80), slow)
                await trio.testing.wait_all_tasks_blocked()
                with await connect_socket(Address("name", target.port), quick):
                    pass
                assert len(names.asked) <= _resolve.SHARE + 1
                nursery.cancel_scope.cancel()


async def test_a_party_that_connects_again_has_the_same_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lookups that were given up count until their threads have ended."""
    with trio.fail_after(LIMIT), dns(monkeypatch) as names:
        for _ in range(3):
            policy = user("*:*", name="comes again")
            async with trio.open_nursery() as nursery:
                for number in range(_resolve.SHARE):
                    nursery.start_soon(connect_socket, Address(f"slow{number}", 80), policy)
                while len(names.asked) < _resolve.SHARE:  # noqa: ASYNC110 - threads ask
                    await trio.sleep(0.01)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            del policy
            gc.collect()
        assert len(names.asked) == _resolve.SHARE
    while lookups_of("comes again")._share.borrowed_tokens:  # noqa: ASYNC110 - threads give them back
        await trio.sleep(0.01)
    gc.collect()
    assert "comes again" not in _resolve._of_users


@pytest.mark.parametrize("policy", [allow_all, all_but_ourselves])
async def test_targets_do_not_keep_this_ends_own_lookups_waiting(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with trio.fail_after(LIMIT), dns(monkeypatch, server="192.0.2.7"):
        async with trio.open_nursery() as nursery:
            for number in range(2 * _resolve.THREADS):
                nursery.start_soon(connect_socket, Address(f"slow{number}", 80), policy)
            await trio.testing.wait_all_tasks_blocked()
            assert await resolve("server") == ("192.0.2.7",)
            nursery.cancel_scope.cancel()
    while policy.lookups._share.borrowed_tokens:  # noqa: ASYNC110 - for the next test
        await trio.sleep(0.01)


async def test_without_another_thread_a_name_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may allow a few only."""

    async def start(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(trio.to_thread, "run_sync", start)
    refused = await refusal("db.internal", 80, user("*:*"))
    assert refused.error == "unresolved"
    assert str(refused) == "db.internal:80: resource temporarily unavailable"


# ---- What they may lead to ----


async def test_localhost_takes_no_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    with dns(monkeypatch) as names:
        for host in ("localhost", "LOCALHOST.", "web.localhost", "Web.Localhost."):
            assert await resolve(host) == ("127.0.0.1", "::1")
        assert names.asked == []


async def test_a_complete_name_may_stand_in_a_hosts_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS knows names with a dot at the end, a hosts file does not."""
    with dns(monkeypatch, x="10.0.0.5") as names:
        assert await resolve("x.example.") == ("10.0.0.5",)
        assert names.asked == ["x.example."]
    with dns(monkeypatch, x="10.0.0.5") as names:
        names.is_file = True
        assert await resolve("x.example.") == ("10.0.0.5",)
        assert names.asked == ["x.example.", "x.example"]


def test_which_addresses_are_this_machines_own() -> None:
    assert is_own("127.0.0.1")
    assert is_own("::ffff:127.0.0.1")
    assert not is_own("198.51.100.7")
    assert not is_own("2001:db8::7")
    assert not is_own("fe80::7%nowhere")
    assert not is_own("255.255.255.255")


def test_where_it_cannot_be_asked_an_address_counts_as_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> None:
        raise OSError(24, "too many open files")

    monkeypatch.setattr(socket, "socket", none_left)
    assert is_own("198.51.100.7")


# ---- The way to the server ----


async def test_a_name_is_connected_to_where_it_was_found_to_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without TLS only loopback is connected to. Looked up again, the name may lead elsewhere, with the token."""
    visits = {"127.0.0.1": 0, "127.0.0.9": 0}

    def flip(host: str, port: object, *_: object, **__: object) -> list[Any]:
        address = "127.0.0.1" if not asked else "127.0.0.9"
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port or 0))]

    async def visit(stream: trio.SocketStream) -> None:
        visits[stream.socket.getsockname()[0]] += 1
        await stream.send_all(b"SSH-2.0-OpenSSH_9.2\r\n")
        await read_all(stream)  # closed with something unread, it would be reset

    asked: list[str] = []
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="0.0.0.0")
            nursery.start_soon(trio.serve_listeners, visit, listeners)
            monkeypatch.setattr(socket, "getaddrinfo", flip)
            options = ConnectOptions(address=Address("flip.test", listeners[0].socket.getsockname()[1]))
            with pytest.raises(Failure, match="does not answer as a muxpy"):
                async with log_in(options, Credentials(options)):
                    pass
            nursery.cancel_scope.cancel()
    assert asked == ["flip.test"]
    assert visits == {"127.0.0.1": 1, "127.0.0.9": 0}


async def test_one_address_off_loopback_is_enough_to_want_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    with dns(monkeypatch, server="127.0.0.1 192.0.2.7"):
        options = ConnectOptions(address=Address("server", 9))
        with pytest.raises(Failure, match="server:9 is another machine") as caught:
            async with log_in(options, Credentials(options)):
                pass
        assert caught.value.exit_code == 2
