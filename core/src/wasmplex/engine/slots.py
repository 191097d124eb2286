"""Slots for instances of large guests that serve few calls each: wasmtime's pooling allocator.

An instance of CPython touches hundreds of pages of its memory in its first call, and for each the system is
interrupted to copy a page of the memory's image. In a slot the pages stay, and are overwritten with
the image when the instance ends, which another thread can do.

Slots take up address space, and each keeps memory once it was used, so there are few. Whoever finds none free
makes an ordinary instance.
"""

from __future__ import annotations

import mmap
import sys
from ctypes import c_size_t, c_uint32, c_void_p, cast
from typing import Any, Final

from wasmtime import _ffi

__all__ = ["SLOTS", "Slots"]

SLOTS: Final = 16
"""Instances that may be in slots at a time."""

_RESIDENT: Final = 12 << 20
"""Bytes of each memory that stay. CPython, as componentize-py has it, begins with 11 MiB."""
_MEMORIES: Final = 2
_ADDRESSES: Final = 5 << 30
"""Bytes of address space for each memory, and more."""
_TABLES: Final = 8
_CORE_INSTANCES: Final = 128

_LIMITS: Final[dict[str, tuple[Any, int]]] = {
    "linear_memory_keep_resident": (c_size_t, _RESIDENT),
    "table_keep_resident": (c_size_t, 1 << 20),
    "async_stack_keep_resident": (c_size_t, 64 << 10),
    "total_component_instances": (c_uint32, SLOTS),
    "total_core_instances": (c_uint32, SLOTS * _CORE_INSTANCES),
    "total_memories": (c_uint32, SLOTS * _MEMORIES),
    "total_tables": (c_uint32, SLOTS * _TABLES),
    # A slot's stack is in use from the first step of a call to its last.
    "total_stacks": (c_uint32, SLOTS + 1),
    "max_core_instances_per_component": (c_uint32, _CORE_INSTANCES),
    "max_memories_per_component": (c_uint32, _MEMORIES),
    "max_tables_per_component": (c_uint32, _TABLES),
    "max_component_instance_size": (c_size_t, 4 << 20),
    "max_core_instance_size": (c_size_t, 4 << 20),
    "table_elements": (c_size_t, 100_000),
}


class Slots:
    """The free slots of one engine. Taking and giving back is safe in any thread."""

    def __init__(self) -> None:
        self._free = [None] * SLOTS

    def take(self) -> bool:
        """Take a slot; False if there is none."""
        try:
            self._free.pop()
        except IndexError:
            return False
        return True

    def give(self) -> None:
        """Give a slot back, after the instance in it has been deleted."""
        self._free.append(None)

    @staticmethod
    def possible() -> bool:
        """Say whether there is address space for them. An engine that finds none would end the process."""
        if sys.platform != "linux":
            return False  # elsewhere nothing stays in a slot
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        try:
            mmap.mmap(-1, SLOTS * _MEMORIES * _ADDRESSES, flags=flags, prot=0).close()
        except OSError:
            return False
        return True

    @staticmethod
    def install(config: Any) -> None:
        """Make a `wasmtime.Config` put all instances into slots."""
        new, delete = _bind("config_new", c_void_p), _bind("config_delete", None, c_void_p)
        pooling = new()
        try:
            for name, (kind, value) in _LIMITS.items():
                _bind(f"config_{name}_set", None, c_void_p, kind)(pooling, value)
            _bind("strategy_set", None, c_void_p, c_void_p)(cast(config.ptr(), c_void_p), pooling)
        finally:
            delete(pooling)


def _bind(name: str, result: Any, *parameters: Any) -> Any:
    function = _ffi.dll[f"wasmtime_pooling_allocation_{name}"]
    function.restype, function.argtypes = result, list(parameters)
    return function
