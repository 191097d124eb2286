"""A signal handler that raises while a guest runs ends the call, never the process."""

from __future__ import annotations

import dis
import subprocess
import sys
from pathlib import Path
from types import CodeType

import pytest
from wasmplex.engine.codec.generate import Codec
from wasmplex.engine.entry import check_headroom, uninterrupted_entry
from wasmplex.engine.linker import destructor
from wasmplex.wit.types import FuncType, ListType, Option, Param, Primitive, ResultType

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


def signal_checks_outside_of_try(code: CodeType) -> list[str]:
    """Return the instructions that look for signals where no handler of the function can catch them."""
    bytecode = dis.Bytecode(code)
    covered = [range(entry.start, entry.end) for entry in bytecode.exception_entries]  # type: ignore[attr-defined]  # typeshed lacks it
    return [
        f"{instruction.offset} {instruction.opname} {instruction.arg}"
        for instruction in bytecode
        if instruction.opname.startswith(("CALL", "JUMP_BACKWARD", "RESUME"))
        and not (instruction.opname == "RESUME" and instruction.arg == 3)
        and instruction.opname != "JUMP_BACKWARD_NO_INTERRUPT"
        and not any(instruction.offset in part for part in covered)
    ]


STRINGS = ListType(Primitive("string"))
TYPES = [
    FuncType((), None),
    FuncType((Param("a", STRINGS),), Primitive("u32")),
    FuncType((Param("a", Option(STRINGS)),), STRINGS),
    FuncType((), ResultType(None, None)),
    FuncType((), ResultType(Option(ListType(Primitive("u8"))), Primitive("string"))),
]


@pytest.mark.parametrize("type", TYPES)
def test_no_path_through_a_callback_is_left_unprotected(type: FuncType) -> None:
    codec = Codec({}, lambda ctx, name, error: 0)
    for body in (codec.sync_import("f", type, print, False), codec.async_import("f", type, print, True)):
        assert signal_checks_outside_of_try(body.__code__) == []
    assert signal_checks_outside_of_try(destructor("r").__code__) == []
