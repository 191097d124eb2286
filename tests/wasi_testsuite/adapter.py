"""What the test runner of WebAssembly/wasi-testsuite needs to know of wasmplex.

    run-tests --runtime-adapter tests/wasi_testsuite/adapter.py    in the suite, by Python 3.12 or later

`make wasi-testsuite DIR=...` does that. The suite is not part of this repository.
"""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYTHON = os.environ.get("WASMPLEX_PYTHON", sys.executable)
"""The interpreter that has wasmplex."""


def get_name() -> str:
    return "wasmplex"


def get_version() -> str:
    done = subprocess.run(
        [PYTHON, "-m", "wasmplex", "--version"], encoding="utf-8", capture_output=True, check=True
    )
    return done.stdout.split()[-1]


def get_wasi_versions() -> list[str]:
    return os.environ.get("WASMPLEX_WASI", "wasm32-wasip3").split(",")


def get_timeout_seconds() -> float:
    """Return how long a program may take: it is compiled, and the machine may be slow."""
    return float(os.environ.get("WASMPLEX_TIMEOUT", "60"))


def get_wasi_worlds() -> list[str]:
    return ["wasi:cli/command", "wasi:http/service"]


def compute_argv(
    test_path: str,
    args_env_root: tuple[list[str], dict[str, str], str | None],
    proposals: list[str],
    wasi_world: str,
    wasi_version: str,
) -> list[str]:
    args, env, root = args_env_root
    argv = [PYTHON, str(HERE / "one.py"), "serve" if wasi_world == "wasi:http/service" else "run"]
    argv += [f"--env={name}={value}" for name, value in env.items()]
    argv += [f"--dir={root}"] if root else []
    # Two programs of sockets do not say that they need them.
    argv += ["--network"] if any("sockets" in name for name in [*proposals, Path(test_path).stem]) else []
    argv += ["--http"] if any("http" in name for name in proposals) else []
    return [*argv, test_path, *args]
