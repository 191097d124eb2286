"""Text of generated Python functions, and their compilation.

The codec writes one flat Python function per imported and exported WIT function, as text, and runs it
once per component. Text that was compiled before is not compiled again: two components that import one
interface share the code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from types import CodeType
from typing import Any

from wasmplex.engine.codec.lines import Lines
from wasmplex.engine.memory import bytes_address
from wasmplex.engine.traps import GENERATED

__all__ = ["FILE_NAME", "Source", "index", "name_literal"]

FILE_NAME = f"{GENERATED}>"
"""What tracebacks show as the file of the engine's generated code."""

_names: dict[str, tuple[bytes, int, int]] = {}


def name_literal(name: str) -> tuple[int, int]:
    """Return length and address of the UTF-8 text of a WIT name, good for the life of the process.

    Like interned identifiers, each distinct name of a field or case is kept once.
    """
    if name not in _names:
        text = name.encode()
        _names[name] = (text, len(text), bytes_address(text))
    return _names[name][1:]


@lru_cache(maxsize=4096)
def _compile(text: str) -> CodeType:
    return compile(text, FILE_NAME, "exec", dont_inherit=True)


class Source(Lines):
    """The engine's generated functions."""

    def lines(self, texts: Iterable[str]) -> None:
        """Append lines that are indented among themselves."""
        for text in texts:
            self.line(text)

    def slot(self) -> int:
        """Leave a place in the text at the current indentation, for `fill`."""
        self.line("")
        return len(self._lines) - 1

    def fill(self, slot: int, text: str) -> None:
        """Put a line into a place left by `slot`."""
        self._lines[slot] += text

    def mentions(self, name: str, since: int) -> bool:
        """Tell whether a name occurs in the lines after a slot."""
        return any(name in line for line in self._lines[since:])

    def fresh(self) -> str:
        """Return a new local name."""
        self._count += 1
        return f"t{self._count}"

    def let(self, expression: str) -> str:
        """Assign an expression to a new local name, unless it is a name already; return the name."""
        if expression.isidentifier():
            return expression
        name = self.fresh()
        self.line(f"{name}={expression}")
        return name

    def constant(self, value: Any) -> str:
        """Put a constant into the namespace; return its name."""
        self._count += 1
        name = f"K{self._count}"
        self.namespace[name] = value
        return name

    @property
    def text(self) -> str:
        """The code so far."""
        return "\n".join(line for line in self._lines if line and not line.isspace()) + "\n"

    def build(self, name: str) -> Callable[..., Any]:
        """Compile and run the text; return the function of that name."""
        exec(_compile(self.text), self.namespace)  # noqa: S102  the text is generated from types alone
        function: Callable[..., Any] = self.namespace[name]
        return function


def index(base: str, offset: int, unit: int = 1) -> str:
    """Return the expression for word `offset` after `base` (in 64-bit words), in units of 8/`unit` bytes."""
    if unit == 1:
        return f"{base}+{offset}" if offset else base
    return f"{base}*{unit}+{offset * unit}" if offset else f"{base}*{unit}"
