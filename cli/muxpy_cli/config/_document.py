"""A file in TOML: what it says, where it says so, and what is wrong with it."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from .._errors import Failure, describe
from ..access import if_missing
from ..specs import printable
from ._positions import Positions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from ._positions import Where

__all__ = ["ConfigError", "Document", "Problem"]

# tomllib tells the place in words only, before Python 3.14.
_TOML_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")

_TOML_WORDS: Final = {
    "Invalid value": "this is no value; text goes in quotes",
    "Cannot overwrite a value": "the key stands a second time in the same table; keep one of the two",
}
"""What tomllib says of the commonest mistakes, in words that help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something in a file that is wrong, or, as a warning, likely not meant."""

    file: str
    line: int = 0
    """From 1; 0 if it is about the file as a whole."""
    column: int = 0
    """From 1, in characters."""
    key: str = ""
    """Dotted, as in `connect.tls.ca`; empty if no key is at fault."""
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return ": ".join(filter(None, (place, self.key, self.message)))


class ConfigError(Failure):
    """A file cannot be used; the message is the first problem, and how many more there are."""

    def __init__(self, problems: Sequence[Problem], checked: Path | None = None) -> None:
        """`checked` is the file in which `muxpy check` finds all of them."""
        first, *others = problems
        hint = f": muxpy check {checked}" if checked is not None else ""
        more = f" (and {len(others)} more{hint})" if others else ""
        super().__init__(f"{first}{more}", exit_code=2)
        self.problems = tuple(problems)


class Document:
    """A file's content, and what was found in it."""

    def __init__(self, path: Path, text: str) -> None:
        """Raises ConfigError if the text is not TOML."""
        self.path = path
        self.text = text
        self._problems: list[Problem] = []
        self._warnings: list[Problem] = []
        self.data = self._parse()

    @classmethod
    def read(cls, path: Path, made_by: Callable[[Path], str] | None = None) -> Document:
        """Raises ConfigError if the file cannot be read or is not TOML. If it is not there, `made_by` says what makes
        it."""
        return cls(path, _read(path, made_by))

    @property
    def problems(self) -> list[Problem]:
        """In the order of the file; those of files that it names follow."""
        return sorted(self._problems, key=self._order)

    @property
    def warnings(self) -> list[Problem]:
        """In the same order."""
        return sorted(self._warnings, key=self._order)

    def include(self, problems: Iterable[Problem], warnings: Iterable[Problem] = ()) -> None:
        """What was found in a file that this one names."""
        self._problems += problems
        self._warnings += warnings

    def wrong(self, where: Where, message: str, *, at_key: bool = False) -> None:
        """Note what is wrong with the value there; with `at_key`, with the key itself."""
        self._problems.append(self._problem(where, message, at_key))

    def warn(self, where: Where, message: str) -> None:
        """Note what may be meant as it stands, but should be known."""
        self._warnings.append(self._problem(where, message, at_key=False))

    def place(self, where: Where) -> str:
        """In words, for a message about something else."""
        return f"line {self._positions.key(where).line}"

    @cached_property
    def _positions(self) -> Positions:
        """Found when the first one is needed: in a large file that is right, that is never."""
        try:
            return Positions(self.text)
        except RecursionError:  # nested as deeply as tomllib only just takes: what is wrong is said without its place
            return Positions("")

    def _problem(self, where: Where, message: str, at_key: bool) -> Problem:
        line, column = self._positions.key(where) if at_key else self._positions.value(where)
        key = ".".join(_shown(part) for part in where if isinstance(part, str))
        return Problem(file=str(self.path), line=line, column=column, key=key, message=printable(message))

    def _parse(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            raise self._syntax_error(str(error)) from None
        except RecursionError:
            raise _failed(self.path, "arrays or tables are nested too deeply") from None
        except ValueError:  # the only one that tomllib lets through: Python's limit for the digits of a number
            raise _failed(self.path, "a number has far too many digits") from None

    def _syntax_error(self, message: str) -> ConfigError:
        match = _TOML_PLACE.search(message)
        if match is None or match[1] is None:
            line, column = self.text.count("\n") + 1, len(self.text) - self.text.rfind("\n")
        else:
            line, column = int(match[1]), int(match[2])
        words = _TOML_PLACE.sub("", message)
        words = _TOML_WORDS.get(words, words[:1].lower() + words[1:])
        return _failed(self.path, f"not TOML: {words}", line, column)

    def _order(self, problem: Problem) -> tuple[bool, int, int]:
        return problem.file != str(self.path), problem.line, problem.column


def _read(path: Path, made_by: Callable[[Path], str] | None) -> str:
    try:
        return path.read_text("utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        column = error.start - error.object.rfind(b"\n", 0, error.start)
        raise _failed(path, "this is not UTF-8, as TOML has to be", line, column) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        hint = if_missing(error, path, made_by) if made_by is not None else ""
        raise _failed(path, f"cannot read it: {describe(error)}{hint}") from None


def _failed(path: Path, message: str, line: int = 0, column: int = 0) -> ConfigError:
    return ConfigError([Problem(file=str(path), line=line, column=column, message=message)])


def _shown(name: str) -> str:
    """A part of a dotted key as TOML would have it."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else repr(name)
