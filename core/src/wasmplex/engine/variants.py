"""wasmtime engines: one for each combination of what components need."""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import wasmtime
from wasmtime import _ffi

from wasmplex.engine import proposals
from wasmplex.engine.host_memory import MemoryCreator
from wasmplex.errors import UsageError

if TYPE_CHECKING:
    from wasmplex.engine.images import Image

__all__ = ["Variant", "check", "new_config", "variant_key"]

_PROBE: Final = """
import json, sys, wasmtime
from wasmplex.engine.variants import new_config
wasmtime.Engine(new_config(json.loads(sys.argv[1]), concurrency=sys.argv[2] == "True"))
"""
_PROBE_SECONDS: Final = 60
_REASON: Final = re.compile(r"an `Err` value: (?P<reason>.*)")


@dataclass(frozen=True)
class Variant:
    """One wasmtime engine.

    Components that use async types need concurrency support; to all others it is a cost.

    :ivar key: what distinguishes it, as part of the names of cached code
    :ivar engine: its address
    :ivar creator: what gives memories to its instances
    """

    key: str
    handle: wasmtime.Engine
    engine: int
    creator: MemoryCreator

    @classmethod
    def new(cls, chosen: Mapping[str, bool], *, concurrency: bool, images: Iterable[Image] = ()) -> Variant:
        """Make an engine. Settings that do not go together would end the process: `check` them first.

        :param images: what some memories of instances begin with: the engine is for one component then
        """
        config = new_config(chosen, concurrency=concurrency)
        creator = MemoryCreator(images)
        creator.install(config)
        handle = wasmtime.Engine(config)
        key = variant_key(chosen, concurrency=concurrency)
        return cls(key, handle, ctypes.cast(handle.ptr(), ctypes.c_void_p).value or 0, creator)


def variant_key(chosen: Mapping[str, bool], *, concurrency: bool) -> str:
    """Return what distinguishes the code that is compiled for an engine."""
    switches = ",".join(f"{'+' if on else '-'}{name}" for name, on in sorted(chosen.items()))
    return f"{'async' if concurrency else 'sync'}-host-memory{switches}"


def new_config(chosen: Mapping[str, bool], *, concurrency: bool) -> wasmtime.Config:
    """Return the configuration that all engines share."""
    config = wasmtime.Config()
    config.epoch_interruption = True
    _ffi.wasmtime_config_concurrency_support_set(config.ptr(), concurrency)
    proposals.apply(config, chosen, concurrency=concurrency)
    return config


def check(chosen: Mapping[str, bool], *, concurrency: bool) -> None:
    """Find out whether proposals go together, in another process: this one would not survive if not.

    :raises UsageError: if they do not, with the reason that wasmtime gives
    """
    if not chosen or not sys.executable:
        return
    command = [sys.executable, "-c", _PROBE, json.dumps(dict(chosen)), str(concurrency)]
    done = subprocess.run(  # noqa: S603  all of it is ours
        command, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False
    )
    if done.returncode and (match := _REASON.search(done.stderr)):
        raise UsageError("these wasm proposals cannot be had together", why=match["reason"])
