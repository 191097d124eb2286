"""Runs WebAssembly/wasi-testsuite with its own runner, and prints a line for each family of programs.

    python tests/wasi_testsuite/suite.py DIR [wasm32-wasip3]

DIR is a copy of the branch prod/testsuite-base, fetched by whoever runs this. The runner needs Python 3.12 or
later, requests and colorama: RUNNER says which one has them, python3 if it is not set.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
LINE = re.compile(r"^Test (\S+) (passed|failed|skipped)", re.MULTILINE)


def main(folder: Path, wasi: str) -> int:
    command = [
        os.environ.get("RUNNER", "python3"), "-m", "wasi_test_runner", "--disable-colors",
        "--runtime-adapter", str(HERE / "adapter.py"),
        "--test-suite", str(folder / "tests" / "rust" / "testsuite" / wasi),
    ]  # fmt: skip
    env = {**os.environ, "WASMPLEX_PYTHON": sys.executable, "WASMPLEX_WASI": wasi}
    done = subprocess.run(
        command, cwd=folder / "test-runner", env=env, text=True, stdout=subprocess.PIPE, check=False
    )
    sys.stdout.write(done.stdout)
    found = LINE.findall(done.stdout)
    print(table(found))
    return done.returncode


def table(found: list[tuple[str, str]]) -> str:
    """Return how many programs of each family passed, and the names of those that did not."""
    counts = Counter((name.partition("-")[0], outcome) for name, outcome in found)
    lines = []
    for family in sorted({family for family, _ in counts}):
        passed = counts[family, "passed"]
        lines.append(f"{family:12} {passed:3} of {passed + counts[family, 'failed']}")
    failed = sorted(name for name, outcome in found if outcome == "failed")
    return "\n".join([*lines, *(f"failed: {name}" for name in failed)])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), *(sys.argv[2:3] or ["wasm32-wasip3"])))
