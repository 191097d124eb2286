"""A directory to run the command line in, and two ways to run it: in this process, or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from wasmplex.cli.dispatch import run

GUESTS = Path(__file__).parents[3] / "tests" / "guests" / "built"
PROGRAM = (sys.executable, "-c", "from wasmplex.cli import main; main()")

KV = """\
[workload.kv]
component = "kv.wasm"

[workload.kv.import.cache]
backend = "memory"

[workload.kv.import.store]
backend = "sqlite"
path = "store.db"
"""


class Ended(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


Cli = Callable[..., Ended]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory: a host.toml, its component, and a cache that starts empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name in ("kv", "hello"):
        (tmp_path / f"{name}.wasm").symlink_to(GUESTS / f"{name}.wasm")
    (tmp_path / "host.toml").write_text(KV)
    return tmp_path


@pytest.fixture
def cli(home: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command in this process."""

    def call(*args: str) -> Ended:
        capsys.readouterr()
        code = run(args)
        return Ended(code, *capsys.readouterr())

    return call


@pytest.fixture
def process(home: Path) -> Cli:
    """Run a command in a process of its own, standard output and error in pipes."""

    def call(*args: str, env: Mapping[str, str] | None = None) -> Ended:
        ended = subprocess.run(
            [*PROGRAM, *args], env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=60
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    return call
