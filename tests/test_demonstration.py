"""`make demo`, as a newcomer sees it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from guests.toolchain import locked
from wasmplex.testing.loops import everything

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "kv-cached"


def demonstrate(language: str, seconds: float) -> str:
    """Run the demonstration; return what it printed."""
    command: list[str | Path] = [sys.executable, EXAMPLE / "demo.py", language]
    with locked("example"):  # it builds the guest in the folder of the example
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def conversation(said: str) -> list[str]:
    """Return status and `x-cache` of each request in order."""
    lines = [line.partition("->")[2].split() for line in said.splitlines() if "->" in line]
    return [f"{line[0]} {line[-1]}" if "x-cache:" in line else line[0] for line in lines]


EXPECTED = ["204", "200 miss", "200 hit", "200 miss", "200 hit", "204", "404 miss"]


@pytest.mark.slow
@pytest.mark.skipif(
    not everything(), reason="compiles for a minute what test_example runs: make test-all does"
)
@pytest.mark.timeout(500)  # the first run compiles the guest, and then the component
def test_the_demonstration_in_python() -> None:
    said = demonstrate("python", 480)
    assert conversation(said) == EXPECTED
    assert said.count("the host has stopped") == 2
    assert said.count("store.db, table") == 1


@pytest.mark.timeout(500)
def test_the_demonstration_in_javascript() -> None:
    if shutil.which("npm") is None:
        pytest.skip("needs Node.js and npm")
    if not (EXAMPLE / "javascript" / "node_modules").exists():
        pytest.skip("400 MB are not fetched unasked; `make demo-js` does it once")
    assert conversation(demonstrate("javascript", 480)) == EXPECTED
