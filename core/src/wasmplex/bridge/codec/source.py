"""Python source under construction: functions that read and write the bridge's blocks."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from wasmplex.bridge.codec.runtime import RUNTIME
from wasmplex.engine.codec.lines import Lines
from wasmplex.engine.traps import GENERATED

__all__ = ["DISCRIMINANTS", "NUMBER_CODES", "Source"]

NUMBER_CODES = {
    "s8": "b", "u8": "B", "s16": "h", "u16": "H", "s32": "i", "u32": "I", "s64": "q", "u64": "Q",
    "f32": "f", "f64": "d",
}  # fmt: skip
"""How `struct`, `array` and `memoryview` call the numbers of WIT."""
DISCRIMINANTS = {1: "B", 2: "H", 4: "I"}
"""How `struct` calls discriminants, by their size in bytes."""
_DEEP = 10


class Source(Lines):
    """Lines of a function being generated, with its constants.

    :param borrowed: the expression for the object of a borrowed handle, given ``kind`` and ``handle``
    :param handles: the name of what is asked for handles
    :param even: whether strings and bytes have to be written to even addresses
    :param stream: emits what becomes of an expression that is given as a stream, and returns that for its
        handle; `handles` are asked if it is left out
    """

    def __init__(
        self,
        borrowed: str = "h.borrow({kind},{handle})",
        handles: str = "h",
        *,
        even: bool = False,
        stream: Callable[[str], str] | None = None,
    ) -> None:
        super().__init__(RUNTIME)
        self.borrowed = borrowed
        self.handles = handles
        self.even = even
        self.stream = stream

    def variable(self) -> str:
        """Return a fresh name."""
        self._count += 1
        return f"v{self._count}"

    def constant(self, value: Any) -> str:
        """Return a name for `value` in the generated function's namespace."""
        name = f"k{len(self.namespace)}"
        self.namespace[name] = value
        return name

    def assign(self, expression: str) -> str:
        """Emit an assignment to a fresh name and return it."""
        name = self.variable()
        self.line(f"{name}={expression}")
        return name

    def unpack(self, slots: list[tuple[int, str, str]], buffer: str, offset: str) -> None:
        """Emit one unpack of (relative offset, struct code, variable) slots in ascending order."""
        if slots:
            targets = ",".join(name for _, _, name in slots)
            layout = self.constant(struct.Struct(_format(slots)).unpack_from)
            self.line(f"{targets},={layout}({buffer},{offset})")

    def pack(self, slots: list[tuple[int, str, str]], buffer: str, offset: str) -> None:
        """Emit one pack of (relative offset, struct code, expression) slots in ascending order."""
        if slots:
            values = ",".join(expression for _, _, expression in slots)
            layout = self.constant(struct.Struct(_format(slots)).pack_into)
            self.line(f"{layout}({buffer},{offset},{values})")

    def another(self) -> Source:
        """Return a source with the same constants and none of the lines."""
        made = Source(self.borrowed, self.handles, even=self.even, stream=self.stream)
        made.namespace, made._count = self.namespace, self._count
        return made

    @property
    def is_deep(self) -> bool:
        """Whether what is emitted next had better stand in a function of its own.

        Python takes no more than 20 blocks within each other, and counts the levels of indentation as well.
        """
        return self._depth > _DEEP

    @property
    def lines(self) -> Sequence[str]:
        """What was emitted."""
        return tuple(self._lines)

    def function(self, name: str) -> Callable[..., Any]:
        """Compile what was emitted and return the function called `name`."""
        code = compile("\n".join(self._lines), f"{GENERATED} {name}>", "exec")
        exec(code, self.namespace)  # noqa: S102  our own text
        return self.namespace[name]  # type: ignore[no-any-return]


def _format(slots: list[tuple[int, str, str]]) -> str:
    text, position = "<", 0
    for offset, code, _ in slots:
        if offset > position:
            text += f"{offset - position}x"
        text += code
        position = offset + struct.calcsize("<" + code)
    return text
