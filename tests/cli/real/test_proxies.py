"""SOCKS and HTTP proxies with curl and nc, and PROXY headers with nginx."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from ..program import closed_port
from ._nginx import Nginx, sha256
from ._programs import HOST, curl, require, run
from ._tunnel import tunnel

if TYPE_CHECKING:
    from pathlib import Path

UNREACHABLE = "192.0.2.1:80"
"""Reserved for documentation (RFC 5737), and not among what the listening end allows."""


def ways(socks: int, http: int | None = None) -> dict[str, tuple[str, ...]]:
    """curl's options by the way that it goes."""
    names = ("socks5-hostname", "socks5", "socks4a", "socks4")
    found: dict[str, tuple[str, ...]] = {f"--{name}": (f"--{name}", f"{HOST}:{socks}") for name in names}
    if http is not None:
        found["http"] = ("--proxytunnel", "--proxy", f"http://{HOST}:{http}")
    return found


async def test_every_kind_of_proxy_client(nginx: Nginx, folder: Path) -> None:
    async with tunnel("-D", "0", "--http-proxy", "0", "-R", "0") as ends:
        socks, http, reverse = ends.ports
        proxies = [*ways(socks, http).values(), *ways(reverse).values()]
        for number, options in enumerate(proxies):
            host = "localhost" if "--socks4" not in options and "--socks5" not in options else HOST
            file = folder / str(number)
            await curl(*options, "--output", str(file), f"http://{host}:{nginx.port}/big")
            assert sha256(file.read_bytes()) == nginx.big, options
        for number, options in enumerate(proxies):  # and with TLS from end to end inside
            url = f"https://localhost:{nginx.tls_port}/small"
            file = folder / str(number)
            await curl(*options, "--cacert", str(nginx.certificate), "--output", str(file), url)
            assert sha256(file.read_bytes()) == nginx.small, options
        counts = {forward["bind"]: forward["total"] for forward in (await ends.status())["forwards"]}
        assert counts == {f"{HOST}:{socks}": 8, f"{HOST}:{http}": 2, f"{HOST}:{reverse}": 8}


# RFC 1928, section 6: 2 not allowed by the rules, 5 connection refused. SOCKS 4 only has 91, rejected or failed.
FORBIDDEN = {"--socks5-hostname": r"\(2\)", "--socks5": r"\(2\)", "--socks4a": r"\(91\)", "http": "response 403"}
REFUSED = {"--socks5-hostname": r"\(5\)", "--socks5": r"\(5\)", "--socks4a": r"\(91\)", "http": "response 502"}


async def test_clients_are_told_why_not(nginx: Nginx) -> None:
    with closed_port() as closed:
        async with tunnel("-D", "0", "--http-proxy", "0", "-R", "0") as ends:
            socks, http, reverse = ends.ports
            for way, options in ways(socks, http).items():
                if way in FORBIDDEN:
                    await assert_told(options, UNREACHABLE, FORBIDDEN[way])
                    await assert_told(options, f"{HOST}:{closed}", REFUSED[way])
            for way, options in ways(reverse).items():
                if way in REFUSED:
                    await assert_told(options, f"{HOST}:{closed}", REFUSED[way])
            # An HTTP proxy that knows nothing but CONNECT says so, and SOCKS tells who has taken it for one.
            plain = await curl("--proxy", f"http://{HOST}:{http}", "--include", f"http://{nginx.target}/small")
            assert plain.out.startswith("HTTP/1.1 405 ")
            mistaken = await curl("--include", f"http://{HOST}:{socks}/")
            assert mistaken.out.endswith("This is a SOCKS proxy, not an HTTP proxy.\n")
            assert (await ends.status(listening=True))["totals"]["refused"] == 4


async def assert_told(options: tuple[str, ...], target: str, expected: str) -> None:
    done = await curl("--verbose", *options, f"http://{target}/", check=False)
    assert done.code in {56, 97}, done  # CURLE_RECV_ERROR, CURLE_PROXY
    assert re.search(expected, done.err), done


async def test_nc_through_socks(nginx: Nginx) -> None:
    require("netcat-openbsd", "nc")
    async with tunnel("-D", "0") as ends:
        for version in ("4", "5"):
            command = ("nc", "-X", version, "-x", f"{HOST}:{ends.port}", "-w", "10", HOST, str(nginx.port))
            request = b"GET /connection HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
            done = await run(*command, stdin=request)
            assert done.out.startswith("HTTP/1.1 200 OK\r\n")
            assert done.out.endswith(" 1\n")


# ---- PROXY protocol ----


@pytest.mark.parametrize("version", ["1", "2"])
async def test_the_target_learns_who_the_client_is(nginx: Nginx, folder: Path, version: str) -> None:
    path = folder / "entrance.sock"
    target = f"{HOST}:{nginx.proxy_port}"
    forwards = ("-L", f"0:{target}", "-L", f"{path}:{target}", "-D", "0", "-R", f"0:{target}")
    async with tunnel(*forwards, "--proxy-protocol", version) as ends:
        local, _, socks, remote = ends.ports
        for name, port in (("local", local), ("remote", remote)):
            page = f"/{name}-{version}-{folder.name}"
            url = f"http://{HOST}:{port}{page}"
            done = await curl("--write-out", "%{local_ip} %{local_port}", url)
            answer, client = done.out.splitlines()
            assert answer == f"{client} {page}"
            assert answer in (nginx.folder / "who.log").read_text().splitlines()
        # Targets that a client picks itself expect no header.
        picked = await curl("--socks5", f"{HOST}:{socks}", f"http://{nginx.target}/connection")
        assert picked.out.endswith(" 1\n")
        # A client at a Unix socket has no address to tell.
        unix = await curl("--unix-socket", str(path), "http://localhost/unix")
        assert unix.out in {"  /unix\n", " 0 /unix\n"}


async def test_the_target_learns_ipv6_clients(nginx: Nginx) -> None:
    if not nginx.ipv6_port:
        pytest.skip("no IPv6 loopback address here")
    async with tunnel("-L", f"[::1]:0:{HOST}:{nginx.proxy_port}", "--proxy-protocol", "2") as ends:
        done = await curl("--write-out", "%{local_port}", f"http://[::1]:{ends.port}/page")
        answer, port = done.out.splitlines()
        assert answer == f"::1 {port} /page"
