"""Python source under construction, and the run-time pieces that generated code calls."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from wasmplex.engine.bounds import too_many
from wasmplex.engine.traps import GENERATED

__all__ = ["Source", "flags_reader", "flags_writer"]

_DEEP = 10
_F32, _F64 = struct.Struct("<f"), struct.Struct("<d")
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")


def _bits_to_f32(bits: int) -> float:
    return _F32.unpack(_U32.pack(bits & 0xFFFFFFFF))[0]  # type: ignore[no-any-return]


def _f32_to_bits(value: float) -> int:
    return _U32.unpack(_F32.pack(value))[0]  # type: ignore[no-any-return]


def _bits_to_f64(bits: int) -> float:
    return _F64.unpack(_U64.pack(bits))[0]  # type: ignore[no-any-return]


def _f64_to_bits(value: float) -> int:
    return _U64.unpack(_F64.pack(value))[0]  # type: ignore[no-any-return]


INTEGERS = {
    f"{sign}{bits}": (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if sign == "s" else (0, (1 << bits) - 1)
    for sign in "su"
    for bits in (8, 16, 32, 64)
}


def _whole(low: int, high: int) -> Callable[[int], int]:
    """Return a check that a value is an int in range; a bool is none."""

    def check(value: int) -> int:
        if value.__class__ is not int or not low <= value <= high:
            raise ValueError
        return value

    return check


def _bits(low: int, high: int) -> Callable[[int], int]:
    """Return a check that a value is an int in range, giving its bits as an unsigned flat value."""
    mask = 0xFFFFFFFF if high < 1 << 32 else 0xFFFFFFFFFFFFFFFF

    def check(value: int) -> int:
        if value.__class__ is not int or not low <= value <= high:
            raise ValueError
        return value & mask

    return check


def _octets(value: Any) -> Any:
    """Return a bytes-like value as something whose length is its number of bytes."""
    if isinstance(value, bytearray):
        return value
    if isinstance(value, memoryview):
        return value.cast("B") if value.contiguous else bytes(value)
    raise TypeError


def _truth(value: bool) -> int:
    if value is True:
        return 1
    if value is False:
        return 0
    raise TypeError


def _char(value: str) -> int:
    code = ord(value)
    if 0xD800 <= code < 0xE000:
        raise ValueError
    return code


def flags_reader(names: tuple[str, ...]) -> Callable[[int], frozenset[str]]:
    """Return the function that turns the bits of a flags value into the set of their names."""

    @lru_cache(maxsize=256)
    def read(bits: int) -> frozenset[str]:
        return frozenset(name for index, name in enumerate(names) if bits >> index & 1)

    return read


def flags_writer(names: tuple[str, ...]) -> Callable[[Any], int]:
    """Return the function that turns a collection of flag names into bits."""
    bits = {name: 1 << index for index, name in enumerate(names)}

    def write(value: Any) -> int:
        if isinstance(value, str):
            raise TypeError
        result = 0
        for name in value:
            result |= bits[name]
        return result

    return write


_RUNTIME: dict[str, Any] = {
    "bits_to_f32": _bits_to_f32,
    "f32_to_bits": _f32_to_bits,
    "bits_to_f64": _bits_to_f64,
    "f64_to_bits": _f64_to_bits,
    **{f"int_{name}": _whole(*limits) for name, limits in INTEGERS.items()},
    **{f"raw_{name}": _bits(*limits) for name, limits in INTEGERS.items()},
    "octets": _octets,
    "too_many": too_many,
    "truth": _truth,
    "char": _char,
    "array": array,
}


class Source:
    """Lines of a function being generated, with its constants.

    :param borrowed: the expression for the object of a borrowed handle, given ``kind`` and ``handle``
    :param handles: the name of what is asked for handles
    :param even: whether strings and bytes have to be written to even addresses
    """

    def __init__(
        self, borrowed: str = "h.borrow({kind},{handle})", handles: str = "h", *, even: bool = False
    ) -> None:
        self.borrowed = borrowed
        self.handles = handles
        self.even = even
        self.namespace: dict[str, Any] = dict(_RUNTIME)
        self._lines: list[str] = []
        self._depth = 0
        self._count = 0

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

    def line(self, text: str) -> None:
        """Emit one line at the current depth."""
        self._lines.append("    " * self._depth + text)

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """Emit `header` and indent what is emitted inside the context."""
        self.line(header)
        self._depth += 1
        before = len(self._lines)
        yield
        if len(self._lines) == before:
            self.line("pass")
        self._depth -= 1

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
        made = Source(self.borrowed, self.handles, even=self.even)
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
