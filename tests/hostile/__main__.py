"""``python -m hostile [--instances 1,8,64] [--seconds 3] [CASE ...]``, in the directory ``tests``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hostile.cases import BY_NAME, CASES
from hostile.playing import MIB, Outcome, play

MEANING = """p99 of another workload in ms, before and meanwhile (at most 50, or three times as much), and the
longest answer; resident MiB before, at most and after; descriptors and threads left over, and blocks of
memory that Python uses and did not use before."""

COLUMNS = ("case", "guests", "quiet", "p99", "worst", "before", "peak", "after", "left", "blocks", "answers")


def main() -> int:
    """Play the cases that are named, or all."""
    parser = argparse.ArgumentParser(prog="hostile", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(BY_NAME))
    parser.add_argument("--instances", default="1,8,64", help="how many hostile guests at a time")
    parser.add_argument("--seconds", type=float, default=3.0, help="for how long")
    options = parser.parse_args()
    table = Table(title="hostile guests", caption=MEANING)
    for column in (
        "case",
        "guests",
        "quiet",
        "p99",
        "worst",
        "before",
        "peak",
        "after",
        "left",
        "blocks",
        "answers",
        "",
    ):
        table.add_column(column, justify="left" if column in {"case", "answers", ""} else "right")
    missed = 0
    for case in [BY_NAME[name] for name in options.cases] or CASES:
        for instances in map(int, options.instances.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                outcome = play(case, instances, Path(folder), seconds=options.seconds)
            verdict = _verdict(outcome)
            missed += bool(verdict)
            table.add_row(*_cells(outcome), verdict)
            print(*_cells(outcome), verdict, file=sys.stderr, flush=True)
    Console(width=150).print(table)
    return 1 if missed else 0


def _verdict(outcome: Outcome) -> str:
    found = []
    if outcome.p99 > outcome.bearable:
        found.append("slow")
    if outcome.peak > outcome.allowed:
        found.append(f"more than {outcome.allowed / MIB:.0f} MiB")
    if not outcome.freed:
        found.append("not freed")
    if outcome.refused:
        found.append(f"{outcome.refused} refused")
    return ", ".join(found)


def _cells(outcome: Outcome) -> list[str]:
    milliseconds = (f"{1000 * seconds:.1f}" for seconds in (outcome.quiet, outcome.p99, outcome.worst))
    mebibytes = (f"{size / MIB:.0f}" for size in (outcome.before, outcome.peak, outcome.after))
    served = ", ".join(f"{count} x {status or 'none'}" for status, count in sorted(outcome.served.items()))
    return [
        outcome.case.name, str(outcome.instances), *milliseconds, *mebibytes, str(outcome.left),
        str(outcome.blocks), served
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
