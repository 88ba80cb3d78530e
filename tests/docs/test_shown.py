"""What the pages show is what happens: every block of shell and Python is run, or stands in a list with the reason."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import pytest
import trio

from tests.cli.program import tunnel
from tests.cli.real._programs import require
from tests.helpers.tasks import LIMIT

from .blocks import PAGES, Block, blocks, files
from .terminals import terminals

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

NOT_HERE: Final = {
    "$ python3 -m venv .venv && . .venv/bin/activate": "tests/distribution installs, without a network",
    "$ make demo": "make test is what runs this",
    "make bench": "takes ten minutes; tests/benchmarks has short runs",
    "$ muxpy get https://example.org": "asks a server on the Internet; tests/cli/test_get.py has one here",
    "client$ ssh -o ProxyCommand": "wants an account to log in to; tests/cli/real/test_ssh.py makes one",
    "python3 -m venv /opt/muxpy": "wants root; tests/cli/test_systemd.py runs the units",
    "/opt/muxpy/bin/muxpy check": "wants root; tests/cli/test_systemd.py runs the units",
    "docker build": "wants Docker, and a network",
}
"""Blocks that are not run, by how they begin, and why."""

SHELL: Final = [block for page in PAGES for block in blocks(page) if block.language in {"console", "sh"}]


class Setting(NamedTuple):
    """What a block finds, and how it ends."""

    typed: str = ""
    """Before it."""
    files: Mapping[str, str] = {}
    """In place of those of the page."""
    needs: tuple[str, ...] = ()
    """Debian's packages, and programs of them."""
    code: int = 0
    """What its commands end with."""


LISTEN: Final = "server$ muxpy listen 4242\n"
WEB: Final = "server$ echo hello > index.html\nserver$ python3 -m http.server 3000 --bind 127.0.0.1\n"
HELLO: Final = "web$ echo hello > hello.txt\nweb$ python3 -m http.server 8000 --bind 127.0.0.1\n"
REDIS: Final = "server$ mkdir redis\nserver$ redis-server --port 0 --unixsocket /tmp/redis/redis.sock\n"
NAMES: Final = (
    "server$ dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file --no-resolv --no-hosts --user=$(id -un) "
    "--log-facility=- --port=5300 --listen-address=127.0.0.1 --bind-interfaces --host-record=db.internal,10.0.0.7\n"
)

SETTINGS: Final = {
    "server$ muxpy keygen tls\n": Setting(HELLO),
    "server$ muxpy listen 4242 --allow 'localhost:*' --allow 'unix:": Setting(
        REDIS, needs=("redis-server redis-tools", "redis-server", "redis-cli")
    ),
    "client$ muxpy connect localhost:4242 -L 5353": Setting(
        NAMES + LISTEN, needs=("dnsmasq-base bind9-dnsutils", "dnsmasq", "dig")
    ),
    "client$ muxpy keygen bob": Setting("server$ muxpy keygen tls --name server.example\n"),
    "server$ (umask 077 && muxpy token new ci": Setting(
        "server$ muxpy token new alice > alice.token\nserver$ muxpy listen 4242 --tokens tokens.toml\n"
    ),
    "$ muxpy check connect.toml": Setting(
        files={"connect.toml": '[connect]\nserver = "localhost:4242"\n\nsession = 2\n[forwards]\nweb = "-D 1080"\n'},
        code=2,
    ),
    "$ muxpy bench localhost:4242": Setting(LISTEN),
}
"""By how a block begins. What is not there finds a web server at port 3000 and `muxpy listen 4242`, if it uses them."""


def chosen(block: Block, table: Mapping[str, T]) -> T | None:
    return next((value for start, value in table.items() if block.text.startswith(start)), None)


def setting(block: Block) -> Setting:
    typed = WEB if ":3000" in block.text else ""
    if " connect " in block.text and "muxpy listen" not in block.text:
        typed += LISTEN
    return chosen(block, SETTINGS) or Setting(typed)


def named(block: Block) -> str:
    return re.sub(r"\W+", "-", f"{block.page} {block.first}")


RUN: Final = [block for block in SHELL if chosen(block, NOT_HERE) is None]


@pytest.mark.parametrize("block", RUN, ids=named)
async def test_what_is_typed_does_what_the_page_says(block: Block) -> None:
    found = setting(block)
    if found.needs:
        require(*found.needs)
    with trio.fail_after(LIMIT):
        async with terminals() as them:
            them.words |= {
                "server.example": "localhost",
                "'*:": "'localhost:",  # nothing here may be reached from outside
                "/tmp/redis": str(them.folder / "redis"),
                "muxpy bench": "muxpy bench --seconds 0.1",
            }
            them.answers["curl"] = "hello\n"
            for name, text in {**files(block.page), **found.files}.items():
                them.write(name, text)
            if found.typed:
                await them.play(found.typed)
            await them.play(block.text, found.code)


def test_the_library_and_the_program_listen_on_ports_of_their_own() -> None:
    """An example that still runs must not be met by `muxpy connect`."""
    program = {port for block in SHELL for port in re.findall(r"muxpy listen (?:'\*:)?(\d+)", block.text)}
    python = [block for page in PAGES for block in blocks(page) if block.language == "python"]
    assert program
    assert not [str(block) for block in python if program & set(re.findall(r"\d+", block.text))]


def test_every_reason_is_needed() -> None:
    for table in (NOT_HERE, SETTINGS):
        for start in table:
            assert [block for block in SHELL if block.text.startswith(start)], start


@pytest.mark.parametrize(
    ("shown", "complaint"),
    [
        ("$ echo one\ntwo\n", "echo one printed\none\n"),
        ("$ echo one; echo two\none\n", "echo one; echo two printed\none\ntwo\n"),
        ("$ false\n", "false: 1: "),
        ("$ muxpy listen 4242\nlistening on 127.0.0.1:4242 with TLS\n", "printed\nlistening on 127.0.0.1:"),
        ("$ muxpy listen 4242 --no-such-option\n", "has ended, but is not ready: muxpy: "),
    ],
)
async def test_what_is_not_as_the_page_says_is_noticed(shown: str, complaint: str) -> None:
    with trio.fail_after(LIMIT), pytest.RaisesGroup(AssertionError, flatten_subgroups=True) as caught:
        async with terminals() as them:
            await them.play(shown)
    assert complaint in str(caught.value.exceptions[0])


async def test_what_may_differ_does_not_count() -> None:
    with trio.fail_after(LIMIT):
        async with terminals() as them:
            await them.play("$ date +%T; echo 127.0.0.1:40000\n12:00:02\n127.0.0.1:53216\n")
            await them.play("one$ printf '1\\n2\\n3\\n4 in 61.5 s (0:01:01)\\n'\n1\n...\n4 in 0.3 s\n")


def only(language: str, heading: str) -> str:
    (block,) = [block for block in blocks("docs/cli.md") if (block.language, block.heading) == (language, heading)]
    return block.text


async def test_a_line_of_json_is_as_it_is_shown() -> None:
    shown = json.loads(only("json", "Logs"))
    with trio.fail_after(LIMIT):
        async with tunnel("-L", "0:localhost:1", options=("--log-format", "json")) as ends:
            said = [json.loads(line) for line in ends.connecting.output.splitlines()]
    (line,) = [line for line in said if line["event"] == shown["event"]]
    assert list(line) == list(shown)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    port = re.search(r"\d+$", line["peer"])
    assert port is not None
    assert {**line, "time": ""} == {**json.loads(only("json", "Logs").replace("14280", port[0])), "time": ""}


async def test_the_file_of_users_can_be_read() -> None:
    with trio.fail_after(LIMIT):
        async with terminals() as them:
            (them.folder / "tokens.toml").write_text(only("toml", "Users and tokens"))
            await them.play("$ muxpy token list\nalice\n...\n")
