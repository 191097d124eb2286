"""Runs a kit on backends that are wrong, in a pytest of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

# Without shrinking: that a defect is found matters here, not how small the example is.
QUICK = """
from hypothesis import Phase, settings
settings.register_profile("quick", phases=[Phase.generate], derandomize=True)
settings.load_profile("quick")
"""


def outcomes_of(file: str, wanted: Sequence[str], folder: Path) -> dict[str, dict[str, str]]:
    """Run tests of a file beside this one: class, test, ``passed`` or else."""
    (folder / "quick.py").write_text(QUICK)
    options = ["-p", "quick", "-p", "no:cacheprovider", "-o", f"python_files={file}", "--tb=no"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"--junitxml={folder / 'report.xml'}",
         *(f"{file}::{test}" for test in wanted)],
        check=False, timeout=220, capture_output=True, text=True, cwd=Path(__file__).parent,
        env={"PYTHONPATH": str(folder)},
    )  # fmt: skip
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for case in ElementTree.parse(folder / "report.xml").iter("testcase"):
        bad = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        name = re.sub(r"\[.*", "", case.attrib["name"])
        outcomes = found[case.attrib["classname"].rpartition(".")[2]]
        if outcomes.get(name, "passed") == "passed":  # of several runs the worst counts
            outcomes[name] = bad[0] if bad else "passed"
    return found


def failed(tests: dict[str, str]) -> set[str]:
    """Return the tests that have failed."""
    return {name for name, outcome in tests.items() if outcome in ("failure", "error")}
