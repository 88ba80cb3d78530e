"""curl and nginx: downloads, uploads, many at once, connections that are kept, TLS and tokens, IPv6."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from ._nginx import Nginx, sha256
from ._programs import HOST, curl, muxpy
from ._tunnel import started, tunnel

if TYPE_CHECKING:
    from pathlib import Path

PARALLEL = 100

ONE_WAY_AND_THE_OTHER = pytest.mark.parametrize("option", ["-L", "-R"])


async def assert_downloads(url: str, nginx: Nginx, folder: Path, *options: str) -> None:
    """The big file comes through it."""
    file = folder / "downloaded"
    await curl(*options, "--output", str(file), f"{url}/big")
    assert sha256(file.read_bytes()) == nginx.big


@ONE_WAY_AND_THE_OTHER
async def test_downloads_and_uploads_are_whole(nginx: Nginx, folder: Path, option: str) -> None:
    async with tunnel(option, f"0:{nginx.target}") as ends:
        url = f"http://{HOST}:{ends.port}"
        await assert_downloads(url, nginx, folder)
        upload = folder / "upload"
        upload.write_bytes(os.urandom(3_000_000))
        name = f"uploads/{folder.name}"
        done = await curl("--upload-file", str(upload), "--write-out", "%{http_code}", f"{url}/{name}")
        assert done.out == "201"  # created
        assert sha256((nginx.folder / "pages" / name).read_bytes()) == sha256(upload.read_bytes())
        status = await ends.status()
        [forward] = status["forwards"]
        assert forward["total"] == 2
        assert forward["failed"] == 0
        assert forward["received"] > 3_000_000
        assert forward["sent"] > 6_000_000


async def test_a_hundred_requests_at_once(nginx: Nginx, folder: Path) -> None:
    async with tunnel("-L", f"0:{nginx.target}") as ends:
        parallel = ("--parallel", "--parallel-immediate", "--parallel-max", str(PARALLEL))
        url = f"http://{HOST}:{ends.port}/small?[1-{PARALLEL}]"
        await curl(*parallel, "--fail", "--output", f"{folder}/#1", url)
        assert [sha256((folder / str(number + 1)).read_bytes()) for number in range(PARALLEL)] == (
            [nginx.small] * PARALLEL
        )
        assert (await ends.status())["totals"]["failed"] == 0


async def test_a_connection_is_kept_for_further_requests(nginx: Nginx) -> None:
    async with tunnel("-L", f"0:{nginx.target}") as ends:
        url = f"http://{HOST}:{ends.port}"
        done = await curl(*[f"{url}/connection"] * 3)
        numbers, counts = zip(*(line.split() for line in done.out.splitlines()), strict=True)
        assert len(set(numbers)) == 1
        assert counts == ("1", "2", "3")
        missing = await curl("--write-out", "%{http_code}", f"{url}/missing")
        assert missing.out == "no such thing\n404"
        assert (await ends.status())["totals"]["connections"] == 2


async def test_tls_with_a_fingerprint_and_a_token(nginx: Nginx, folder: Path) -> None:
    made = await muxpy("keygen", str(folder / "tls"))
    [fingerprint] = re.findall(r"^fingerprint: (sha256:[0-9a-f]{64})$", made.out, re.MULTILINE)
    token = (await muxpy("token", "new", "alice", "--file", str(folder / "tokens.toml"))).out.strip()
    assert token.startswith("muxpy_")
    assert token not in (folder / "tokens.toml").read_text()
    token_file = folder / "token"
    token_file.touch(0o600)
    token_file.write_text(token + "\n")

    certificate = ("--tls-cert", f"{folder}/tls/cert.pem", "--tls-key", f"{folder}/tls/key.pem")
    listen = (*certificate, "--tokens", f"{folder}/tokens.toml")
    connect = ("--fingerprint", fingerprint, "-L", f"0:{nginx.target}", "-R", f"0:{nginx.target}")
    async with tunnel(*connect, listen=listen, MUXPY_TOKEN=token) as ends:
        for port in ends.ports:
            await assert_downloads(f"http://{HOST}:{port}", nginx, folder)
        [session] = (await ends.status(listening=True))["sessions"]
        assert session["user"] == "alice"
        assert session["tls"].startswith("TLSv1.3")

        again = ("connect", ends.address, "--token-file", str(token_file), "-L", f"0:{nginx.target}")
        async with started(*again, "--fingerprint", fingerprint) as other:
            await assert_downloads(f"http://{HOST}:{await other.port('forwarding')}", nginx, folder)
        other_certificate = "sha256:" + "0" * 64
        refused = await muxpy(*again, "--fingerprint", other_certificate, check=False)
        assert refused.code == 3
        assert fingerprint in refused.err
        token_file.write_text("muxpy_" + "A" * 43)
        refused = await muxpy(*again, "--fingerprint", fingerprint, check=False)
        assert refused.code == 3
        assert "token" in refused.err
        assert (await ends.status(listening=True))["totals"]["auth_failures"] == 1


async def test_ipv6_in_brackets(nginx: Nginx, folder: Path) -> None:
    if not nginx.ipv6_port:
        pytest.skip("no IPv6 loopback address here")
    target = f"[::1]:{nginx.ipv6_port}"
    forwards = ("-L", f"[::1]:0:{target}", "-D", "[::1]:0", "-R", f"[::1]:0:{target}")
    async with tunnel(*forwards, bind="[::1]:0") as ends:
        assert ends.address.startswith("[::1]:")
        local, socks, remote = ends.ports
        for port in (local, remote):
            await assert_downloads(f"http://[::1]:{port}", nginx, folder)
        proxy = ("--proxy", f"socks5://[::1]:{socks}")
        await assert_downloads(f"http://{target}", nginx, folder, *proxy)
