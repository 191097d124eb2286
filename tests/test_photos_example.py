"""The example `photos`: its demonstration, with a small photo, and what it answers at the edges."""

from __future__ import annotations

import hashlib
import http.client
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from guests.toolchain import locked
from serving import serving

EXAMPLE = Path(__file__).parents[1] / "examples" / "photos"
COMPONENT = EXAMPLE / ".build" / "photos.wasm"

PYTHON = pytest.param(
    "python",
    marks=pytest.mark.skipif(
        os.environ.get("WASMPLEX_TEST_LOOPS") != "all",
        reason="building and compiling a guest in Python takes half a minute: make test-all does",
    ),
)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]


@pytest.mark.parametrize("language", [PYTHON, "c"])
def test_the_demonstration(language: str) -> None:
    with locked("photos"):
        command: list[str | Path] = [sys.executable, EXAMPLE / "demo.py", "5", language]
        done = subprocess.run(command, capture_output=True, text=True, timeout=450, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    answers = [
        line.split()[0] for line in done.stdout.splitlines() if line.startswith("    ") and "etag" in line
    ]
    assert answers == ["201", "200", "206", "304", "200"]
    assert "5 MB" in done.stdout


@pytest.fixture(scope="module", params=[PYTHON, "c"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("photos")
    with locked("photos"):
        if request.param == "python" and not COMPONENT.exists():
            subprocess.run([sys.executable, EXAMPLE / "build.py"], check=True, timeout=300)
    config = EXAMPLE / ("host.toml" if request.param == "python" else "host-c.toml")
    text = config.read_text().replace(":8080", ":0").replace('"1GiB"', '"2MiB"')
    text = text.replace(".build/photos.wasm", str(COMPONENT)).replace('".build/', '"')
    text = text.replace("../..", str(EXAMPLE.parents[1]))
    (folder / "host.toml").write_text(text)
    with serving(folder / "host.toml") as url:
        yield url


def ask(
    url: str, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, str, bytes]:
    """Return status, `content-range` and body."""
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)) as connection:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        connection.request(method, path, body, named)
        response = connection.getresponse()
        return response.status, response.getheader("content-range") or "", response.read()


def test_ranges(url: str) -> None:
    data = os.urandom(300_000)
    status, _, told = ask(url, "PUT", "/a", data)
    assert (status, hashlib.sha256(data).hexdigest() in told.decode()) == (201, True)
    assert ask(url, "GET", "/a") == (200, "", data)
    for wanted, part, said in (
        ("bytes=0-0", data[:1], "0-0"),
        ("bytes=299999-", data[-1:], "299999-299999"),
        ("bytes=-7", data[-7:], "299993-299999"),
        ("bytes=-400000", data, "0-299999"),
        ("bytes=5-999999", data[5:], "5-299999"),
    ):
        assert ask(url, "GET", "/a", range=wanted) == (206, f"bytes {said}/300000", part), wanted
    for wanted in ("bytes=300000-", "bytes=-0"):
        assert ask(url, "GET", "/a", range=wanted)[:2] == (416, "bytes */300000"), wanted
    for wanted in ("bytes=9-2", "bytes=-", "lines=1-2", "bytes=0-1,4-5"):
        assert ask(url, "GET", "/a", range=wanted) == (200, "", data), wanted
    assert ask(url, "GET", "/a", range="bytes=0-0", if_range='"another"') == (200, "", data)


def test_what_is_replaced_missing_empty_or_too_large(url: str) -> None:
    assert ask(url, "GET", "/none")[0] == 404
    assert ask(url, "PUT", "/b", b"")[0] == 201
    assert ask(url, "GET", "/b") == (200, "", b"")
    assert ask(url, "PUT", "/b", b"one")[0] == 201
    assert ask(url, "PUT", "/b", b"two")[0] == 201
    assert ask(url, "GET", "/b") == (200, "", b"two")
    assert ask(url, "PUT", "/b", bytes(2**21 + 1))[0] == 413
    assert ask(url, "GET", "/b") == (200, "", b"two")
    assert ask(url, "POST", "/b", b"")[0] == 405
