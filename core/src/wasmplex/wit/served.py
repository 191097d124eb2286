"""The WIT packages that the project serves, as text that comes with the host."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from wasmplex.wit.source import WitPackage, parse

__all__ = ["served"]


@cache
def served(package: str) -> WitPackage | None:
    """Return a package that the project serves, itself or by one of its plugins; None for any other.

    :param package: its name, ``wasi:keyvalue``
    """
    namespace, _, name = package.partition(":")
    here = Path(__file__).resolve()
    # In an installed package; beside the distribution in a clone.
    for folder in (here.with_name("packages"), *(parent / "wit" for parent in here.parents[3:5])):
        file = folder / namespace / f"{name}.wit"
        if file.is_file():
            found = parse(file.read_text("utf-8"))
            return found if found.name == package else None
    return None
