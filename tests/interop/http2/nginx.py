"""nginx between a client and muxpy: `grpc_pass` is its only way to speak HTTP/2 to what is behind it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tests.cli.program import free_port
from tests.cli.real._programs import serving

from .site import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .site import Site
    from .tls import Tls

__all__ = ["nginx_before"]

# One process, which needs no other user and leaves nobody behind when it is killed. The connections to muxpy are kept.
CONFIG: Final = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream muxpy {{
        server {host}:{backend};
        keepalive 8;
    }}
    server {{
        listen {host}:{port} {listen};
        {certificate}
        location / {{ grpc_pass {scheme}://muxpy; }}
        grpc_read_timeout 300s;
        grpc_send_timeout 300s;
        grpc_ssl_verify on;
        grpc_ssl_name localhost;
        {trusted}
    }}
}}
"""


@contextmanager
def nginx_before(site: Site, folder: Path, tls: Tls | None, behind: Tls | None) -> Iterator[int]:
    """The port of one that passes everything on to the site, as long as the block."""
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(
        CONFIG.format(
            folder=folder,
            host=HOST,
            port=port,
            listen="http2" if tls is None else "ssl http2",
            certificate="" if tls is None else f"ssl_certificate {tls.chain}; ssl_certificate_key {tls.key};",
            backend=site.port,
            scheme="grpc" if behind is None else "grpcs",
            trusted="" if behind is None else f"grpc_ssl_trusted_certificate {behind.authority};",
        )
    )
    with serving(["nginx", "-p", str(folder), "-c", str(config)], folder / "output.log", port=port):
        yield port
