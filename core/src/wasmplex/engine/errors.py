"""What the engine raises besides the errors of `wasmplex.errors`."""

from __future__ import annotations

__all__ = ["ValueMismatch"]


class ValueMismatch(TypeError, ValueError):
    """Raised when a Python value does not fit the WIT type it is to become.

    It is a `TypeError` and a `ValueError`, since it stands for either.

    :ivar path: the place within the value, ``result.ok[3].name``
    :ivar problem: what is wrong there
    :ivar function: the WIT function it was meant for, if known
    """

    def __init__(self, path: str, problem: str, function: str = "") -> None:
        prefix = f"{function}: " if function else ""
        super().__init__(f"{prefix}{path}: {problem}")
        self.path = path
        self.problem = problem
        self.function = function
