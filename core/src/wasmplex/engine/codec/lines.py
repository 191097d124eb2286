"""Lines of Python under construction, with the names that they refer to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

__all__ = ["Lines"]


class Lines:
    """The lines of generated functions that share one namespace.

    :param namespace: what the code may refer to; what else is added is added to a copy of it
    """

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self.namespace: dict[str, Any] = dict(namespace)
        self._lines: list[str] = []
        self._depth = 0
        self._count = 0

    def line(self, text: str) -> None:
        """Append one line at the current indentation."""
        self._lines.append("    " * self._depth + text)

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """Append a compound statement's header; lines within the context form its body."""
        self.line(header)
        self._depth += 1
        before = len(self._lines)
        yield
        if len(self._lines) == before:
            self.line("pass")
        self._depth -= 1
