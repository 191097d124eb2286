"""`wasmplex import`: manifests of other hosts as their users have them, imported, checked and served."""

import re
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import guests
import pytest
from fences import ROOT, fences
from serving import COMMAND, serving
from wasmplex.testing.servers import RedisServer

WASMCLOUD, SPIN = (ROOT / "docs" / f"migrating-from-{host}.md" for host in ("wasmcloud", "spin"))


def imported(page: Path, folder: Path, redis: str) -> tuple[str, dict[str, str]]:
    """Import what a page has, hold it to what the page makes of it; return what `check` says."""
    manifests = [
        fence
        for language in ("yaml", "toml")
        for fence in fences(page, language)
        if "manifest" in fence.values
    ]
    for fence in manifests:
        (folder / fence.values["manifest"]).write_text(fence.text)
    command: list[str | Path] = [COMMAND, "import", manifests[0].values["manifest"], "-o", "host.toml"]
    if len(manifests) > 1:
        command[3:3] = ["--runtime-config", manifests[1].values["manifest"]]
    (made,) = (fence.text for fence in fences(page, "toml") if "made" in fence.words)
    component = folder / str(re.search(r'component = "(.*)"', made)[1])  # type: ignore[index]
    component.parent.mkdir(parents=True, exist_ok=True)
    component.write_bytes(guests.component(manifests[0].values["component"]))
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "made host.toml. Next:\n  wasmplex check host.toml\n"
    text = (folder / "host.toml").read_text()
    assert text == made
    notes = [line.removeprefix("# - ") for line in text.splitlines() if line.startswith("# - ")]
    assert done.stderr.splitlines() == [f"note: {note}" for note in notes]
    names = re.findall(r'env = "(\w+)"', text)
    env = {name: redis if name.endswith("URL") else "value" for name in names}
    check: list[str | Path] = [COMMAND, "check", "host.toml"]
    checked = subprocess.run(
        check, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=100
    )
    assert checked.returncode == 0, checked.stderr
    (folder / "host.toml").write_text(text.replace("127.0.0.1:8080", "127.0.0.1:0"))
    return checked.stdout, env


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    with RedisServer("r3d1s") as server:
        yield server.url


def get(url: str, path: str, host: str) -> tuple[int, str]:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request("GET", path, headers={"host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode().strip()
    finally:
        connection.close()


@pytest.mark.slow
def test_a_workload_deployment_of_wasmcloud(tmp_path: Path, redis: str) -> None:
    (tmp_path / "data").mkdir()
    said, env = imported(WASMCLOUD, tmp_path, redis)
    assert all(f"backend {name}" in said for name in ("memory", "sqlite", "redis"))
    with serving(tmp_path / "host.toml", **env) as url:
        host = "shop.localhost.direct"
        assert get(url, "/first/orders/k?set=v", "elsewhere")[0] == 404
        for label in ("first", "second", "third", "fourth", "plain"):
            assert get(url, f"/{label}/orders/k?set={label}", host) == (200, "ok")
        assert get(url, "/all/orders/k", host) == (200, "first\nsecond\nthird\nfourth")
        assert get(url, "/plain/orders/k", host) == (200, "plain")


@pytest.mark.slow
def test_a_manifest_of_spin_with_two_stores(tmp_path: Path, redis: str) -> None:
    said, env = imported(SPIN, tmp_path, redis)
    assert "backend sqlite for default" in said
    assert "backend redis for sessions" in said
    with serving(tmp_path / "host.toml", **env) as url:
        for store in ("default", "sessions"):
            assert get(url, f"/{store}/k?set={store}", "any") == (200, "ok")
        for store in ("default", "sessions"):
            assert get(url, f"/{store}/k", "any") == (200, store)
        assert get(url, "/other/k", "any") == (503, "no-such-store")
    assert (tmp_path / "keyvalue.db").exists()
