"""Defects of wasmtime that are worked round, and from which version on they are not.

The tests of this module fail when a defect is gone from the version that is installed: then its `mended_in`
is to be set, and the work-round ends by itself where that version is.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

__all__ = ["TWO_BORROWS", "Defect"]


@dataclass(frozen=True)
class Defect:
    """A defect.

    :ivar what: what fails
    :ivar mended_in: the first major version without it, None while there is none
    """

    what: str
    mended_in: int | None = None

    @property
    def present(self) -> bool:
        """Whether the version that is installed has it."""
        return self.mended_in is None or int(version("wasmtime").partition(".")[0]) < self.mended_in


TWO_BORROWS: Final = Defect(
    "where concurrency is supported, a function of the host that is lent two resources traps with "
    '"BUG: deferred host scope has no call context"'
)
