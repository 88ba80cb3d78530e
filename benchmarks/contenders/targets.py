"""Programs to be reached through a forwarder: iperf3 as a server, and nginx."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import trio

from benchmarks.tools import absent_tools, find_tool

from ._base import HOST, Ports
from ._forwarding import Target
from ._programs import free_port, keep_running, until_listening

if TYPE_CHECKING:
    from ._programs import Running

__all__ = ["TARGETS", "Iperf3Server", "Nginx"]

PAGE: Final = "hello\n"

# One process needs no other user, leaves nothing behind when it is killed, and is as fast as one worker. nginx must be
# able to write to the folders, though it never has to here.
NGINX_CONFIG: Final = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    log_not_found off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {host}:{port} backlog=4096;
        root {folder}/pages;
    }}
}}
"""


class Iperf3Server(Target):
    """It takes one test after the other, and any connection for a test: do not connect to see whether it listens."""

    def missing(self) -> str | None:
        return absent_tools(("iperf3",), "iperf3")

    async def serve(self, task_status: trio.TaskStatus[Ports]) -> None:
        port = free_port()
        command = [find_tool("iperf3") or "iperf3", "-s", "-B", HOST, "-p", str(port), "--forceflush"]
        async with trio.open_nursery() as nursery:
            listening = re.compile(r"Server listening on (\d+)\s")
            running: Running = await nursery.start(keep_running, command, listening)
            task_status.started({"port": running.said})


class Nginx(Target):
    def missing(self) -> str | None:
        return absent_tools(("nginx", "wrk"), "nginx wrk")

    async def serve(self, task_status: trio.TaskStatus[Ports]) -> None:
        with TemporaryDirectory(prefix="muxpy-bench-nginx-") as name:
            folder, port = Path(name), free_port()
            config = folder / "nginx.conf"
            config.write_text(NGINX_CONFIG.format(folder=folder, host=HOST, port=port))
            (folder / "pages").mkdir()
            (folder / "pages" / "index.html").write_text(PAGE)
            async with trio.open_nursery() as nursery:
                command = [find_tool("nginx") or "nginx", "-p", name, "-c", str(config)]
                await nursery.start(keep_running, command)
                await until_listening(port)
                task_status.started({"port": port})


TARGETS: Final[dict[str, type[Target]]] = {"iperf3": Iperf3Server, "nginx": Nginx}
"""By the name that a contender's name ends with."""
