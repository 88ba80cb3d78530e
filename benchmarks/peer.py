"""One process of a measurement. The Go program takes the same arguments and prints the same.

python -m benchmarks.peer serve CONTENDER           prints {"port": N}, serves until its stdin ends
python -m benchmarks.peer run CONTENDER PORT JOB    does the job, prints its figures as JSON
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any

import trio

from .calls import LIBRARIES
from .contenders import CONTENDERS
from .workloads import WORKLOADS

__all__ = ["main"]


async def serve(contender: str) -> None:
    """Serve until stdin ends, which it also does when the process that started this one is killed."""
    async with trio.open_nursery() as nursery:
        ports = await nursery.start(CONTENDERS[contender].serve)
        print(json.dumps(ports), flush=True)
        async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
            while await stdin.receive_some():
                pass
        nursery.cancel_scope.cancel()


async def run(contender: str, port: int, job: dict[str, Any]) -> None:
    """Do the job and print its figures."""
    workload = WORKLOADS[job["workload"]]
    async with CONTENDERS[contender].connect(port) as client:
        figures = await workload(client, job)
    print(json.dumps(figures), flush=True)


def causes(error: BaseException) -> list[str]:
    """What went wrong, without the groups around it."""
    if isinstance(error, BaseExceptionGroup):
        return [line for each in error.exceptions for line in causes(each)]
    return [f"{type(error).__name__}: {error}"]


def main(arguments: list[str]) -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a thousand connections are more than the usual limit
    try:
        match arguments:
            case ["serve", contender] if contender in LIBRARIES:
                LIBRARIES[contender].serve()
            case ["run", contender, port, job] if contender in LIBRARIES:
                print(json.dumps(LIBRARIES[contender].run(int(port), json.loads(job))), flush=True)
            case ["serve", contender]:
                trio.run(serve, contender)
            case ["run", contender, port, job]:
                trio.run(run, contender, int(port), json.loads(job))
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except Exception as error:
        print("\n".join(dict.fromkeys(causes(error))), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
