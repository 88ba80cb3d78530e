"""The Go programs of the benchmarks: they build, every workload runs over every mux, and spoiled bytes are noticed."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import muxpy
from benchmarks import gopeers
from tests.helpers.ids import word
from tests.helpers.tasks import LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.live_peer

MUXES = ("muxado", "yamux", "smux")
BRIEFLY = {"seconds": 0.05, "warmup": 0.01}
JOBS: dict[str, dict[str, Any]] = {
    "bulk": {"workload": "bulk", "streams": 8, "chunk": 65536, **BRIEFLY},
    "bulk in odd chunks": {"workload": "bulk", "streams": 2, "chunk": 1001, **BRIEFLY},
    "bulk in chunks above the pattern's size": {"workload": "bulk", "streams": 1, "chunk": 200_000, **BRIEFLY},
    "echo": {"workload": "echo", "streams": 100, "size": 100, "idle": 0, **BRIEFLY},
    "echo among idle streams": {"workload": "echo", "streams": 1, "size": 65536, "idle": 300, **BRIEFLY},
    "open": {"workload": "open", "at_once": 100, "size": 100, **BRIEFLY},
    "open more than a backlog takes": {"workload": "open", "at_once": 500, "size": 100, **BRIEFLY},
}
PATTERN = b"".join(hashlib.sha256(i.to_bytes(8, "big")).digest() for i in range(2048))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path | str]:
    """What build says, done once for all the workers of this test run: the first one fills the cache."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with (folder / "gopeers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return gopeers.build(folder / "gopeers")


@pytest.fixture(params=MUXES)
def mux(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def program(mux: str, built: dict[str, Path | str]) -> Path:
    """The program of this mux. Where it is missing, the test is skipped, or fails if live peers are required."""
    return require(built[f"go-{mux}"])


def require(program: Path | str) -> Path:
    if isinstance(program, Path):
        return program
    if os.environ.get("MUXPY_REQUIRE_LIVE_PEERS") == "1" or "failed" in program:
        pytest.fail(program, pytrace=False)
    pytest.skip(program)


@contextmanager
def serving(program: Path, mux: str) -> Iterator[int]:
    """Run a server, whose port this gives, until stdin's end ends it."""
    with subprocess.Popen([program, "serve", mux], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdin is not None
            assert server.stdout is not None
            yield json.loads(server.stdout.readline())["port"]
            server.stdin.close()
            assert server.wait(LIMIT) == 0
        finally:
            server.kill()


def start(program: Path, mux: str, port: int, job: object) -> subprocess.CompletedProcess[str]:
    text = job if isinstance(job, str) else json.dumps(job)
    command: list[str | Path] = [program, "run", mux, str(port), text]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)


def run(program: Path, mux: str, job: object) -> dict[str, Any]:
    with serving(program, mux) as port:
        done = start(program, mux, port, job)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("job", JOBS.values(), ids=map(word, JOBS))
def test_a_workload_gives_its_rate(program: Path, mux: str, job: dict[str, Any]) -> None:
    result = run(program, mux, job)

    assert result.pop("rate") > 0
    assert result.pop("elapsed", 1.0) >= job["seconds"]
    assert not result


def test_a_timeline_gives_the_bytes_of_each_interval(program: Path, mux: str) -> None:
    result = run(program, mux, {"workload": "timeline", "seconds": 0.2, "interval": 0.02, "chunk": 1000})

    assert result.keys() == {"intervals"}
    assert len(result["intervals"]) > 1
    assert sum(result["intervals"]) > 0
    assert sum(result["intervals"]) % 1000 == 0


@pytest.mark.parametrize(("workload", "at"), [("bulk", 70_000), ("timeline", 0)])
def test_one_spoiled_byte_fails_the_run(program: Path, mux: str, workload: str, at: int) -> None:
    job = {"workload": workload, "streams": 2, "chunk": 1000, "interval": 0.1, "seconds": 0.2, "corrupt": at}

    with serving(program, mux) as port:
        done = start(program, mux, port, job)

    assert (done.returncode, done.stdout) == (1, "")
    assert "the receiver got other bytes than were sent" in done.stderr


@pytest.mark.parametrize(
    ("job", "complaint"),
    [
        ("bulk", "the job"),
        ({"workload": "bulk", "seconds": 1, "stream": 1}, 'unknown field "stream"'),
        ({"workload": "sleep", "seconds": 1}, 'no workload "sleep"'),
        ({"workload": "bulk", "streams": 1, "chunk": 1}, "seconds must be positive"),
        ({"workload": "bulk", "seconds": 1}, "bulk wants streams and chunk"),
        ({"workload": "echo", "seconds": 1, "streams": 1, "size": 65537}, "size can be at most 65536"),
    ],
)
def test_a_job_that_cannot_be_run_is_refused(program: Path, mux: str, job: object, complaint: str) -> None:
    done = start(program, mux, 1, job)

    assert (done.returncode, done.stdout) == (1, "")
    assert complaint in done.stderr


def test_a_server_that_goes_away_fails_the_run(program: Path, mux: str) -> None:
    job = json.dumps({"workload": "bulk", "streams": 4, "chunk": 65536, "seconds": 30})
    with serving(program, mux) as port:
        client = subprocess.Popen([program, "run", mux, str(port), job], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):
            client.wait(0.2)  # it runs

    out, err = client.communicate(timeout=LIMIT)

    assert (client.returncode, out) == (1, b"")
    assert b"bulk: " in err


@pytest.mark.parametrize("spoiled", [False, True])
async def test_muxpy_and_the_muxado_server_mean_the_same_by_a_sink(built: dict[str, Path | str], spoiled: bool) -> None:
    data = bytearray(PATTERN * 2 + PATTERN[:100])
    data[65_600] ^= spoiled

    with serving(require(built["go-muxado"]), "muxado") as port:
        async with muxpy.open_tcp_session("127.0.0.1", port) as session, await session.open_stream() as stream:
            await stream.send_all(b"s")
            await stream.send_all(data)
            await stream.send_eof()
            answer = b"".join([part async for part in stream])

    assert int.from_bytes(answer, "big") == (2**64 - 1 if spoiled else len(data))


def test_a_program_says_which_mux_it_lacks(program: Path, mux: str) -> None:
    done = subprocess.run([program, "serve", "quic"], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr == f'gopeers: no mux "quic" in this program, only: {mux}\n'


def test_the_version_is_that_of_go(program: Path) -> None:
    version = gopeers.go_version()

    assert version is not None
    assert version.startswith("go1.")


def test_without_go_build_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert gopeers.go_version() is None
    assert set(gopeers.build(tmp_path / "out").values()) == {"Go is not installed (Debian: golang-go)"}


def test_without_a_package_build_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_go(tmp_path, monkeypatch, "exit 0")
    monkeypatch.setattr(gopeers, "DEBIAN_WORKSPACE", tmp_path / "nothing")

    assert gopeers.build(tmp_path / "out") == {
        "go-muxado": "the Debian package golang-github-inconshreveable-muxado-dev is not installed",
        "go-yamux": "the Debian package golang-github-hashicorp-yamux-dev is not installed",
        "go-smux": "the Debian package golang-github-xtaci-smux-dev is not installed",
        "go-http2": "the Debian package golang-golang-x-net-dev is not installed",
    }


def test_a_failed_build_says_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_go(tmp_path, monkeypatch, "echo '# main' >&2; echo 'main.go:1: no such thing' >&2; exit 2")
    (tmp_path / "src/github.com/xtaci/smux").mkdir(parents=True)
    monkeypatch.setenv("GOPATH", str(tmp_path))

    assert gopeers.build(tmp_path / "out")["go-smux"] == "go build failed: main.go:1: no such thing"


def fake_go(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a Go that does this in PATH, and leave no workspace of the user's."""
    (folder / "go").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "go").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("GOPATH", raising=False)
    monkeypatch.setattr(Path, "home", functools.partial(Path, folder / "home"))
