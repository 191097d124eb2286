"""What is kept under one subject until somebody removes it: dead letters. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from wasmplex.capabilities.messaging import Kept, Message

__all__ = ["MAX_KEPT", "Letters"]

MAX_KEPT = 1000
"""Messages that are kept under one subject."""
_OVERHEAD = 256


class Letters:
    """So many messages and bytes; the oldest go for new ones.

    :param most_size: bytes that they may have together, with 256 for each
    """

    def __init__(self, most_size: int) -> None:
        self._most_size = most_size
        self._kept: deque[Kept] = deque()
        self._size = 0

    def __iter__(self) -> Iterator[Kept]:
        return iter(tuple(self._kept))

    def __len__(self) -> int:
        return len(self._kept)

    def ever(self, message: Message) -> bool:
        """Say whether there would be room for a message if it were the only one."""
        return _size(message) <= self._most_size

    def add(self, letter: Kept) -> int:
        """Keep one more, for which there is `ever` room; return how many have gone for it."""
        self._kept.append(letter)
        self._size += _size(letter.message)
        gone = 0
        while len(self._kept) > MAX_KEPT or self._size > self._most_size:
            self._size -= _size(self._kept.popleft().message)
            gone += 1
        return gone

    def remove(self, token: str) -> None:
        """Keep one no longer."""
        self._kept = deque(letter for letter in self._kept if letter.token != token)
        self._size = sum(_size(letter.message) for letter in self._kept)


def _size(message: Message) -> int:
    headers = sum(len(name) + len(value) for name, value in (message.headers or {}).items())
    return len(message.body) + headers + _OVERHEAD
