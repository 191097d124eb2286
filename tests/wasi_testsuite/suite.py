"""Runs WebAssembly/wasi-testsuite with its own runner, and prints a line for each family of programs.

    python tests/wasi_testsuite/suite.py DIR [wasm32-wasip3]    or wasm32-wasip1

DIR is a copy of the branch prod/testsuite-base, fetched by whoever runs this. The runner needs Python 3.12 or
later, requests and colorama: RUNNER says which one has them, python3 if it is not set. Programs of preview 1
need the command adapter that npm's @bytecodealliance/jco has in its `lib`: in DIR, in its `node_modules`, or
where COMMAND_ADAPTER says.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
LINE = re.compile(r"^Test (\S+) (passed|failed|skipped)")
ADAPTER = "wasi_snapshot_preview1.command.wasm"
PREVIEW_1 = "wasm32-wasip1"


def main(folder: Path, wasi: str) -> int:
    env = {**os.environ, "WASMPLEX_PYTHON": sys.executable, "WASMPLEX_WASI": wasi}
    if wasi == PREVIEW_1:
        adapter = command_adapter(folder)
        if adapter is None:
            print(f"no {ADAPTER} in {folder}: npm install --prefix {folder} @bytecodealliance/jco")
            return 2
        env |= {"COMMAND_ADAPTER": str(adapter), "WASM_TOOLS": str(wasm_tools())}
    found: list[tuple[str, str]] = []
    for suite in sorted((folder / "tests").glob(f"*/testsuite/{wasi}")):
        for line in run(folder, suite, env):
            print(line, end="", flush=True)
            if match := LINE.match(line):
                language = f"{suite.parents[1].name}-" if wasi == PREVIEW_1 else ""
                found.append((language + match[1], match[2]))
    print(table(found))
    return 0 if found and all(outcome != "failed" for _, outcome in found) else 1


def run(folder: Path, suite: Path, env: dict[str, str]) -> Iterator[str]:
    """Yield what the runner prints about the programs of a folder."""
    command = [
        os.environ.get("RUNNER", "python3"), "-u", "-m", "wasi_test_runner", "--disable-colors",
        "--runtime-adapter", str(HERE / "adapter.py"), "--test-suite", str(suite),
    ]  # fmt: skip
    with subprocess.Popen(
        command, cwd=folder / "test-runner", env=env, text=True, stdout=subprocess.PIPE
    ) as runner:
        assert runner.stdout is not None
        yield from runner.stdout


def command_adapter(folder: Path) -> Path | None:
    """Return what makes commands of preview 1 components, if it is there."""
    jco = folder / "node_modules" / "@bytecodealliance" / "jco" / "lib"
    places = [Path(os.environ.get("COMMAND_ADAPTER", "")), folder / ADAPTER, jco / ADAPTER]
    return next((place for place in places if place.is_file()), None)


def wasm_tools() -> Path:
    """Return the program that the guests of the tests are built with."""
    code = "import build; print(build.wasm_tools())"
    guests = HERE.parent / "guests"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=guests, text=True, stdout=subprocess.PIPE, check=True
    )
    return Path(done.stdout.strip())


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
