"""What goes wrong, in words."""

from __future__ import annotations

import errno
import socket
from typing import Any, cast
from unittest.mock import Mock

import pytest

from muxpy_cli._errors import describe, unexpected
from muxpy_cli._lifetime import report
from muxpy_cli.client._local import LocalForward
from muxpy_cli.specs import parse_local

TOO_MANY = "too many open files (ulimit -n, or LimitNOFILE= of a unit, allows more)"


def exhausted() -> OSError:
    return OSError(errno.EMFILE, "Too many open files")


def test_a_limit_of_the_system_is_no_mistake_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert describe(exhausted()) == TOO_MANY
    assert unexpected(ExceptionGroup("", [exhausted()])) == TOO_MANY
    assert unexpected(ValueError("x")) == "internal error: ValueError('x')"
    assert report(exhausted()) == 1
    assert capsys.readouterr().err == f"muxpy: {TOO_MANY}\n"


def test_a_connection_that_there_are_no_descriptors_for_says_so() -> None:
    console = Mock()
    links = cast("Any", Mock(open_now=Mock(side_effect=exhausted())))
    client, near = socket.socketpair()
    with client:
        LocalForward(parse_local("8080:localhost:80"), links, console)._take(near, cast("Any", None))
    console.error.assert_called_once_with(f"connection to 127.0.0.1:8080: {TOO_MANY}")


def test_a_name_that_cannot_be_encoded_is_described() -> None:
    with pytest.raises(UnicodeError) as caught:
        ("a" * 70 + ".example").encode("idna")
    assert describe(caught.value) == "no valid host name"
