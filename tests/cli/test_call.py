"""`muxpy call`: methods of services, of a server in this process."""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterable, AsyncIterator  # noqa: TC003 - the hints of a service are read
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trustme

import muxpy
from muxpy import rpc
from muxpy_cli.access import fingerprint_of
from tests.helpers.tasks import LIMIT, bounded

from .program import COMMAND, ENVIRONMENT, closed_port, running

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


class AccountEmpty(rpc.Error, code=rpc.Code.FAILED_PRECONDITION, details=dict[str, int]):
    pass


class Calculator:
    """Arithmetic.

    For all who have no fingers \x1b[31mleft.
    """

    def __init__(self) -> None:
        self.go_on = trio.Event()
        self.cancelled = trio.Event()

    async def add(self, a: int, b: int = 5) -> int:
        """The sum."""
        return a + b

    async def count(self, to: int) -> AsyncIterator[int]:
        """All numbers below `to`.

        One by one.
        """
        try:
            for number in range(to):
                yield number
                if number == 1:
                    await self.go_on.wait()
        finally:
            self.cancelled.set()

    async def total(self, numbers: AsyncIterable[int]) -> int:
        return sum([number async for number in numbers])

    async def double(self, numbers: AsyncIterable[int]) -> AsyncIterator[int]:
        async for number in numbers:
            yield 2 * number

    async def same(self, value: Any) -> Any:  # noqa: ANN401 - really anything
        return value

    async def who(self) -> dict[str, str]:
        return dict(rpc.current_call().metadata)

    async def pay(self) -> None:
        raise AccountEmpty("only \x1b[31m5", details={"left": 5})

    async def secret(self) -> None:
        raise rpc.Error("not for you", code=rpc.Code.PERMISSION_DENIED)

    async def fail(self) -> None:
        raise ZeroDivisionError("by nothing")

    async def sleep(self) -> None:
        await trio.sleep_forever()

    async def store(self, data: muxpy.Stream) -> None:
        raise NotImplementedError


@asynccontextmanager
async def listening(serve: Callable[..., Awaitable[object]]) -> AsyncIterator[str]:
    """A server's address."""
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(serve, 0, host="127.0.0.1"))
        yield f"127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def serving(
    *services: object, tracebacks: bool = False, reflection: bool = True, context: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """A server; its address."""
    serve = partial(rpc.serve, services=services or [Calculator()], tracebacks=tracebacks, reflection=reflection)
    async with listening(partial(muxpy.serve_tcp_sessions, serve, ssl_context=context)) as address:
        yield address


async def called(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    done = await trio.run_process(
        [*COMMAND, "call", *arguments],
        stdin=stdin,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env=ENVIRONMENT,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "stdin", "output"),
    [
        (["add", '{"b": 2, "a": 1}'], b"", "3\n"),
        (["add", "[1]"], b"", "6\n"),
        (["add", "-"], b'\n{"a":\n1}\n', "6\n"),
        (["who"], b"not read", "{}\n"),
        (["count", "[2]"], b"", "0\n1\n"),
        (["count", "[0]"], b"", ""),
        (["total", "--items"], b"1\n\n 2 \n3", "6\n"),
        (["double", "--items"], b"1\n2\n", "2\n4\n"),
        (["total"], b"1\n", "0\n"),
        (["same", '[{"b":\n"\\u001b\x9b\U000e0001 \\n \xe9"}]'], b"", '{"b":"\\u001b\\u009b\\udb40\\udc01 \\n é"}\n'),
    ],
    ids=["names", "places", "input", "none", "many", "no-items", "items", "both", "without-items", "escapes"],
)
@bounded()
async def test_what_goes_in_and_what_comes_out(arguments: list[str], stdin: bytes, output: str) -> None:
    service = Calculator()
    service.go_on.set()
    async with serving(service, reflection=False) as address:
        method, *others = arguments
        assert await called(address, f"Calculator.{method}", *others, stdin=stdin) == (0, output, "")


@bounded()
async def test_results_are_written_as_they_come() -> None:
    service = Calculator()
    async with serving(service) as address, running("call", address, "Calculator.count", "[3]") as program:
        await program.line("1")
        service.go_on.set()
        await program.line("2")
        assert await program.process.wait() == 0


@bounded()
async def test_items_are_sent_as_they_are_typed() -> None:
    async with serving() as address, trio.open_nursery() as nursery:
        process = await nursery.start(
            partial(
                trio.run_process,
                [*COMMAND, "call", address, "Calculator.double", "--items"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=ENVIRONMENT,
            )
        )
        for number in (1, 2):
            await process.stdin.send_all(b"%d\n" % number)
            assert await process.stdout.receive_some() == b"%d\n" % (2 * number)
        await process.stdin.aclose()
        assert await process.wait() == 0


@bounded()
async def test_metadata_and_a_secret_out_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("very secret\n")
    async with serving() as address:
        given = ["--metadata", "a=b=c", "--metadata", f"token=@{tmp_path / 'token'}"]
        assert await called(address, "Calculator.who", *given) == (0, '{"a":"b=c","token":"very secret"}\n', "")


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "line"),
    [
        (["pay"], b"", 1, r"Calculator.pay: AccountEmpty: only \x1b[31m5; details: {" + '"left": 5}'),
        (["fail"], b"", 1, "Calculator.fail: ZeroDivisionError: the service has failed; its log says more"),
        (["secret"], b"", 3, "Calculator.secret: not for you"),
        (["add"], b"", 2, "Calculator.add: Object missing required field `a`"),
        (["add", '{"a": "x"}'], b"", 2, "Calculator.add: Expected `int`, got `str` - at `$.a`"),
        (["divide"], b"", 2, "Calculator.divide: there is no method 'Calculator.divide'; there are Calculator.add, …"),
        (["sleep", "--timeout", "100ms"], b"", 1, "Calculator.sleep: no answer within 0.1 s (--timeout)"),
        (["total", "--items"], b'1\n"x"\n', 2, "Calculator.total: one of the items: Expected `int`, got `str`"),
        (["total", "--items"], b"1\n\nx\n", 2, "line 3 of standard input is no JSON: invalid character (byte 0)"),
        (["total", "--items"], b"1\n\xff", 2, "line 2 of standard input is no JSON: invalid character (byte 0)"),
        (["total", "--items"], b'"\xff"', 2, "line 1 of standard input is no UTF-8"),
        (["total", "--items"], b"1\n" + bytes(5_000_000), 2, "line 2 of standard input is longer than 4 MiB, …"),
        (["add", "-"], b"[1", 2, "standard input is no JSON: input data was truncated"),
        (["add", "-"], b"1", 2, "arguments are a JSON object, by name, or an array, not 1"),
        (["add", "-"], b"[" * 100_000, 2, "standard input is nested too deeply"),
        (["add", "-"], bytes(5_000_000), 2, "standard input is longer than 4 MiB, …"),
    ],
    ids=[
        *("error", "bug", "forbidden", "missing", "type", "method", "timeout", "item", "line", "last-line", "utf-8"),
        *("long-line", "half", "number", "deep", "long"),
    ],
)
@bounded()
async def test_failures_are_one_line(arguments: list[str], stdin: bytes, code: int, line: str) -> None:
    async with serving() as address:
        method, *others = arguments
        got, output, errors = await called(address, f"Calculator.{method}", *others, stdin=stdin)
    assert (got, output) == (code, "")
    start, cut, _ = f"muxpy: {line}\n".partition("…")
    assert errors[: len(start)] == start if cut else errors == start
    assert errors.count("\n") == 1


@bounded()
async def test_a_service_that_tells_its_tracebacks() -> None:
    async with serving(tracebacks=True) as address:
        code, _, errors = await called(address, "Calculator.fail")
    assert code == 1
    first, *_, last, line = errors.splitlines()
    assert (first, last) == ("Traceback (most recent call last):", "ZeroDivisionError: by nothing")
    assert line == "muxpy: Calculator.fail: ZeroDivisionError: by nothing"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"])
@bounded()
async def test_a_signal_cancels_the_call(number: signal.Signals, code: int) -> None:
    service = Calculator()
    async with serving(service) as address, running("call", address, "Calculator.count", "[9]") as program:
        await program.line("1")
        assert await program.end(number) == code
        assert await program.errors() == ""
        await service.cancelled.wait()


@pytest.mark.parametrize(
    ("redirected", "why"),
    [(">&-", "standard output is closed"), (">/dev/full", "no space left on device")],
    ids=["closed", "full"],
)
@pytest.mark.parametrize("what", ["", "Calculator.add [1]"], ids=["list", "call"])
@bounded()
async def test_standard_output_that_cannot_be_written_is_one_line(what: str, redirected: str, why: str) -> None:
    async with serving() as address:
        command = f"{' '.join(COMMAND)} call {address} {what} {redirected}"
        done = await trio.run_process(["bash", "-c", command], capture_stderr=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 1
    assert done.stderr.decode() == f"muxpy: cannot write the output: {why}\n"


@bounded()
async def test_trust(tmp_path: Path) -> None:
    ca, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate = ca.issue_cert("127.0.0.1")
    certificate.configure_cert(context)
    ca.cert_pem.write_to_path(tmp_path / "right.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "wrong.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    pin = fingerprint_of(tmp_path / "server.pem")
    async with serving(context=context) as address:
        add = (address, "Calculator.add", "[1]")
        assert await called(*add, "--tls-ca", str(tmp_path / "right.pem")) == (0, "6\n", "")
        assert await called(*add, "--fingerprint", pin) == (0, "6\n", "")
        for untrusted in (["--tls-ca", str(tmp_path / "wrong.pem")], ["--fingerprint", f"sha256:{64 * '0'}"]):
            code, output, errors = await called(*add, *untrusted)
            assert (code, output, errors.count("\n")) == (3, "", 1)
        code, _, errors = await called(*add)
        assert (code, errors.count("\n")) == (1, 1)


@bounded()
async def test_what_cannot_be_reached() -> None:
    with closed_port() as port:
        code, _, errors = await called(f"127.0.0.1:{port}", "A.b")
    assert (code, errors) == (1, f"muxpy: cannot connect to 127.0.0.1:{port}: connection refused\n")
    code, _, errors = await called("192.0.2.1:4000", "A.b")
    assert (code, "is another machine: give --tls" in errors) == (2, True)


@bounded()
async def test_a_server_that_serves_no_calls() -> None:
    """As `muxpy listen` does: it knows no streams of that type."""

    async def refuse(stream: muxpy.Stream) -> None:
        stream.reset(muxpy.ErrorCode.PROTOCOL_ERROR)

    async def handle(session: muxpy.Session) -> None:
        await session.serve_streams(refuse)

    async with listening(partial(muxpy.serve_tcp_sessions, handle)) as address:
        code, output, errors = await called(address, "A.b")
    assert (code, output) == (1, "")
    assert errors.startswith(f"muxpy: A.b: what listens at {address} does not serve calls (muxpy.rpc): stream 3: ")


@bounded()
async def test_a_server_that_says_nothing() -> None:
    async def read_and_close(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.aclose()

    async with listening(partial(trio.serve_tcp, read_and_close)) as address:
        code, output, errors = await called(address, "A.b")
    assert (code, output) == (1, "")
    assert errors.endswith(f": what listens at {address} may be no muxpy server\n")


# ---- what there is ----


@bounded()
async def test_the_list_of_services() -> None:
    async with serving(Calculator(), rpc.HealthService()) as address:
        code, output, errors = await called(address)
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    assert lines[0] == "Calculator: Arithmetic."
    assert lines[1] == "  Calculator.add       The sum."
    assert "  Calculator.total" in lines
    assert re.search(r"^  Health\.check         The present state of a service\.$", output, re.MULTILINE)
    assert lines[-2].startswith("Reflection: ")


@bounded()
async def test_the_methods_of_a_service() -> None:
    async with serving() as address:
        code, output, errors = await called(address, "Calculator")
        assert (code, errors) == (0, "")
        assert output.startswith(
            "Calculator: Arithmetic.\n"
            "\n"
            "For all who have no fingers \\x1b[31mleft.\n"
            "\n"
            "  Calculator.add(a: int, b: int = 5) -> int\n"
            "      The sum.\n"
            "\n"
            "  Calculator.count(to: int) -> AsyncIterator[int]\n"
            "      All numbers below `to`.\n"
            "\n"
            "      One by one.\n"
            "\n"
        )
        assert (
            "  Calculator.total(numbers: AsyncIterable[int]) -> int\n"
            "      numbers come from standard input, one a line, with --items.\n"
        ) in output
        assert "Calculator.store(data: muxpy.Stream) -> None\n      It takes or gives a stream of bytes" in output
        assert await called(address, "Calculater") == (
            2,
            "",
            "muxpy: there is no service Calculater: did you mean Calculator?\n",
        )


@bounded()
async def test_a_server_that_does_not_tell() -> None:
    async with serving(reflection=False) as address:
        code, output, errors = await called(address)
    assert (code, output) == (1, "")
    assert errors == (
        "muxpy: the other end does not say what it serves; it would with rpc.serve(..., reflection=True)\n"
    )


# ---- completion ----

BASH = """
set -eu
eval "$(muxpy completion bash)"
while read -r -a COMP_WORDS; do
    [[ ${COMP_WORDS[-1]} == + ]] && COMP_WORDS[-1]=
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
    _muxpy_completion muxpy
    echo "${COMPREPLY[@]}"
done
"""


async def completed(folder: Path, *lines: str, seconds: float = LIMIT) -> list[str]:
    """What bash offers for command lines, taken apart as it does that; `+` at the end is a word not begun."""
    program = folder / "muxpy"
    program.write_text(
        f"#!{sys.executable}\n"
        "from muxpy_cli import main\n"
        "from muxpy_cli.commands import _call\n"
        f"_call.COMPLETING = {seconds}\n"
        "main()\n"
    )
    program.chmod(0o755)
    taken_apart = (re.sub(r"[:=]+", r" \g<0> ", f"muxpy call {line}\n") for line in lines)
    done = await trio.run_process(
        ["bash", "-c", BASH],
        stdin="".join(taken_apart).encode(),
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env={**ENVIRONMENT, "PATH": f"{folder}:{os.environ['PATH']}"},
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")
    return done.stdout.decode().splitlines()


@bounded()
async def test_bash_completes_services_and_methods(tmp_path: Path) -> None:
    async with serving(Calculator(), rpc.HealthService()) as address:
        assert await completed(
            tmp_path, f"{address} He", f"--metadata a=b {address} Calculator.s", f"{address} Health.check +"
        ) == [
            "Health Health.check Health.watch",
            "Calculator.same Calculator.secret Calculator.sleep Calculator.store",
            "",
        ]


@bounded()
async def test_completion_is_silent_where_nothing_answers(tmp_path: Path) -> None:
    with closed_port() as port:
        async with serving(reflection=False) as address:
            lines = f"127.0.0.1:{port} A", f"{address} C", "192.0.2.1:4000 A", "nonsense A"
            assert await completed(tmp_path, *lines) == ["", "", "", ""]


@bounded()
async def test_completion_does_not_wait_for_long(tmp_path: Path) -> None:
    async def keep_silent(stream: trio.SocketStream) -> None:
        async for _ in stream:
            pass

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, keep_silent, 0, host="127.0.0.1"))
        line = f"127.0.0.1:{listener.socket.getsockname()[1]} A"
        assert await completed(tmp_path, line, seconds=0.1) == [""]
        nursery.cancel_scope.cancel()


@bounded()
async def test_a_name_that_a_shell_would_obey_is_not_offered(tmp_path: Path) -> None:
    evil = [
        rpc.ServiceInfo(name=name, doc="", methods=[])
        for name in ("A$(touch x)", "A;x", "A.b.c", "A b", "A\nb", "A", "A\n", "Aü")
    ]

    class Told(rpc.Reflection):
        async def services(self) -> list[rpc.ServiceInfo]:
            return evil

    async with serving(Told(), reflection=False) as address:
        assert await completed(tmp_path, f"{address} A") == ["A Aü"]
