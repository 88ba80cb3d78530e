"""What muxpy listens on for itself is reached by nobody through it, whatever the rules say."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
import trio

from muxpy_cli.access import Rules, parse_target_rule
from muxpy_cli.net import _policy, allow_all, connect_socket, guard
from muxpy_cli.server._usage import UserPolicy
from muxpy_cli.specs import Address, UnixPath
from muxpy_cli.wire import Purpose, Refused
from tests.helpers.tasks import LIMIT

from .faults.ends import admitted, started, tell, tunnel
from .faults.test_rules import socks_code
from .program import free_port

if TYPE_CHECKING:
    from pathlib import Path

EVERYTHING = UserPolicy("", Rules(targets=(parse_target_rule("*:*"), parse_target_rule("unix:/*/*/*/*"))))


async def is_refused(target: Address | UnixPath) -> bool:
    """Whether a user with all rights is refused what this end itself may reach."""
    with await connect_socket(target, allow_all):
        pass
    try:
        with await connect_socket(target, EVERYTHING):
            return False
    except Refused as refused:
        return refused.error == "forbidden" and "of muxpy itself, which no rule allows" in str(refused)


@pytest.mark.parametrize(
    ("bound", "reached"),
    [
        ("127.0.0.1", ["127.0.0.1", "localhost", "LocalHost.", "0.0.0.0", "::ffff:127.0.0.1", "::ffff:0.0.0.0"]),
        ("0.0.0.0", ["127.0.0.1", "127.9.9.9", "0.0.0.0", "::ffff:127.0.0.1"]),
        ("::1", ["::1", "::"]),
        ("::", ["::1", "::", "127.0.0.1", "::ffff:127.0.0.1"]),  # of both families
    ],
)
async def test_however_the_address_is_written(bound: str, reached: list[str]) -> None:
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    with socket.create_server((bound, 0), family=family, dualstack_ipv6=bound == "::") as one:
        targets = [Address(host, one.getsockname()[1]) for host in reached]
        assert [await is_refused(target) for target in targets] == [False] * len(targets)
        guard(one)
        assert [await is_refused(target) for target in targets] == [True] * len(targets)


async def test_nothing_else_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours, socket.create_server(("127.0.0.2", 0)) as other:
        guard(ours)
        with socket.create_server(("127.0.0.2", ours.getsockname()[1])) as same_port:
            for one in (other, same_port):
                assert not await is_refused(Address(*one.getsockname()))


async def test_a_wildcard_holds_for_the_addresses_of_interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_policy, "is_own", lambda address: address == "192.0.2.77")
    with socket.create_server(("0.0.0.0", 0)) as one:
        guard(one)
        port = one.getsockname()[1]
        assert _policy.is_guarded("192.0.2.77", port)
        assert not _policy.is_guarded("192.0.2.78", port)
        assert not _policy.is_guarded("192.0.2.77", port ^ 1)


async def test_a_place_that_is_free_again_is_not_guarded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        guard(one)
        port = one.getsockname()[1]
    with socket.create_server(("127.0.0.1", port)):
        assert not await is_refused(Address("127.0.0.1", port))


async def test_a_socket_by_any_path(tmp_path: Path) -> None:
    path, link, hard = (tmp_path / name for name in ("control", "link", "hard"))
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
        one.listen()
        link.symlink_to(path)
        os.link(path, hard)
        guard(one)
        for target in (path, link, hard):
            if len(str(target)) < 100:
                assert _policy.is_guarded_path(str(target))
        assert not _policy.is_guarded_path(str(tmp_path / "other"))


async def test_metrics_control_and_sessions_of_a_listening_end() -> None:
    with trio.fail_after(LIMIT):
        rules = "--allow", "*:*", "--allow", "unix:/*/*/*"
        async with started("listen", "0", *rules, "--metrics", "0") as listening:
            metrics = await listening.port("metrics on")
            port = await listening.port("listening on")
            async with admitted(port) as session:
                for host in ("127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1", "localhost"):
                    _, answer = await tell(session, Purpose.CONNECT, {"host": host, "port": metrics})
                    assert answer["error"] == "forbidden", (host, answer)
                _, answer = await tell(session, Purpose.CONNECT, {"host": "localhost", "port": port})
                assert answer["error"] == "forbidden"
                _, answer = await tell(session, Purpose.CONNECT, {"unix": str(listening.control)})
                assert answer["error"] == "forbidden"


async def test_at_the_connecting_end_only_what_is_chosen_there() -> None:
    """Its own metrics may be forwarded (-R), but whoever uses the SOCKS proxy at the other end does not get there."""
    with trio.fail_after(LIMIT):
        metrics = free_port()
        forwards = "-R", f"0:127.0.0.1:{metrics}", "-R", "0"
        async with tunnel(*forwards, connect=("--metrics", str(metrics))) as ends:
            async with await trio.open_tcp_stream("127.0.0.1", ends.ports[0]) as client:
                await client.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await client.receive_some()).startswith(b"HTTP/1.1 200")
            assert await socks_code(ends, "127.0.0.1", metrics, 1) == 2
