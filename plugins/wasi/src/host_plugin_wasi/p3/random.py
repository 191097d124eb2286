"""``wasi:random@0.3``: the operating system's randomness, a short answer where much is asked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wasmplex.plugin import HostFunction, Tables

from host_plugin_wasi.random import PIECE, insecure_u64, u64

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from wasmplex.plugin import BoundInterfaces, GuestInstance, WorkloadContext

__all__ = ["bind"]


def _bytes(most: int) -> bytes:
    """Return random bytes: as many as are wanted, but no more than are made in one go (random.wit)."""
    return os.urandom(min(most, PIECE))


def _seed(instance: GuestInstance) -> tuple[int, int]:
    """Return the seed of an instance: one for its life, so that whoever asks twice gets the same."""
    seed: tuple[int, int] | None = instance.state.get(_seed)
    if seed is None:
        seed = instance.state[_seed] = (u64(), u64())
    return seed


_INTERFACES = Tables(
    {
        "random": {"get-random-bytes": _bytes, "get-random-u64": u64},
        "insecure": {"get-insecure-random-bytes": _bytes, "get-insecure-random-u64": insecure_u64},
        "insecure-seed": {"get-insecure-seed": HostFunction(_seed, context=True)},
    }
)


def bind(workload: WorkloadContext) -> AbstractAsyncContextManager[BoundInterfaces]:
    """Bind ``wasi:random``; it is the same for every workload."""
    return _INTERFACES.context()
