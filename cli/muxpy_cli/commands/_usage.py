"""Mistakes in the command line, as one line that says what to write instead; also for habits from ssh or chisel."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

import click

from ..specs import SpecError, parse_address, parse_dynamic, parse_local, parse_remote, parse_stdio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Group", "extra_advice", "usage_line"]


_ALIKE: Final = 0.75
"""The cutoff for difflib: --max-retry is like --max-retries, --port is not like --rate."""


class Group(click.Group):
    """A group that gives advice about commands that it does not have."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Like click's, which only says that a command is unknown."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            known = self.list_commands(ctx)
            advice = _command_advice(name) or _alike(name, known) or f"there are {', '.join(known)}"
            raise click.UsageError(f"there is no command {name}: {advice}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Like click's, which does not say of which command an option is used wrongly."""
        try:
            return super().invoke(ctx)
        except click.BadOptionUsage as error:
            name = ctx.invoked_subcommand or ""
            if error.ctx is None and (command := self.get_command(ctx, name)) is not None:
                error.ctx = click.Context(command, ctx, name)
            raise


def usage_line(error: click.ClickException) -> str:
    """What is wrong, what to write instead, and where the help is."""
    if not isinstance(error, click.UsageError):
        return " ".join(error.format_message().split())
    line = " ".join(_problem(error).split())
    if "--help" in line:
        return line
    return f"{line}; see `{error.ctx.command_path if error.ctx else 'muxpy'} --help`"


def _problem(error: click.UsageError) -> str:
    if isinstance(error, click.NoSuchOption):
        name, command = error.option_name, error.ctx.command.name if error.ctx else None
        advice = _option_advice(command, name) or _alike(name, error.possibilities or ())
        return f"there is no option {name}" + (f": {advice}" if advice else "")
    if isinstance(error, click.MissingParameter) and error.param is not None:
        example = _example(error.ctx)
        return f"{error.param.human_readable_name} is missing" + (f"; for example `{example}`" if example else "")
    message = error.format_message().removesuffix(".")
    return message[:1].lower() + message[1:] if message[1:2].islower() else message


def _alike(name: str, known: Iterable[str]) -> str | None:
    found = get_close_matches(name, known, n=1, cutoff=_ALIKE)
    return f"did you mean {found[0]}?" if found else None


def _example(context: click.Context | None) -> str | None:
    """The first example in the command's help."""
    if context is None:
        return None
    lines = (line.strip() for line in (context.command.help or "").splitlines())
    return next((line for line in lines if line.startswith(f"{context.command_path} ")), None)


# ---- habits from ssh, chisel and other programs, and what muxpy has instead ----

_NO_SHELL: Final = "leave it out, muxpy never runs a shell"
_TOKEN: Final = "a token goes into MUXPY_TOKEN or a --token-file, as others can read the command line"
_FORWARDS: Final = "forwards are given to `muxpy connect`"

_COMMANDS: Final = {
    "help": "write `muxpy --help`, or `muxpy connect --help` for one command",
    "version": "write `muxpy --version`",
    "server": "write `muxpy listen`",
    "serve": "write `muxpy listen`",
    "client": "write `muxpy connect`",
    "ssh": "write `muxpy connect`",
}

_CONNECTING: Final = {
    "-N": _NO_SHELL,
    "-n": _NO_SHELL,
    "-T": _NO_SHELL,
    "-t": _NO_SHELL,
    "-f": "leave it out, muxpy stays in the foreground: the shell's &, nohup or a service manager keeps it running",
    "-p": "the port goes behind the host, HOST:PORT",
    "--port": "the port goes behind the host, HOST:PORT",
    "-l": f"there are no user names: {_TOKEN}",
    "-i": f"{_TOKEN}; a certificate is --tls-cert with --tls-key",
    "-g": "to bind a port for other machines, too, give its address: -L '*:8080:localhost:80'",
    "-C": "leave it out, nothing is compressed",
    "--token": _TOKEN,
    "--auth": _TOKEN,
    "--keepalive": "leave it out, sessions have a heartbeat",
    "--tls-skip-verify": "--fingerprint trusts one certificate, whatever it says",
    "--socks": "a SOCKS proxy is -D [BIND:]PORT",
}

_LISTENING: Final = {
    "-p": "the port is an argument, for example `muxpy listen 4242`",
    "--port": "the port is an argument, for example `muxpy listen 4242`",
    "--host": "the host is part of the argument, for example `muxpy listen 127.0.0.1:4242`",
    "--token": "users and their tokens are in a file, --tokens, which `muxpy token new NAME` makes",
    "--auth": "users and their tokens are in a file, --tokens, which `muxpy token new NAME` makes",
    "--authfile": "users and their tokens are in a file, --tokens, which `muxpy token new NAME` makes",
    "--reverse": "leave it out, --allow-bind says what -R may bind",
    "--socks5": "leave it out, --allow says what -D may reach",
    "-L": _FORWARDS,
    "-R": _FORWARDS,
    "-D": _FORWARDS,
    "-W": _FORWARDS,
    "--http-proxy": _FORWARDS,
}

_AT_ALL: Final = dict.fromkeys(("-L", "-R", "-D", "-W", "--http-proxy"), "it is one of `muxpy connect`")
_OPTIONS: Final = {"connect": _CONNECTING, "bench": _CONNECTING, "listen": _LISTENING, "cli": _AT_ALL}

# Forwards as chisel writes them: R: for those of the other end, "socks" as the target of a proxy, and a port that is
# the same at both ends given once.
_REVERSE: Final = re.compile(r"R:(.+)")
_PROXY: Final = re.compile(r"(?:(.+):)?socks")
_STDIO: Final = re.compile(r"stdio:(.+)")
_PORT: Final = re.compile(r"([0-9]+)")
_TARGET: Final = re.compile(r"[^:]+:([0-9]+)")
_PROXY_PORT: Final = "1080"


def _command_advice(name: str) -> str | None:
    """What to write instead of a command that does not exist; None without advice."""
    if advice := _COMMANDS.get(name):
        return advice
    if _fits(parse_address, name) or "@" in name:
        return "to connect there, write `muxpy connect HOST:PORT`"
    return None


def _option_advice(command: str | None, option: str) -> str | None:
    """What to write instead of an option that this command does not have."""
    return _OPTIONS.get(command or "", {}).get(option)


def extra_advice(word: str) -> str:
    """What to write instead of an argument after the address of `muxpy connect`."""
    if forward := _forward(word):
        return f"{word} looks like a forward: write {forward}"
    return f"nothing can stand behind HOST:PORT but options, so leave {word} out: muxpy runs no commands there"


def _forward(word: str) -> str | None:
    """The option that means the same."""
    if match := _REVERSE.fullmatch(word):
        return _option("-R", parse_remote, match[1])
    if match := _STDIO.fullmatch(word):
        return f"-W {match[1]}" if _fits(parse_stdio, match[1]) else None
    return _option("-L", parse_local, word)


def _option(name: str, parse: Callable[[str], object], spec: str) -> str | None:
    if match := _PROXY.fullmatch(spec):
        bind = match[1] or _PROXY_PORT
        return f"{'-D' if name == '-L' else name} {bind}" if _fits(parse_dynamic, bind) else None
    if match := _PORT.fullmatch(spec):
        spec = f"{match[1]}:localhost:{match[1]}"
    elif match := _TARGET.fullmatch(spec):
        spec = f"{match[1]}:{spec}"
    return f"{name} {spec}" if _fits(parse, spec) else None


def _fits(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except SpecError:
        return False
    return True
