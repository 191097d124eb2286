"""The example as its README has it: built, served by `wasmplex run`, asked by curl."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from guests.toolchain import locked
from serving import serving
from wasmplex.testing.loops import everything

LOOPS = os.environ.get("WASMPLEX_TEST_LOOPS")
EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "kv-cached"


def built(language: str, config: str, folder: Path) -> Path:
    """A copy with a database of its own, and with the component that `build.py` makes or has made."""
    build: list[str | Path] = [sys.executable, EXAMPLE / "build.py", language]
    with locked("example"):
        subprocess.run(build, check=True, capture_output=True, timeout=400)
    (folder / ".build").mkdir()
    (folder / ".build" / f"{language}.wasm").symlink_to(EXAMPLE / ".build" / f"{language}.wasm")
    return Path(shutil.copy(EXAMPLE / config, folder))


@pytest.fixture
def example(tmp_path: Path) -> Path:
    return built("python", "host.toml", tmp_path)


def curl(url: str, *args: str) -> tuple[str, str, str | None]:
    """Return status and body of an answer, and its header `x-cache`."""
    command = ["curl", "--silent", "--show-error", "--include", "--max-time", "50", *args, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=55)
    assert done.returncode == 0, done.stderr
    head, _, body = done.stdout.partition("\n\n")
    first, *lines = head.splitlines()
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return first.split()[1], body, headers.get("x-cache")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.slow
@pytest.mark.timeout(500)  # the first run compiles the guest, and then the component
def test_curl_writes_reads_and_reads_again_after_a_restart(example: Path) -> None:
    with serving(example, "--listen", "127.0.0.1:0") as url:
        assert curl(f"{url}/greeting", "-X", "PUT", "--data", "hello") == ("204", "", None)
        assert curl(f"{url}/greeting") == ("200", "hello", "miss")
        assert curl(f"{url}/greeting") == ("200", "hello", "hit")
    with serving(example, "--listen", "127.0.0.1:0") as url:
        assert curl(f"{url}/greeting") == ("200", "hello", "miss")
        assert curl(f"{url}/greeting") == ("200", "hello", "hit")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.slow
@pytest.mark.timeout(500)
@pytest.mark.parametrize("transport", ["strings", "memory"] if everything() else ["memory"])
def test_fresh_instances_share_backends_and_nothing_else(example: Path, transport: str) -> None:
    text = example.read_text().replace("reuse = 1000", "reuse = 1")
    assert "reuse = 1 " in text
    example.write_text(f'{text}\n[engine]\ntransport = "{transport}"\n')
    with serving(example, "--listen", "127.0.0.1:0") as url:
        for turn in range(20):
            value = f"{turn}-{'x' * (turn * 500)}"
            assert curl(f"{url}/key-{turn % 3}", "-X", "PUT", "--data", value) == ("204", "", None)
            assert curl(f"{url}/key-{turn % 3}") == ("200", value, "miss")
            assert curl(f"{url}/key-{turn % 3}") == ("200", value, "hit")


@pytest.mark.skipif(LOOPS != "all", reason="compiles one more guest; make test-all plays it")
@pytest.mark.slow
@pytest.mark.timeout(500)
def test_the_asynchronous_guest_answers_the_same(tmp_path: Path) -> None:
    with serving(built("async", "host-async.toml", tmp_path), "--listen", "127.0.0.1:0") as url:
        assert curl(f"{url}/greeting", "-X", "PUT", "--data", "hello") == ("204", "", None)
        assert curl(f"{url}/greeting") == ("200", "hello", "miss")
        assert curl(f"{url}/greeting") == ("200", "hello", "hit")
        assert curl(f"{url}/greeting", "-X", "DELETE") == ("204", "", None)
        assert curl(f"{url}/greeting") == ("404", "no such key\n", "miss")
