"""What is said about mistakes in configuration files, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muxpy_cli.config import inspect

if TYPE_CHECKING:
    from pathlib import Path

HASH = "sha256:50d858e0985ecc7f60418aaf0cc5ab587f42c2570a884095a9e8ccacd0f6545c"
CONNECT = '[connect]\nserver = "localhost:4242"\n'
LISTEN = '[listen]\naddress = "4242"\n'
FORWARD = '[forwards]\nweb = "-L 8080:localhost:80"\n'


def _problems(tmp_path: Path, text: str) -> list[str]:
    """What is said about a file of that text, without its name."""
    path = tmp_path / "muxpy.toml"
    path.write_text(text)
    return [str(problem).removeprefix(f"{path}:") for problem in inspect(path).problems]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[connect\n", "1:9: not TOML: expected ']' at the end of a table declaration"),
        ("[connect]\n\nserver = localhost:1\n", "3:10: not TOML: this is no value; text goes in quotes"),
        ('[connect]\nserver = """', "2:13: not TOML: unterminated string"),
        (
            f"{CONNECT}drain = 1\ndrain = 2\n",
            "4:10: not TOML: the key stands a second time in the same table; keep one",
        ),
        (f"{CONNECT}[forwards.a]\n[forwards.a]\n", "4:12: not TOML: cannot declare ('forwards', 'a') twice"),
        ("", "1:1: the file has no table [listen] and none [connect]; add"),
        (f"{CONNECT}[listen]\naddress = '1'\n", "3:2: listen: one file is for one end; put [listen] and"),
        (f"connect = 3\n{FORWARD}", "1:11: connect: it must be a table, not 3; for example"),
        ("[conect]\n", "1:2: conect: unknown key; did you mean connect?"),
        (f"{CONNECT}sesions = 2\n", "3:1: connect.sesions: unknown key; did you mean sessions?"),
        (f"{CONNECT}max_retries = 2\n", "3:1: connect.max_retries: unknown key; did you mean max-retries?"),
        (
            f"{CONNECT}fingerprnt = 2\n",
            "3:1: connect.fingerprnt: unknown key; did you mean fingerprint in the table tls?",
        ),
        (f"{CONNECT}tls = {{ x.y = 2 }}\n", "3:9: connect.tls.x: unknown key; known here: ca, name, fingerprint, cert"),
        ("[connect]\ndrain = 1\n", '1:2: connect: server is missing; for example server = "example.org:4242"'),
        ("[connect]\nserver = 'root@h:1'\n", '2:10: connect.server: "root@h:1": an address has no user name or passw'),
        ("[connect]\nserver = 'http://h:1'\n", '2:10: connect.server: "http://h:1": it is a URL: leave http:// out'),
        ("[connect]\nserver = 'a..b:1'\n", """2:10: connect.server: "a..b:1": 'a..b' has a dot too many"""),
        ("[connect]\nserver = 'h:0'\n", '2:10: connect.server: "h:0": the port must lie between 1 and 65535, it is 0'),
        ("[connect]\nserver = '[::g]:1'\n", '2:10: connect.server: "[::g]:1": [::g] is not an IPv6 address'),
        ("[connect]\nserver = 4242\n", "2:10: connect.server: it must be text in quotes, not 4242; for example"),
        ('[connect]\nserver = "host"\n', '2:10: connect.server: "host": it takes HOST:PORT; for example'),
        (f"{CONNECT}sessions = true\n", "3:12: connect.sessions: it must be a whole number, not true; for example 2"),
        (f"{CONNECT}sessions = 0\n", "3:12: connect.sessions: 0: it must lie between 1 and 64; for example 2"),
        (f"{CONNECT}insecure = 1\n", "3:12: connect.insecure: it must be true or false, not 1; for example true"),
        (f"{CONNECT}drain = []\n", "3:9: connect.drain: it must be text in quotes or a number, not an array; for"),
        (f"{CONNECT}drain = '5q'\n", '3:9: connect.drain: "5q": not a duration; for example'),
        (f"{CONNECT}drain = -1\n", "3:9: connect.drain: -1: not a duration; for example"),
        (f"{CONNECT}drain = 0x{'f' * 9999}\n", "3:9: connect.drain: the number: that is far too much"),
        (f"{CONNECT}drain = {'1' * 9999}\n", " a number has far too many digits"),
        (f"{CONNECT}drain = {'[' * 9999}\n", " arrays or tables are nested too deeply"),
        (
            f"{CONNECT}output.log-format = 'xml'\n",
            '3:21: connect.output.log-format: "xml": it must be one of auto, text',
        ),
        (f"{CONNECT}output.metrics = 'x:y'\n", '3:18: connect.output.metrics: "x:y": the port must be a number'),
        (f"{CONNECT}output.control = ''\n", '3:18: connect.output.control: "": that is no path'),
        (f"{CONNECT}tls.fingerprint = 'ab'\n", '3:19: connect.tls.fingerprint: "ab": the fingerprint has 1 byte,'),
        (f"{CONNECT}tls.name = ''\n", '3:12: connect.tls.name: "": the host is missing; for example example.org'),
        (f"{CONNECT}tls.name = 'a..b'\n", """3:12: connect.tls.name: "a..b": 'a..b' has a dot too many: one stands"""),
        (f"{CONNECT}tls.ca = '.'\n", '3:10: connect.tls.ca: ".": that is a folder, and it must be a file'),
        (f"{CONNECT}tls.ca = 'ca.pem'\n", '3:10: connect.tls.ca: "ca.pem": cannot read it: no such file or directory'),
        (
            f"{CONNECT}token-file = '~nobody-here/t'\n",
            '3:14: connect.token-file: "~nobody-here/t": there is no such',
        ),
        (f'{CONNECT}token-file = "a\\nb"\n', '3:14: connect.token-file: "a\\nb": cannot read it: no such file'),
        (f"{CONNECT}token-file = 1979-05-27\n", "3:14: connect.token-file: it must be text in quotes, not 1979-05-27"),
        (f"{CONNECT}token-file = 'no'\n", '3:14: connect.token-file: "no": cannot read it: no such file or directory'),
        (
            "[connect]\nserver = '10.0.0.1:1'\n",
            "2:10: connect.server: 10.0.0.1:1 is another machine, and there is no TLS",
        ),
        (f"{CONNECT}[users.a]\n", "3:2: users: users belong in the file of the listening end, with [listen]"),
        (f"{CONNECT}{FORWARD}b = 3\n", "5:5: forwards.b: it must be text in quotes or a table, not 3; for example"),
        (f"{CONNECT}{FORWARD}b = '-X 1'\n", '5:5: forwards.b: "-X 1": it must be one of -L ..., -R ..., -D'),
        (f"{CONNECT}{FORWARD}b = '-R 1:a b:1'\n", """5:5: forwards.b: "-R 1:a b:1": 'a b' is no host name; for"""),
        (
            f"{CONNECT}[forwards.b]\ntype='local'\nlisten='1'\ntarget='10.0.0.256:1'\n",
            '6:8: forwards.b.target: "10.0.0.256:1": 10.0.0.256 is not an IPv4 address',
        ),
        (f"{CONNECT}{FORWARD}b = '-D x'\n", '5:5: forwards.b: "-D x": the port must be a number'),
        (f"{CONNECT}{FORWARD}b = '-L *:8080:h:1'\n", "5:5: forwards.b: *:8080 is bound by forwards.web, too (line 4)"),
        (
            f"{CONNECT}output.metrics='8080'\n{FORWARD}",
            "3:16: connect.output.metrics: 127.0.0.1:8080 is bound by forwards.w",
        ),
        (f"{CONNECT}[forwards.'']\n", "3:11: forwards.'': a forward's name is 1 to 64 printable characters"),
        (f"{LISTEN}[forwards]\n", "3:2: forwards: forwards belong in the file of the connecting end, with [connect]"),
        (
            f"{LISTEN}idle-timeout = 0\n",
            '3:16: listen.idle-timeout: 0: it must be longer than that (for "never", leave',
        ),
        (f"{LISTEN}limits.rate = '0'\n", '3:15: listen.limits.rate: "0": a rate of 0 would let nothing through'),
        (f"{LISTEN}allow = 'x:1'\n", '3:9: listen.allow: it must be an array, not "x:1"; for example ["db.internal'),
        (f'{LISTEN}allow = [\n  "x:1", # ok\n  "x",\n]\n', '5:3: listen.allow: "x": '),
        (f'{LISTEN}allow-bind = ["x:y"]\n', '3:15: listen.allow-bind: "x:y": '),
        (f"{LISTEN}[listen.tls]\n", '3:9: listen.tls: cert is missing; for example cert = "cert.pem"'),
        (f"{LISTEN}[users]\na = 3\n", "4:5: users.a: it must be a table, not 3; for example"),
        (f"{LISTEN}[users.' a']\ntoken='{HASH}'\n", "3:8: users.' a': a user's name is 1 to"),
        (
            f"{LISTEN}[users.a]\nallow = []\n",
            "3:8: users.a: this user has no token, and certificates are not asked for",
        ),
        (f"{LISTEN}users.a.token = '{HASH}'\n", "3:1: listen.users: unknown key; known here: address"),
    ],
)
def test_one_problem(tmp_path: Path, text: str, problem: str) -> None:
    found = _problems(tmp_path, text)
    assert len(found) == 1
    assert found[0].startswith(problem)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("type = 'x'\nlisten = '1'", '6:8: forwards.a.type: "x": it must be one of local, remote, dynamic, http-proxy'),
        ("listen = '1'\ntarget = 'h:1'", '5:11: forwards.a: type is missing; for example type = "local"'),
        ("type = 'local'\ntarget = 'h:1'", '5:11: forwards.a: listen is missing; for example listen = "8080"'),
        ("type = 'local'\nlisten = '1'", "5:11: forwards.a: target is missing, which local needs; for example"),
        ("type = 'dynamic'\nlisten = '1'\ntarget = 'h:1'", "8:1: forwards.a.target: dynamic takes no target"),
        ("type = 'local'\nlisten = 'h:x'\ntarget = 'h:1'", '7:10: forwards.a.listen: "h:x": the port must be a number'),
        ("type = 'local'\nlisten = '1'\ntarget = 'h'", '8:10: forwards.a.target: "h": it takes host:port; for example'),
        ("type = 'local'\nlisten = '1'\ntarget = '2:h:3'", '8:10: forwards.a.target: "2:h:3": too many fields'),
        ("type = 'local'\nlisten = '/a'\ntarget = 'h:3/udp'", "8:10: forwards.a.target: /udp goes with a host and"),
        ("type = 'remote'\nlisten = '1'\nproxy-protocol = 2", "8:18: forwards.a.proxy-protocol: only a TCP connection"),
        ("type = 'local'\nlisten = '8080'\ntarget = 'h:1'", "7:10: forwards.a.listen: 127.0.0.1:8080 is bound by"),
        ("type = 'local'\nlisten = '1'\nport = 'h:1'", "8:1: forwards.a.port: unknown key; known here: type, listen"),
    ],
)
def test_a_problem_of_a_forward(tmp_path: Path, table: str, problem: str) -> None:
    found = _problems(tmp_path, f"{CONNECT}{FORWARD}[forwards.a]\n{table}\n")
    assert any(one.startswith(problem) for one in found), found


@pytest.mark.parametrize(
    ("first", "second", "overlap"),
    [
        ("-L 1:h:2", "-L 1:h:3", True),
        ("-L 1:h:2", "-D 1", True),
        ("-L *:1:h:2", "-L [::1]:1:h:2", True),
        ("-L 0.0.0.0:1:h:2", "-L 10.0.0.1:1:h:2", True),
        ("-L localhost:1:h:2", "-L [::1]:1:h:2", True),
        ("-L /a.sock:h:2", "-D /a.sock", True),
        ("-R 1:h:2", "-R 1:h:3", True),
        ("-L 1:h:2", "-R 1:h:2", False),
        ("-L 1:h:2", "-L 1:h:2/udp", False),
        ("-L 0:h:2", "-L 0:h:2", False),
        ("-L 0.0.0.0:1:h:2", "-L [::1]:1:h:2", False),
        ("-L 127.0.0.2:1:h:2", "-L 127.0.0.1:1:h:2", False),
        ("-L /a.sock:h:2", "-L /b.sock:h:2", False),
    ],
)
def test_what_is_bound_twice(tmp_path: Path, first: str, second: str, overlap: bool) -> None:
    found = _problems(tmp_path, f"{CONNECT}[forwards]\na = '{first}'\nb = '{second}'\n")
    assert [one[: one.index("is bound")].split(": ")[:2] for one in found] == [["5:5", "forwards.b"]] * overlap


def test_all_problems_are_found_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        f"[listen]\nallow = ['x', 'y']\naddress = 1\n[listen.tls]\ncert = 'no'\n[users.a]\ntoken = '{HASH}'\nrat = 1\n"
    )
    assert [problem.split(":")[:2] for problem in _problems(tmp_path, text)] == [
        ["2", "10"],
        ["2", "15"],
        ["3", "11"],
        ["5", "8"],
        ["8", "1"],
    ]


def test_a_secret_in_the_wrong_place_is_not_repeated(tmp_path: Path) -> None:
    for secret in ("hunter2", "muxpy_" + "a" * 43):
        (problem,) = _problems(tmp_path, f"{LISTEN}[users.a]\ntoken = '{secret}'\n")
        assert problem.startswith("4:9: users.a.token: ")
        assert secret not in problem
    (problem,) = _problems(tmp_path, f"{LISTEN}[users.a]\ntoken = 1234\n")
    assert problem.startswith('4:9: users.a.token: it must be "sha256:" and 64 hex digits')


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "[::]", "192.0.2.1", "example.org"])
def test_off_loopback_tls_and_users_are_needed(tmp_path: Path, host: str) -> None:
    text = f'[listen]\naddress = "{host}:1"\n'
    tls, users = _problems(tmp_path, text)
    assert tls.startswith("2:11: listen.address: other machines can reach ")
    assert "there is no TLS; add [listen.tls] with cert, or insecure = true" in tls
    assert "there are no users; add tokens, tables such as [users.alice], or insecure = true" in users
    assert _problems(tmp_path, f"{text}[users]\n") == [tls, users]
    assert _problems(tmp_path, f"{text}insecure = true\n") == []
    assert len(_problems(tmp_path, f"{text}insecure = 1\n")) == 1


@pytest.mark.parametrize("host", ["localhost", "127.1.2.3", "[::1]", "[::ffff:127.0.0.1]"])
def test_loopback_needs_neither(tmp_path: Path, host: str) -> None:
    assert _problems(tmp_path, f'[listen]\naddress = "{host}:1"\n') == []
    assert _problems(tmp_path, f'[connect]\nserver = "{host}:1"\n') == []


def test_what_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "muxpy.toml"
    path.write_bytes(b"# ok\nx = '\xff'\n")
    for file, problem in (
        (path, ":2:6: this is not UTF-8, as TOML has to be"),
        (tmp_path, ": cannot read it: is a directory"),
        (tmp_path / "no", ": cannot read it: no such file or directory"),
    ):
        assert [str(one) for one in inspect(file).problems] == [f"{file}{problem}"]
