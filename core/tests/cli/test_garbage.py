"""What a process that serves does about Python's garbage."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import gc
from wasmplex.cli.garbage import settle

old = [[] for _ in range(50_000)]
settle()
assert gc.get_freeze_count() > 50_000
full = []
gc.callbacks.append(lambda phase, info: full.append(phase) if info["generation"] == 2 else None)
new = [[] for _ in range(500_000)]
assert not full, "no full collection while a guest makes many objects"
cycle = []
cycle.append(cycle)
del cycle
assert gc.collect() == 1, "what comes after it is collected all the same"
"""


def test_full_collections_are_seldom_and_leave_out_what_was_there_before() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
