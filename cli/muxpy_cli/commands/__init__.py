"""The commands of the program."""

from ._bench import bench_command
from ._call import call_command
from ._check import check_command
from ._completion import completion_command
from ._connect import connect_command
from ._credentials import keygen_command, token_group
from ._demo import demo_command
from ._get import get_command
from ._listen import listen_command
from ._status import status_command
from ._trace import trace_command
from ._usage import Group, usage_line

__all__ = ["COMMANDS", "Group", "usage_line"]

COMMANDS = (
    listen_command,
    connect_command,
    keygen_command,
    token_group,
    check_command,
    status_command,
    trace_command,
    bench_command,
    get_command,
    call_command,
    completion_command,
    demo_command,
)
"""In the order of the help."""
