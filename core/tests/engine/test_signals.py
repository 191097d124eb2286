"""A signal handler that raises while a guest runs ends the call, never the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from wasmplex.engine.entry import check_headroom, uninterrupted_entry

SCRIPT = Path(__file__).parent / "interrupted.py"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no interval timers")
@pytest.mark.parametrize("kind", ["sync", "async", "suspended"])
def test_process_survives(kind: str) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, kind], capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == "150"


def test_headroom_is_checked_before_a_guest_is_entered() -> None:
    def deep() -> None:
        check_headroom()
        deep()

    with pytest.raises(RecursionError):
        deep()


def test_patched_functions_work_as_before() -> None:
    def divide(a: int, b: int = 2) -> float:
        try:
            return a / b
        except ZeroDivisionError:
            return 0.0

    patched = uninterrupted_entry(divide)
    assert [patched(4), patched(4, b=0), patched(a=9, b=3)] == [2.0, 0.0, 3.0]
