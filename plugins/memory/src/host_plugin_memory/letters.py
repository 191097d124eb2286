"""What is kept under one subject until somebody removes it: dead letters. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from wasmplex.capabilities.messaging import Kept

from host_plugin_memory.sizes import size_of

__all__ = ["MAX_KEPT", "Letters"]

MAX_KEPT = 1000
"""Messages that are kept under one subject."""


class Letters:
    """So many messages and bytes; the oldest go for new ones.

    :param most_size: bytes that they may take together, see `size_of`
    """

    def __init__(self, most_size: int) -> None:
        self._most_size = most_size
        self._kept: deque[Kept] = deque()
        self._size = 0

    def __iter__(self) -> Iterator[Kept]:
        return iter(tuple(self._kept))

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, letter: Kept) -> int:
        """Keep one more, which is no larger than all may be; return how many have gone for it."""
        self._kept.append(letter)
        self._size += size_of(letter.message)
        gone = 0
        while len(self._kept) > MAX_KEPT or self._size > self._most_size:
            self._size -= size_of(self._kept.popleft().message)
            gone += 1
        return gone

    def remove(self, token: str) -> None:
        """Keep one no longer."""
        self._kept = deque(letter for letter in self._kept if letter.token != token)
        self._size = sum(size_of(letter.message) for letter in self._kept)
