"""nginx with what the tests ask it for."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..program import free_port
from ._programs import HOST, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BIG: Final = 6_000_000
SMALL: Final = 20_000

# One process, which needs no other user and leaves nobody behind when it is killed. What a PROXY header says is
# answered and logged; a connection's number and count of requests show whether it was kept.
CONFIG: Final = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    log_format who '$proxy_protocol_addr $proxy_protocol_port $request_uri';
    access_log off;
    log_not_found off;
    client_max_body_size 100m;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 100000;
    server {{
        listen {host}:{port} backlog=1024;
        listen {host}:{tls_port} ssl;
        {ipv6}
        ssl_certificate {tls}/cert.pem;
        ssl_certificate_key {tls}/key.pem;
        root {folder}/pages;
        location /uploads/ {{ dav_methods PUT; create_full_put_path on; }}
        location /connection {{ return 200 "$connection $connection_requests\\n"; }}
        location /missing {{ return 404 "no such thing\\n"; }}
    }}
    server {{
        listen {host}:{proxy_port} proxy_protocol;
        access_log {folder}/who.log who;
        location / {{ return 200 "$proxy_protocol_addr $proxy_protocol_port $request_uri\\n"; }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Nginx:
    """One that runs."""

    folder: Path
    port: int
    tls_port: int
    proxy_port: int
    ipv6_port: int
    """0 without ::1."""
    certificate: Path
    big: str
    """The hash of /big, which has BIG bytes."""
    small: str

    @property
    def target(self) -> str:
        return f"{HOST}:{self.port}"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _free_ports(count: int) -> list[int]:
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)


@contextmanager
def serving_nginx(folder: Path, tls: Path, *, ipv6: bool) -> Iterator[Nginx]:
    """Serve as long as the block; `tls` has cert.pem and key.pem."""
    port, tls_port, proxy_port, ipv6_port = _free_ports(4)
    ipv6_port = ipv6_port if ipv6 else 0
    pages = folder / "pages"
    (pages / "uploads").mkdir(parents=True)
    hashes = {}
    for name, size in (("big", BIG), ("small", SMALL)):
        data = os.urandom(size)
        (pages / name).write_bytes(data)
        hashes[name] = sha256(data)
    config = folder / "nginx.conf"
    config.write_text(
        CONFIG.format(
            folder=folder,
            host=HOST,
            port=port,
            tls_port=tls_port,
            proxy_port=proxy_port,
            ipv6=f"listen [::1]:{ipv6_port};" if ipv6_port else "",
            tls=tls,
        )
    )
    with serving(["nginx", "-p", str(folder), "-c", str(config)], folder / "output.log", port=port):
        yield Nginx(
            folder,
            port,
            tls_port,
            proxy_port,
            ipv6_port,
            tls / "cert.pem",
            hashes["big"],
            hashes["small"],
        )
