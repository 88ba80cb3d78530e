"""What click passes to a command is what the command's type says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muxpy_cli.commands._bench import bench_command
from muxpy_cli.commands._call import call_command
from muxpy_cli.commands._connect import ConnectParameters, connect_command
from muxpy_cli.commands._credentials import UserParameters, token_group
from muxpy_cli.commands._listen import ListenParameters, listen_command
from muxpy_cli.commands._shared import ConnectionParameters, TransportParameters

if TYPE_CHECKING:
    import click

OTHERS = {
    "bench": {"address", "seconds", "streams", "tests", "as_json"},
    "call": {"address", "method", "arguments", "items", "timeout", "metadata"},
    "new": {"name", "replace", "path"},
}
"""What these take by parameters of their own."""


@pytest.mark.parametrize(
    ("command", "parameters"),
    [
        (listen_command, ListenParameters),
        (connect_command, ConnectParameters),
        (bench_command, ConnectionParameters),
        (call_command, TransportParameters),
        (token_group.commands["new"], UserParameters),
    ],
)
def test_each_option_has_its_type(command: click.Command, parameters: type) -> None:
    passed = {parameter.name for parameter in command.params}
    assert passed == vars(parameters)["__required_keys__"] | OTHERS.get(command.name or "", set())
