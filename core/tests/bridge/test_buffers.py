"""Buffers in stream memory: none is given out twice, and those that were had are given out again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmplex.bridge.buffers import BufferMemory

_STEPS = st.lists(st.tuples(st.booleans(), st.integers(1, 300_000)), max_size=60)


@given(_STEPS)
def test_no_two_buffers_overlap(steps: list[tuple[bool, int]]) -> None:
    memory, used = BufferMemory(64, 1 << 22), dict[int, int]()
    for takes, number in steps:
        if not takes:
            if used:
                at = [*used][number % len(used)]
                del used[at]
                memory.give_back(at)
            continue
        try:
            at = memory.take(number)
        except MemoryError:  # what is used may lie apart
            continue
        assert at % 16 == 0
        assert 64 <= at <= (1 << 22) - number
        assert all(at + number <= other or other + size <= at for other, size in used.items())
        used[at] = number
    assert len(memory) == len(used)


def test_a_buffer_is_had_again_by_who_wants_one_as_large() -> None:
    memory = BufferMemory(64, 1 << 22)
    small, large = memory.take(100), memory.take(5000)
    memory.give_back(small)
    memory.give_back(large)
    assert (memory.take(4999), memory.take(99)) == (large, small)


def test_what_is_kept_makes_room_where_there_is_none() -> None:
    memory = BufferMemory(64, 64 + (1 << 19))
    for size in range(1 << 10, 1 << 14, 1 << 10):
        memory.give_back(memory.take(size))
    assert memory.take(1 << 19) == 64
    with pytest.raises(MemoryError, match="1 buffers are in use"):
        memory.take(1)
