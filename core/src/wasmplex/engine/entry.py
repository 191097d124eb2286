"""Python functions that C code calls, made safe against exceptions at their very first instruction.

CPython runs signal handlers between instructions, first of all on entering a function, before any ``try`` in
it. A handler that raises (Ctrl-C does) would make a ctypes callback return garbage to wasmtime, which ends
the process. The instruction at a function's start, RESUME, looks for signals unless its argument says that
the function resumes from ``await``. So that is what it is made to say; whatever is raised later is raised
inside the function's ``try``.
"""

from __future__ import annotations

import dis
from collections.abc import Callable
from types import FunctionType
from typing import Final, TypeVar

__all__ = ["check_headroom", "uninterrupted_entry"]

F = TypeVar("F", bound=Callable[..., object])

_RESUME: Final = dis.opmap["RESUME"]
_AFTER_AWAIT: Final = 3


def uninterrupted_entry(function: F) -> F:
    """Let a function be entered without a look for signals. Its body must be one ``try``."""
    assert isinstance(function, FunctionType)  # noqa: S101  for the type checker
    code = bytearray(function.__code__.co_code)
    for at in range(0, len(code), 2):
        if code[at] == _RESUME:
            code[at + 1] = _AFTER_AWAIT
            break
    else:
        raise RuntimeError(f"{function.__qualname__} has no RESUME instruction")
    function.__code__ = function.__code__.replace(co_code=bytes(code))
    return function


def check_headroom(depth: int = 12) -> None:
    """Find out that a callback could not be entered while that is still an ordinary exception.

    :raises RecursionError: if less than `depth` nested calls are possible
    """
    if depth:
        check_headroom(depth - 1)
