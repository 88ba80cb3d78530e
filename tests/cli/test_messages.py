"""What people are told when something is not as it should be: the input, the exit code, and the line, word by word.

A row of MISTAKES is a command line that ends before anything runs: it is split as a shell does it, and stands in a
folder of its own, with the files of FILES. If the program takes it after all, it fails at trio.run, so no row waits for
anything. What needs another end, or a network, has tests of its own below.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import click
import pytest
import trio

from muxpy_cli._errors import draining_text
from tests.helpers.ids import word
from tests.helpers.tasks import LIMIT

from .program import Server, closed_port, echo, run, running, tunnel

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import InProcess

L = "-L 8080:localhost:80"
LABEL = "a" * 64
FILES = {
    "no-forwards.toml": "[connect]\nserver = 'localhost:4242'\n",
    "server.toml": "[connect]\nserver = 'root@localhost:4242'\n",
    "missing.toml": "[connect]\nserver = 'localhost:4242'\ntoken-file = 'alice.token'\n[forwards]\na = '-L 1:a:1'\n",
}

MISTAKES = [
    # The commands, and what others call them
    ("help", 2, "there is no command help: write `muxpy --help`, or `muxpy connect --help` for one command"),
    ("version", 2, "there is no command version: write `muxpy --version`; see `muxpy --help`"),
    ("server -p 8080", 2, "there is no command server: write `muxpy listen`; see `muxpy --help`"),
    ("client localhost:1", 2, "there is no command client: write `muxpy connect`; see `muxpy --help`"),
    ("conect localhost:1", 2, "there is no command conect: did you mean connect?; see `muxpy --help`"),
    (
        f"{L} root@localhost",
        2,
        "there is no option -L: it is one of `muxpy connect`; see `muxpy --help`",
    ),
    (
        "root@localhost",
        2,
        "there is no command root@localhost: to connect there, write `muxpy connect HOST:PORT`; see `muxpy --help`",
    ),
    (
        "localhost:4242",
        2,
        "there is no command localhost:4242: to connect there, write `muxpy connect HOST:PORT`; see `muxpy --help`",
    ),
    ("token add alice", 2, "there is no command add: there are list, new, revoke; see `muxpy token --help`"),
    # Something is missing
    ("keygen", 2, "DIR is missing; for example `muxpy keygen tls`; see `muxpy keygen --help`"),
    ("check", 2, "FILE is missing; for example `muxpy check muxpy.toml`; see `muxpy check --help`"),
    ("bench", 2, "HOST:PORT is missing; for example `muxpy bench localhost:4242`; see `muxpy bench --help`"),
    ("call", 2, "HOST:PORT is missing; for example `muxpy call localhost:4000`; see `muxpy call --help`"),
    (
        "call localhost:4000 Clock --items",
        2,
        "what is called is SERVICE.METHOD; `muxpy call localhost:4000` lists what there is; see `muxpy call --help`",
    ),
    (
        "call localhost:4000 Clock.set - --items",
        2,
        "standard input has either the arguments (-) or the items (--items); see `muxpy call --help`",
    ),
    (
        "call localhost:4000 Clock.set --metadata zone",
        2,
        "--metadata is NAME=VALUE or NAME=@FILE, not 'zone'; see `muxpy call --help`",
    ),
    ("token revoke", 2, "NAME is missing; see `muxpy token revoke --help`"),
    ("listen", 2, "where to listen? For example: muxpy listen 4242, or --config FILE; see `muxpy listen --help`"),
    (
        "connect",
        2,
        "connect to what? For example: muxpy connect example.org:4242 -L 8080:localhost:80; see `muxpy connect --help`",
    ),
    (
        "connect localhost:1",
        2,
        "nothing to forward: give -L, -R, -D, --http-proxy or -W, for example -L 8080:localhost:80;"
        " see `muxpy connect --help`",
    ),
    (
        "connect --config no-forwards.toml",
        2,
        "nothing to forward: give -L, -R, -D, --http-proxy or -W, for example -L 8080:localhost:80,"
        " or [forwards] in no-forwards.toml; see `muxpy connect --help`",
    ),
    # Options that there are not, and values that they do not take
    ("connect localhost:1 --max-retry 3", 2, "there is no option --max-retry: did you mean --max-retries?; see `mux…"),
    ("listen 0 --frob", 2, "there is no option --frob; see `muxpy listen --help`"),
    ("connect localhost:1 --sessions 0", 2, "invalid value for '--sessions': 0 is not in the range 1<=x<=64…"),
    ("listen 0 --drain 5q", 2, "--drain 5q: not a duration; for example 90, 1.5s, 5m, 2h or 1d; see `muxpy listen -…"),
    (
        f"connect localhost:1 {L} --token-file",
        2,
        "option '--token-file' requires an argument; see `muxpy connect --help`",
    ),
    ("token new alice --file", 2, "option '--file' requires an argument; see `muxpy token new --help`"),
    ("demo x", 2, "got unexpected extra argument (x); see `muxpy demo --help`"),
    # Habits of ssh and chisel
    (
        "connect localhost:1 8080:localhost:80",
        2,
        "8080:localhost:80 looks like a forward: write -L 8080:localhost:80; see `muxpy connect --help`",
    ),
    ("connect localhost:1 3000", 2, "3000 looks like a forward: write -L 3000:localhost:3000; see `muxpy connect --h…"),
    ("connect localhost:1 db:5432", 2, "db:5432 looks like a forward: write -L 5432:db:5432; see `muxpy connect --h…"),
    ("connect localhost:1 R:9000:a:1", 2, "R:9000:a:1 looks like a forward: write -R 9000:a:1; see `muxpy connect -…"),
    ("connect localhost:1 socks", 2, "socks looks like a forward: write -D 1080; see `muxpy connect --help`"),
    ("connect localhost:1 5000:socks", 2, "5000:socks looks like a forward: write -D 5000; see `muxpy connect --hel…"),
    ("connect localhost:1 R:socks", 2, "R:socks looks like a forward: write -R 1080; see `muxpy connect --help`"),
    ("connect localhost:1 stdio:a:22", 2, "stdio:a:22 looks like a forward: write -W a:22; see `muxpy connect --hel…"),
    (
        f"connect {L} localhost:1 uptime",
        2,
        "nothing can stand behind HOST:PORT but options, so leave uptime out: muxpy runs no commands there;"
        " see `muxpy connect --help`",
    ),
    (
        f"connect -N {L} localhost:1",
        2,
        "there is no option -N: leave it out, muxpy never runs a shell; see `muxpy connect --help`",
    ),
    (
        "connect -fNL 8080:localhost:80 localhost:1",
        2,
        "there is no option -f: leave it out, muxpy stays in the foreground: the shell's &, nohup or a service manager"
        " keeps it running; see `muxpy connect --help`",
    ),
    (
        f"connect {L} -p 4242 localhost",
        2,
        "there is no option -p: the port goes behind the host, HOST:PORT; see `muxpy connect --help`",
    ),
    (
        f"connect {L} localhost:1 --auth alice:secret",
        2,
        "there is no option --auth: a token goes into MUXPY_TOKEN or a --token-file, as others can read the command"
        " line; see `muxpy connect --help`",
    ),
    (
        "listen -p 4242",
        2,
        "there is no option -p: the port is an argument, for example `muxpy listen 4242`; see `muxpy listen --help`",
    ),
    (
        f"listen 4242 {L}",
        2,
        "there is no option -L: forwards are given to `muxpy connect`; see `muxpy listen --help`",
    ),
    # What can never be a name or an address: see test_specs
    (
        f"connect {L} root@localhost",
        2,
        "root@localhost: an address has no user name or password: leave out what stands before the @;"
        " for example example.org:4242 or [::1]:4242; see `muxpy connect --help`",
    ),
    (
        f"connect {L} root@localhost:4242",
        2,
        "root@localhost:4242: an address has no user name or password: leave out what stands before the @;"
        " for example example.org:4242 or [::1]:4242; see `muxpy connect --help`",
    ),
    (
        f"connect {L} localhost",
        2,
        "localhost: it takes HOST:PORT; for example example.org:4242 or [::1]:4242; see `muxpy connect --help`",
    ),
    (
        f"connect {L} http://localhost:4242/",
        2,
        "http://localhost:4242/: it is a URL: leave http:// out, and all that follows the port;"
        " for example example.org:4242 or [::1]:4242; see `muxpy connect --help`",
    ),
    (
        f"connect {L} localhost:0",
        2,
        "localhost:0: the port must lie between 1 and 65535, it is 0;"
        " for example example.org:4242 or [::1]:4242; see `muxpy connect --help`",
    ),
    (f"connect {L} a..b:1", 2, "a..b:1: 'a..b' has a dot too many: one stands between two parts of a name; for exam…"),
    (f"connect {L} {LABEL}:1", 2, f"{LABEL}:1: the name has a part of more than 63 characters between its dots, whi…"),
    (f"connect {L} 'a b:1'", 2, "a b:1: 'a b' is no host name; for example example.org:4242 or [::1]:4242; see `mux…"),
    (f"connect {L} [::g]:1", 2, "[::g]:1: [::g] is not an IPv6 address; for example example.org:4242 or [::1]:4242;…"),
    (f"connect {L} ::1:4242", 2, "::1:4242: an IPv6 address needs brackets; for example example.org:4242 or [::1]:4…"),
    (f"connect {L} localhost:70000", 2, "localhost:70000: the port must lie between 1 and 65535, it is 70000; for e…"),
    ("connect localhost:1 -L 1:a..b:1", 2, "-L 1:a..b:1: 'a..b' has a dot too many: one stands between two parts o…"),
    ("connect localhost:1 -R 1:u@h:1", 2, "-R 1:u@h:1: an address has no user name or password: leave out what sta…"),
    ("connect localhost:1 -W 10.0.0.256:1", 2, "-W 10.0.0.256:1: 10.0.0.256 is not an IPv4 address; for example ex…"),
    ("connect localhost:1 -D a..b:1", 2, "-D a..b:1: 'a..b' has a dot too many: one stands between two parts of a …"),
    (f"connect localhost:1 {L} --tls-name a..b", 2, "--tls-name a..b: 'a..b' has a dot too many: one stands between…"),
    ("bench root@localhost:1", 2, "root@localhost:1: an address has no user name or password: leave out what stand…"),
    ("listen root@localhost:1", 2, "root@localhost:1: an address has no user name or password: leave out what stan…"),
    (
        "connect --config server.toml",
        2,
        'server.toml:2:10: connect.server: "root@localhost:4242": an address has no user name or password: leave out'
        " what stands before the @; for example example.org:4242 or [::1]:4242",
    ),
    # Files that are not there, and what makes them
    (
        f"connect localhost:1 {L} --token-file alice.token",
        2,
        "--token-file alice.token: there is no such file; put the token into it that `muxpy token new NAME` prints at"
        " the listening end",
    ),
    (
        "listen 0 --tokens 'my users.toml'",
        2,
        "--tokens my users.toml: there is no such file; `muxpy token new NAME --file 'my users.toml'` makes it",
    ),
    (
        "listen 0 --tls-cert tls/cert.pem",
        2,
        "--tls-cert tls/cert.pem: there is no such file; `muxpy keygen tls` makes it",
    ),
    (
        "listen 0 --tls-cert server.pem",
        2,
        "--tls-cert server.pem: there is no such file; `muxpy keygen DIR` makes a certificate and its key,"
        " DIR/cert.pem and DIR/key.pem",
    ),
    (
        f"connect localhost:1 {L} --tls-cert no.toml --tls-key tls/key.pem",
        2,
        "--tls-cert no.toml: there is no such file; `muxpy keygen DIR` makes a certificate and its key, DIR/cert.pem"
        " and DIR/key.pem",
    ),
    (
        f"connect localhost:1 {L} --tls-ca ca.pem",
        2,
        "--tls-ca ca.pem: there is no such file; it is a CA's certificate, or the cert.pem that `muxpy keygen DIR`"
        " makes at the other end",
    ),
    ("connect --config no.toml", 2, "--config no.toml: there is no such file"),
    (
        "connect --config missing.toml",
        2,
        'missing.toml:3:14: connect.token-file: "alice.token": cannot read it: no such file or directory; put the token'
        " into it that `muxpy token new NAME` prints at the listening end",
    ),
    (
        "token list --file users.toml",
        2,
        "users.toml: cannot read it: no such file or directory; `muxpy token new NAME --file users.toml` makes it",
    ),
    (
        "trace t.jsonl",
        2,
        "t.jsonl: there is no such file; --trace FILE of `muxpy listen` and `muxpy connect` writes one",
    ),
]
"""Command line, exit code, line without the program's name. A line that ends in … may go on."""


@pytest.fixture
def muxpy(in_process: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InProcess:
    """As far as it comes without a network."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(trio, "run", must_not_run)
    return in_process


def must_not_run(*_: object) -> None:
    raise AssertionError("it took that")


@pytest.mark.parametrize(("command_line", "code", "line"), MISTAKES, ids=[word(row[0]) for row in MISTAKES])
def test_a_mistake_is_one_line_that_says_what_to_write(
    muxpy: InProcess, command_line: str, code: int, line: str
) -> None:
    got, output, errors = muxpy(command_line)
    assert (got, output) == (code, "")
    start, cut, _ = f"muxpy: {line}\n".partition("…")
    assert errors[: len(start)] == start if cut else errors == start
    assert errors.count("\n") == 1
    assert "for example" in errors or "--help" in errors or "such file" in errors


def test_usage_errors_point_to_the_help_of_their_command(muxpy: InProcess) -> None:
    for command in ("listen", "connect", "bench", "demo", "keygen", "status", "check", "trace", "completion", "call"):
        code, _, errors = muxpy(f"{command} --nonsense")
        assert (code, errors) == (2, f"muxpy: there is no option --nonsense; see `muxpy {command} --help`\n")


def test_mistakes_are_lines_with_older_versions_of_click_as_well(
    muxpy: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(click.exceptions, "NoArgsIsHelpError", raising=False)  # it came with click 8.2
    assert muxpy("keygen")[0] == 2


def test_a_new_token_says_where_it_goes(muxpy: InProcess) -> None:
    code, output, errors = muxpy("token new alice --file 'my users.toml'")
    assert (code, output.count("\n")) == (0, 1)
    assert errors == (
        "the token of alice, which my users.toml has only the hash of, so keep it now:\n"
        "next: `muxpy listen ... --tokens 'my users.toml'` here (one that runs reads the file again on SIGHUP),"
        " and the token in a --token-file or MUXPY_TOKEN where it connects\n"
    )


def test_check_says_what_makes_a_missing_file(muxpy: InProcess) -> None:
    code, output, errors = muxpy("check missing.toml")
    assert (code, output) == (2, "")
    assert "`muxpy token new NAME` prints at the listening end" in errors


@pytest.mark.parametrize(
    "options", [["-L", "0:localhost:1", "--max-retries", "0"], ["-W", "localhost:1"]], ids=["forward", "stdio"]
)
async def test_a_refused_connection_asks_whether_anybody_listens(options: list[str]) -> None:
    with trio.fail_after(LIMIT), closed_port() as port:
        got = await run("connect", f"localhost:{port}", *options)
    line = f"cannot connect to localhost:{port}: connection refused (is `muxpy listen` running there?)"
    assert got == (1, "", f"muxpy: {line}\n")


async def test_another_name_under_a_ca_names_the_option_for_it(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT):
        await run("keygen", str(tmp_path), "--name", "example.org")
        cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
        async with running("listen", "0", "--tls-cert", cert, "--tls-key", key) as listening:
            port = await listening.port("listening on")
            got = await run("connect", f"localhost:{port}", "--tls-ca", cert, "-L", "0:localhost:1")
    assert got[:2] == (3, "")
    hint = "(--tls-name says which name it must have, --fingerprint trusts one certificate)"
    assert f"certificate is not valid for 'localhost' {hint}\n" in got[2]


@pytest.mark.parametrize(
    ("count", "seconds", "text"),
    [
        (1, 5.0, "finishing an open connection, for up to 5 s (Ctrl-C again ends immediately)"),
        (2000, 0.5, "finishing 2,000 open connections, for up to 0.5 s (Ctrl-C again ends immediately)"),
        (1, 366 * 86400.0, "finishing an open connection, for up to 31,622,400 s (Ctrl-C again ends immediately)"),
    ],
)
def test_draining_says_how_many_and_for_how_long(count: int, seconds: float, text: str) -> None:
    assert draining_text(count, seconds) == text


async def test_both_ends_say_for_how_long_they_finish() -> None:
    with trio.fail_after(LIMIT):
        async with (
            Server(echo) as server,
            tunnel("-L", f"0:localhost:{server.port}", options=("--drain", "90m"), listen=("--drain", "2h")) as ends,
        ):
            client = await ends.client()
            await client.send_all(b"x")
            await client.receive_some()
            for end, seconds in ((ends.connecting, "5,400 s"), (ends.listening, "7,200 s")):
                end.send(signal.SIGTERM)
                assert f"finishing an open connection, for up to {seconds} (" in await end.line("finishing")
