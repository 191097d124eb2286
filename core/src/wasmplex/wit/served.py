"""The WIT packages that the project serves, as text that comes with the host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from wasmplex.wit.names import track
from wasmplex.wit.source import WitPackage, parse

__all__ = ["served"]

_NAME = re.compile(r"[A-Za-z0-9-]+:[A-Za-z0-9-]+")


@cache
def served(package: str, version: str = "") -> WitPackage | None:
    """Return a package that the project serves, itself or by one of its plugins; None for any other.

    :param package: its name, ``wasi:keyvalue``
    :param version: one of the track that is wanted, where several are served; any if it is empty
    """
    for found in _packages(package):
        if found.name == package and (not version or track(found.version) == track(version)):
            return found
    return None


def _packages(package: str) -> Iterator[WitPackage]:
    """Read the files of a package: ``keyvalue.wit``, and ``keyvalue-0.2.wit`` for an older track."""
    if _NAME.fullmatch(package) is None:  # it becomes a part of a path
        return
    namespace, _, name = package.partition(":")
    here = Path(__file__).resolve()
    # In an installed package; beside the distribution in a clone.
    for folder in (here.with_name("packages"), *(parent / "wit" for parent in here.parents[3:5])):
        for file in (folder / namespace / f"{name}.wit", *sorted((folder / namespace).glob(f"{name}-*.wit"))):
            if file.is_file():
                yield parse(file.read_text("utf-8"))
