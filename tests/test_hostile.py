"""Hostile guests beside another workload: it is served, and what they took comes back. See `hostile`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hostile.cases import CASES, Case
from hostile.playing import MIB, play

ALL = os.environ.get("WASMPLEX_TEST_LOOPS") == "all"
SELECTED = [case for case in CASES if case.quick or ALL]
PATIENCE = 10
"""How much longer than `Outcome.bearable` answers may take here: the machine has other things to do."""


@pytest.mark.slow
@pytest.mark.parametrize("case", SELECTED, ids=lambda case: case.name.replace(" ", "-"))
def test_others_are_served_and_all_comes_back(case: Case, tmp_path: Path) -> None:
    outcome = play(replace(case, timeout=0.5), 4, tmp_path, seconds=0.5, quiet_seconds=0.3)
    assert not outcome.refused
    assert outcome.p99 <= PATIENCE * outcome.bearable
    assert outcome.peak <= outcome.allowed, f"{outcome.peak / MIB:.0f} MiB"
    assert outcome.left <= 0, "descriptors and threads"
    assert outcome.freed, f"{outcome.blocks} blocks of memory"
    assert outcome.after <= outcome.kept, f"{outcome.after / MIB:.0f} MiB"
