"""Says what is wrong with a value after the generated code has refused it."""

from __future__ import annotations

import inspect
from typing import Any

from wasmplex.errors import GuestError
from wasmplex.wit.mismatch import ValueMismatch, mismatch
from wasmplex.wit.types import ValueType

__all__ = ["refusal"]


def refusal(type: ValueType | None, value: Any, path: str, function: str, cause: Exception) -> Exception:
    """Return the error for a value that could not be written.

    :param path: what the value is called as a whole, ``result`` or the parameter's name
    :param cause: what the generated code raised
    """
    if isinstance(cause, GuestError):  # nothing is wrong with it: the guest may not have it
        return cause
    if inspect.iscoroutine(value):
        value.close()
        return ValueMismatch(path, "a coroutine; declare the function with `async def`", function)
    try:
        found = mismatch(type, value, path)
    except Exception as error:  # noqa: BLE001  a value whose own methods raise does not fit either
        found, cause = None, error
    if found is not None:
        return ValueMismatch(found.path, found.problem, function)
    problem = f"{value.__class__.__name__} cannot be passed ({cause.__class__.__name__}: {cause})"
    return ValueMismatch(path, problem, function)
