"""Configuration files: what they give, and what is said about mistakes, where."""

from __future__ import annotations

import shutil
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from muxpy_cli._options import ConnectOptions, ListenOptions, Output
from muxpy_cli.access import ClientTls, Limits, Rules, ServerTls, User, make_keys, parse_bind_rule, parse_target_rule
from muxpy_cli.commands._check import check_command
from muxpy_cli.config import ConfigError, inspect, load_connect, load_listen
from muxpy_cli.specs import Address, Direction, Forward, Kind, UnixPath

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = Path(__file__).parents[2] / "examples" / "forwarder"
HASH = "sha256:50d858e0985ecc7f60418aaf0cc5ab587f42c2570a884095a9e8ccacd0f6545c"
OTHER_HASH = "sha256:" + "0" * 64
CONNECT = '[connect]\nserver = "localhost:4242"\n'
LISTEN = '[listen]\naddress = "4242"\n'
FORWARD = '[forwards]\nweb = "-L 8080:localhost:80"\n'


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the file."""

    def write(text: str) -> Path:
        path = tmp_path / "muxpy.toml"
        path.write_text(text)
        return path

    return write


def _found(path: Path, *, warnings: bool = False) -> list[str]:
    """What is said about the file, without its path and its folder."""
    inspection = inspect(path)
    found = inspection.warnings if warnings else inspection.problems
    return [str(one).removeprefix(f"{path}:").replace(f"{path.parent}/", "") for one in found]


def _write_certificate(folder: Path, *, end: datetime | None = None, name: str = "") -> None:
    certificate = trustme.CA().issue_cert("localhost", not_after=end)
    certificate.cert_chain_pems[0].write_to_path(folder / f"{name}cert.pem")
    key = folder / f"{name}key.pem"
    certificate.private_key_pem.write_to_path(key)
    key.chmod(0o600)


@pytest.mark.parametrize(("name", "count"), [("listen.toml", 4), ("connect.toml", 4)])
def test_the_examples_say_first_what_has_to_be_made(name: str, count: int) -> None:
    text = (EXAMPLES / name).read_text()
    header = text[: text.index("\n[")]
    missing = [problem.message.split('"')[1] for problem in inspect(EXAMPLES / name).problems]
    assert len(missing) == count
    for file in missing:
        assert file in header


def test_the_example_for_the_listening_end(tmp_path: Path) -> None:
    path = Path(shutil.copy(EXAMPLES / "listen.toml", tmp_path))
    make_keys(tmp_path)
    shutil.copy(tmp_path / "cert.pem", tmp_path / "clients.pem")
    (tmp_path / "users.toml").write_text(f'[users.bob]\ntoken = "{OTHER_HASH}"\n')
    binds = (parse_bind_rule("localhost:8000-8099"),)
    options = load_listen(path)
    assert options == ListenOptions(
        address=Address("0.0.0.0", 4242),
        tls=ServerTls(cert=tmp_path / "cert.pem", key=tmp_path / "key.pem", client_ca=tmp_path / "clients.pem"),
        tokens=tmp_path / "users.toml",
        users=(
            User(
                name="alice",
                token=HASH,
                rules=Rules(
                    targets=(parse_target_rule("db.internal:5432"), parse_target_rule("10.0.0.0/8:*")),
                    binds=(parse_bind_rule("127.0.0.1:8000-8099"),),
                ),
                limits=Limits(sessions=4, streams=100, forwards=4, rate=10 * 2**20, session_rate=5 * 2**20),
            ),
            User(
                name="backup.example.org",
                rules=Rules(targets=(parse_target_rule("localhost:22"),), binds=()),
            ),
        ),
        rules=Rules(
            targets=tuple(
                map(parse_target_rule, ("localhost:*", "*.internal:443", "10.0.0.0/8:5432", "unix:/run/app/*.sock"))
            ),
            binds=binds,
        ),
        limits=Limits(rate=100 * 2**20, session_rate=50 * 2**20),
        idle_timeout=3600,
        session_idle_timeout=86400,
        output=Output(
            metrics=Address("127.0.0.1", 9100), control=tmp_path / "control.sock", trace=tmp_path / "trace.jsonl"
        ),
        source=path,
    )
    assert inspect(path).problems == ()


def test_the_example_for_the_connecting_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = Path(shutil.copy(EXAMPLES / "connect.toml", tmp_path))
    make_keys(tmp_path)
    for name, copy in (("cert", "ca"), ("cert", "client"), ("key", "client-key")):
        shutil.copy(tmp_path / f"{name}.pem", tmp_path / f"{copy}.pem")
    (tmp_path / "token").touch(0o600)

    def local(name: str, kind: Kind, bind: Address, target: Address | None) -> Forward:
        return Forward(direction=Direction.LOCAL, kind=kind, bind=bind, target=target, name=name)

    assert load_connect(path) == ConnectOptions(
        address=Address("example.org", 4242),
        forwards=(
            local("web", Kind.TCP, Address("127.0.0.1", 8080), Address("localhost", 80)),
            local("proxy", Kind.SOCKS, Address("127.0.0.1", 1080), None),
            local("db", Kind.TCP, Address("::1", 5432), Address("db.internal", 5432)),
            local("dns", Kind.UDP, Address("127.0.0.1", 5353), Address("1.1.1.1", 53)),
            Forward(
                direction=Direction.REMOTE,
                kind=Kind.TCP,
                bind=Address("127.0.0.1", 8000),
                target=UnixPath(str(tmp_path / "app.sock")),
                name="app",
                proxy_protocol=2,
            ),
            local("browser", Kind.HTTP, Address("127.0.0.1", 3128), None),
        ),
        tls=ClientTls(
            ca=tmp_path / "ca.pem",
            name="tunnel.example.org",
            cert=tmp_path / "client.pem",
            key=tmp_path / "client-key.pem",
        ),
        token_file=tmp_path / "token",
        sessions=2,
        max_retries=10,
        output=Output(
            format="json",
            verbosity=1,
            metrics=Address("127.0.0.1", 9101),
            control=tmp_path / "muxpy.sock",
            trace=tmp_path / "trace.jsonl",
        ),
        source=path,
    )
    assert inspect(path).warnings == ()


def test_what_is_not_given_is_as_in_the_options(config: Callable[[str], Path]) -> None:
    path = config(LISTEN)
    assert load_listen(path) == ListenOptions(address=Address("127.0.0.1", 4242), source=path)
    path = config('[connect]\nserver = "example.org:1"\n[connect.tls]\n')
    assert load_connect(path) == ConnectOptions(address=Address("example.org", 1), tls=ClientTls(), source=path)


def test_numbers_are_seconds_and_bytes(config: Callable[[str], Path]) -> None:
    options = load_listen(config(f"{LISTEN}drain = 1.5\nidle-timeout = 90\nlimits.rate = 1000\n"))
    assert (options.drain, options.idle_timeout, options.limits.rate) == (1.5, 90, 1000)


def test_users_have_what_the_listening_end_has_and_their_own_keys(config: Callable[[str], Path]) -> None:
    text = f'{LISTEN}allow = ["*:80"]\nlimits.max-streams = 7\n[users.a]\ntoken = "{HASH}"\nallow-bind = []\nrate = 5\n'
    (user,) = load_listen(config(text)).users
    assert user.rules == Rules(targets=(parse_target_rule("*:80"),), binds=())
    assert user.limits == Limits(streams=7, rate=5)


def test_a_file_for_the_other_end(config: Callable[[str], Path]) -> None:
    path = config(CONNECT)
    with pytest.raises(ConfigError, match=r"muxpy.toml: this file has \[connect\], and is for muxpy connect"):
        load_listen(path)
    with pytest.raises(ConfigError, match=r"muxpy.toml: this file has \[listen\], and is for muxpy listen"):
        load_connect(config(LISTEN))


def test_the_error_has_the_first_problem_and_the_number_of_others(config: Callable[[str], Path]) -> None:
    path = config("[connect]\nserver = 1\nsessions = 0\ndrain = 'x'\n")
    with pytest.raises(ConfigError) as caught:
        load_connect(path)
    assert str(caught.value).startswith(f"{path}:2:10: connect.server: it must be")
    assert str(caught.value).endswith(f" (and 2 more: muxpy check {path})")
    assert caught.value.exit_code == 2
    assert caught.value.problems == inspect(path).problems


def test_certificate_and_key_that_do_not_belong_together(tmp_path: Path, config: Callable[[str], Path]) -> None:
    _write_certificate(tmp_path)
    _write_certificate(tmp_path, name="other-")
    path = config(f'{LISTEN}[listen.tls]\ncert = "cert.pem"\nkey = "other-key.pem"\n')
    assert _found(path) == [
        "5:7: listen.tls.key: cannot use cert.pem with other-key.pem: the key does not belong to the certificate"
    ]


def test_what_is_no_certificate(tmp_path: Path, config: Callable[[str], Path]) -> None:
    _write_certificate(tmp_path)
    (tmp_path / "text").write_text("hello")
    tls = '[connect.tls]\nca = "text"\ncert = "text"\nkey = "key.pem"\n'
    assert _found(config(CONNECT + tls)) == [
        "4:6: connect.tls.ca: cannot use text: no certificate in PEM format in it",
        "5:8: connect.tls.cert: cannot use text with key.pem: no certificate in PEM format in text",
    ]
    assert _found(config(f'{LISTEN}tls.cert = "cert.pem"\n')) == [
        "3:12: listen.tls.cert: cannot use cert.pem: no private key in it: give key"
    ]


def test_a_key_without_its_certificate(tmp_path: Path, config: Callable[[str], Path]) -> None:
    _write_certificate(tmp_path)
    assert _found(config(f'{CONNECT}tls.key = "key.pem"\n')) == [
        "3:5: connect.tls.key: a key needs its certificate; add cert, or leave the key out"
    ]


def test_a_certificate_that_has_expired_or_soon_will(tmp_path: Path, config: Callable[[str], Path]) -> None:
    path = config(f'{LISTEN}[listen.tls]\ncert = "cert.pem"\nkey = "key.pem"\n')
    _write_certificate(tmp_path, end=datetime.now(UTC) - timedelta(days=1))
    (problem,) = _found(path)
    assert problem.startswith("4:8: listen.tls.cert: the certificate in cert.pem has expired on ")
    _write_certificate(tmp_path, end=datetime.now(UTC) + timedelta(days=5, hours=1))
    assert _found(path) == []
    (warning,) = _found(path, warnings=True)
    assert warning.startswith("4:8: listen.tls.cert: the certificate in cert.pem expires in 5 days; renew it")


def test_files_that_others_can_read(tmp_path: Path, config: Callable[[str], Path]) -> None:
    _write_certificate(tmp_path)
    (tmp_path / "key.pem").chmod(0o644)
    (tmp_path / "token").write_text("x")
    (tmp_path / "token").chmod(0o644)
    text = f'{CONNECT}token-file = "token"\ntls = {{ cert = "cert.pem", key = "key.pem" }}\n{FORWARD}'
    token, key = _found(config(text), warnings=True)
    assert token == "3:14: connect.token-file: others on this machine can read the token in token: chmod 600 token"
    assert key == "4:34: connect.tls.key: everybody on this machine can read the key: chmod o-r key.pem"


def test_a_file_of_users_that_others_can_change(tmp_path: Path, config: Callable[[str], Path]) -> None:
    (tmp_path / "users.toml").write_text(f'[users.alice]\ntoken = "sha256:{64 * "0"}"\nallow = ["a:1"]\n')
    (tmp_path / "users.toml").chmod(0o664)
    (warning,) = _found(config(f'{LISTEN}tokens = "users.toml"\n'), warnings=True)
    assert "listen.tokens: others on this machine can change the users in users.toml" in warning


def test_other_warnings(config: Callable[[str], Path]) -> None:
    fingerprint = "ab" * 32
    text = f'{CONNECT}[connect.tls]\nname = "x"\nfingerprint = "{fingerprint}"\n'
    assert _found(config(text), warnings=True) == [
        "1:2: connect: there are no forwards; add a table such as [forwards.web]",
        "4:8: connect.tls.name: with a fingerprint, name does not count; leave one of them out",
    ]
    assert _found(config(f'{LISTEN}[users.a]\ntoken = "{HASH}"\n'), warnings=True) == [
        "3:8: users.a: no rules, here or in [listen]: only loopback addresses of the listening end are allowed"
    ]


def test_the_users_of_the_token_file(tmp_path: Path, config: Callable[[str], Path]) -> None:
    path = config(f'{LISTEN}tokens = "users.toml"\n[users.a]\ntoken = "{HASH}"\nallow = []\n')
    users = tmp_path / "users.toml"
    users.write_text("[users.b]\nallo = 3\nrate = 0\n")
    lone, first, second = _found(path)
    assert lone.startswith("users.toml:1:8: users.b: this user has no token, and certificates are not asked for")
    assert first == "users.toml:2:1: users.b.allo: unknown key; did you mean allow?"
    assert second.startswith("users.toml:3:8: users.b.rate: 0: a rate of 0")
    users.write_text(f'[users.a]\ntoken = "{OTHER_HASH}"\n')
    assert _found(path) == ["users.toml:1:8: users.a: the configuration has a user of that name, too: take another one"]
    users.write_text(f'[users.b]\ntoken = "{HASH}"\n')
    assert _found(path) == ["users.toml:2:9: users.b.token: a has the same token: make each their own"]
    users.write_text("")
    assert _found(path) == []
    path = config(f'{LISTEN}tokens = "users.toml"\n')
    assert _found(path) == []  # a reload must not go on with users that were revoked
    assert _found(path, warnings=True) == [
        "3:10: listen.tokens: there are no users in it, so nobody may connect: `muxpy token new NAME`"
    ]


def test_two_users_with_one_token(config: Callable[[str], Path]) -> None:
    text = f'{LISTEN}[users.a]\ntoken = "{HASH}"\n[users.b]\ntoken = "{HASH}"\n'
    assert _found(config(text)) == ["6:9: users.b.token: a has the same token: make each their own"]


def test_relative_paths_count_from_the_folder_of_the_file(
    tmp_path: Path, config: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config(f"{CONNECT}[forwards]\na = '-L ./a.sock:./b.sock'\nb = '-R ./c.sock:./d.sock'\n")
    monkeypatch.chdir(tmp_path.parent)
    path = Path(tmp_path.name, "muxpy.toml")
    one, two = load_connect(path).forwards
    folder = tmp_path.name
    assert (one.bind, one.target) == (UnixPath(f"{folder}/a.sock"), UnixPath("./b.sock"))
    assert (two.bind, two.target) == (UnixPath("./c.sock"), UnixPath(f"{folder}/d.sock"))


def test_the_command(config: Callable[[str], Path], tmp_path: Path) -> None:
    def run(text: str) -> tuple[Any, str, str]:
        result = CliRunner().invoke(check_command, [str(config(text))], standalone_mode=False)
        return result.return_value, result.stdout, result.stderr

    path = tmp_path / "muxpy.toml"
    assert run(CONNECT + FORWARD) == (0, f"{path}: ok (connect to localhost:4242, 1 forward)\n", "")
    code, out, err = run(LISTEN + f'[users.a]\ntoken = "{HASH}"\n')
    assert (code, out) == (0, f"{path}: ok (listen on 127.0.0.1:4242, 1 user)\n")
    assert err.startswith(f"{path}:3:8: warning: users.a: no rules")
    code, out, err = run("[connect]\nserver = 1\ndrain = 'x'\n")
    assert (code, out) == (2, "")
    assert [line.removeprefix(f"{path}:")[:5] for line in err.splitlines()] == ["2:10:", "3:9: "]


WORDS = """
listen connect users forwards address server tls cert key ca name tokens token allow allow-bind limits rate output
metrics control trace drain insecure sessions type target proxy-protocol token-file alice
"""
NAMES = st.sampled_from(WORDS.split()) | st.text(max_size=3)
SCALARS = (
    st.booleans().map(lambda value: str(value).lower())
    | st.integers().map(str)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.sampled_from(["inf", "nan", "2026-01-01", "2026-01-01T00:00:00Z", "00:00:00", '"*:1"', '"local"', '"-D 1"'])
    | st.text(max_size=8).map(lambda value: _quoted(value))
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda values: f"[{', '.join(values)}]")
        | st.dictionaries(NAMES, inner, max_size=6).map(lambda table: "{" + ", ".join(_pairs(table)) + "}")
    ),
    max_leaves=20,
)
DOCUMENTS = st.dictionaries(NAMES, VALUES).map(lambda table: "\n".join(_pairs(table)))


def _pairs(table: dict[str, str]) -> list[str]:
    return [f"{_quoted(name)} = {value}" for name, value in table.items()]


def _quoted(text: str) -> str:
    return '"' + "".join(letter if letter.isalnum() else f"\\U{ord(letter):08x}" for letter in text) + '"'


@settings(deadline=None)
@given(DOCUMENTS | st.text())
def test_no_text_is_too_strange(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "strange.toml"
    path.write_text(text, "utf-8", errors="surrogatepass")
    inspection = inspect(path)
    assert (inspection.options is None) == bool(inspection.problems)
    for load in (load_listen, load_connect):
        with suppress(ConfigError):
            load(path)
    for problem in inspection.problems:
        assert problem.message
        assert "\n" not in str(problem)
