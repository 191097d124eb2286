"""Chains of ``if`` and ``elif`` in generated code: Python compiles each as nested in the one before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final

__all__ = ["branch"]

_MOST: Final = 32


def branch(
    block: Callable[[str], AbstractContextManager[None]],
    name: str,
    numbers: Sequence[int],
    emit: Callable[[int], None],
) -> None:
    """Emit what is done for each value of a variable: a chain, or a tree of them if it would be too long.

    :param block: appends a compound statement's header, for its body within the context
    :param name: the variable
    :param numbers: its values, ascending
    :param emit: emits what is done for one of them
    """
    if len(numbers) > _MOST:
        middle = len(numbers) // 2
        with block(f"if {name}<{numbers[middle]}:"):
            branch(block, name, numbers[:middle], emit)
        with block("else:"):
            branch(block, name, numbers[middle:], emit)
        return
    for position, number in enumerate(numbers):
        with block(f"{'elif' if position else 'if'} {name}=={number}:"):
            emit(number)
