"""What is said to a service manager and taken from it, with real sockets; and the units that use it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import trio

from muxpy_cli import _systemd
from muxpy_cli._errors import Failure
from tests.cli.program import COMMAND, ENVIRONMENT, ROOT
from tests.helpers.tasks import LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEPLOY = ROOT / "cli" / "deploy"
UNITS = sorted([*DEPLOY.glob("*.service"), *DEPLOY.glob("*.socket")])


class Manager:
    """The end that systemd has."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(LIMIT)

    def next(self) -> str:
        return self.socket.recv(65536).decode()

    def anything(self) -> bool:
        self.socket.setblocking(False)
        try:
            return bool(self.socket.recv(65536))
        except BlockingIOError:
            return False
        finally:
            self.socket.settimeout(LIMIT)


@pytest.fixture(autouse=True)
def _no_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    path = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    manager = Manager(path)
    yield manager
    manager.socket.close()


# ---- telling ----


def test_ready_with_a_status(manager: Manager) -> None:
    assert _systemd.notify_ready("2 forwards")

    assert manager.next() == "READY=1\nSTATUS=2 forwards"


def test_a_status_stays_one_line(manager: Manager) -> None:
    _systemd.notify_ready("from a peer\nMAINPID=1\r\n \udcff")

    assert manager.next() == "READY=1\nSTATUS=from a peer MAINPID=1 ?"


def test_stopping(manager: Manager) -> None:
    assert _systemd.notify_stopping()

    assert manager.next() == "STOPPING=1"


def test_reloading_says_when(manager: Manager) -> None:
    before = time.monotonic_ns() // 1000
    _systemd.notify_reloading()
    after = time.monotonic_ns() // 1000

    state, _, moment = manager.next().partition("\nMONOTONIC_USEC=")
    assert state == "RELOADING=1"
    assert before <= int(moment) <= after


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract names")
def test_an_abstract_name(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"muxpy-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    manager = Manager(f"\0{name}")
    try:
        assert _systemd.notify("READY=1")
        assert manager.next() == "READY=1"
    finally:
        manager.socket.close()


@pytest.mark.parametrize("address", [None, "", "relative", "vsock:2:1", "/there/is/nothing", "/" + "x" * 200])
def test_without_a_manager_nothing_happens(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)

    assert not _systemd.notify_ready("")


def test_a_manager_that_does_not_read_holds_nobody_up(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_systemd, "SEND_TIMEOUT", 0.01)

    assert any(not _systemd.notify("STATUS=x") for _ in range(10_000))


# ---- the watchdog ----


def test_half_of_what_the_watchdog_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert _systemd.watchdog_interval() == 15

    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert _systemd.watchdog_interval() == 15


@pytest.mark.parametrize(
    ("microseconds", "pid"), [(None, None), ("0", None), ("soon", None), ("-1", None), ("30000000", "1")]
)
def test_no_watchdog(microseconds: str | None, pid: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WATCHDOG_USEC", microseconds), ("WATCHDOG_PID", pid)):
        if value is not None:
            monkeypatch.setenv(name, value)

    assert _systemd.watchdog_interval() is None


async def test_signs_of_life_come_in_time(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, mock_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_systemd.run_watchdog)
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked()
            assert manager.next() == "WATCHDOG=1"
            mock_clock.jump(14.9)
            await trio.testing.wait_all_tasks_blocked()
            assert not manager.anything()
            mock_clock.jump(0.1)
        nursery.cancel_scope.cancel()


async def test_the_watchdog_task_ends_where_nobody_waits(manager: Manager) -> None:
    with trio.fail_after(LIMIT):
        await _systemd.run_watchdog()

    assert not manager.anything()


# ---- sockets that were opened for us ----

# Moves its descriptors to 3, 4 ... and becomes the child, as systemd does: LISTEN_PID is known only then.
ACTIVATE = """
import os, sys
descriptors = [int(number) for number in sys.argv[1].split(",")]
copies = [os.dup2(os.dup(number), 100 + index) for index, number in enumerate(descriptors)]
for index, copy in enumerate(copies):
    os.dup2(copy, 3 + index)
os.environ |= {"LISTEN_PID": str(os.getpid() + int(sys.argv[2])), "LISTEN_FDS": sys.argv[3], "LISTEN_FDNAMES": "x"}
os.execv(sys.executable, [sys.executable, "-c", sys.argv[4]])
"""

CHILD = """
import os
from muxpy_cli._errors import Failure
from muxpy_cli._systemd import listen_sockets
try:
    for sock in listen_sockets():
        print(sock.fileno(), sock.family.name, sock.getsockname(), os.get_inheritable(sock.fileno()))
except Failure as failure:
    print("failure:", failure)
print("left:", sorted(name for name in os.environ if name.startswith("LISTEN_")), listen_sockets())
"""

ACCEPT = """
import trio
from muxpy_cli._systemd import listen_sockets
async def main():
    (sock,) = listen_sockets()
    async with trio.SocketListener(trio.socket.from_stdlib_socket(sock)) as listener, await listener.accept() as stream:
        await stream.send_all(b"hello")
trio.run(main)
print("accepted", "left: [] []", sep="\\n")
"""


def activate(
    *sockets: socket.socket, child: str = CHILD, count: str | None = None, another_pid: bool = False
) -> list[str]:
    """Start a child that is given these sockets; the lines that it prints."""
    descriptors = [sock.fileno() for sock in sockets]
    numbers = ",".join(map(str, descriptors)) or "0"
    done = subprocess.run(
        [sys.executable, "-c", ACTIVATE, numbers, str(int(another_pid)), count or str(len(sockets)), child],
        pass_fds=descriptors,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )
    *lines, left = done.stdout.splitlines()
    assert left == "left: [] []"
    return lines


def test_sockets_come_in_order_and_belong_to_nobody_else(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "listen"))
        unix.listen()
        lines = activate(tcp, unix)

    assert lines == [
        f"3 AF_INET ('127.0.0.1', {lines[0].split()[3].rstrip(')')}) False",
        f"4 AF_UNIX {tmp_path / 'listen'} False",
    ]


def test_a_passed_socket_takes_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.create_connection(tcp.getsockname(), 5) as client:
        client.settimeout(5)
        lines = activate(tcp, child=ACCEPT)

        assert lines == ["accepted"]
        assert client.recv(100) == b"hello"


def test_sockets_of_another_process_are_left_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        assert activate(tcp, another_pid=True) == []


def test_without_socket_activation_there_are_none() -> None:
    assert _systemd.listen_sockets() == []


def test_a_datagram_socket_is_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))

        assert "ListenStream=" in "".join(activate(udp))


def test_a_connection_is_refused() -> None:
    one, two = socket.socketpair()
    with one, two:
        assert "Accept=no" in "".join(activate(one))


def test_a_descriptor_that_is_not_there_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        (line,) = activate(tcp, count="2")

    assert line.startswith("failure: the service manager passed no socket as descriptor 4: ")


@pytest.mark.parametrize("count", ["two", "-1", "99999", "9" * 5000])
def test_a_number_that_makes_no_sense(count: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", count)

    with pytest.raises(Failure, match="LISTEN_FDS"):
        _systemd.listen_sockets()
    assert "LISTEN_FDS" not in os.environ


# ---- the program ----


def test_the_program_tells_its_manager_how_it_is(manager: Manager) -> None:
    """Ready, alive, reloading, stopping; on a socket that the manager has opened."""
    environment = {**ENVIRONMENT, "NOTIFY_SOCKET": os.environ["NOTIFY_SOCKET"], "WATCHDOG_USEC": "10000000"}
    with subprocess.Popen([*COMMAND, "listen", "0"], env=environment, stdout=subprocess.DEVNULL) as program:
        try:
            told = {manager.next().partition("\n")[0] for _ in range(2)}
            assert told == {"READY=1", "WATCHDOG=1"}
            program.send_signal(signal.SIGHUP)
            assert manager.next().startswith("RELOADING=1\nMONOTONIC_USEC=")
            assert manager.next().startswith("READY=1")
            program.send_signal(signal.SIGTERM)
            assert manager.next().startswith("STOPPING=1")
            assert program.wait(10) == 0
        finally:
            program.kill()


# ---- the units ----


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """With a program that is there in the place of /opt/muxpy/bin/muxpy, and a name for the template."""
    for unit in UNITS:
        name = unit.name.replace("@.", "@office.")
        (tmp_path / name).write_text(unit.read_text().replace("/opt/muxpy/bin/muxpy", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *sorted(map(str, tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    ours = [line for line in done.stderr.splitlines() if "muxpy" in line]
    assert ours == []


def test_there_are_units_for_both_ends() -> None:
    assert [unit.name for unit in UNITS] == ["muxpy-connect@.service", "muxpy-listen.service", "muxpy-listen.socket"]
