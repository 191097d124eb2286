"""Test guests: `component("kv")` for the bytes, `path("kv")` for a file to name in a configuration.

Guests in C are committed as built (`built/`, see `build.py`); guests in WAT are assembled here.
`compiled("py-hello")` compiles one in Python or JavaScript (`toolchain.py`), or skips the test saying why.
"""

import hashlib
import os
from pathlib import Path

import pytest
import wasmtime

from guests import toolchain

__all__ = ["compiled", "component", "names", "path"]

HERE = Path(__file__).resolve().parent
CACHE = HERE / ".build"


def names() -> list[str]:
    """Return the names of all guests that need no toolchain."""
    return sorted({file.stem for file in [*(HERE / "built").glob("*.wasm"), *(HERE / "wat").glob("*.wat")]})


def component(name: str) -> bytes:
    """Return the bytes of a guest."""
    built = HERE / "built" / f"{name}.wasm"
    if built.exists():
        return built.read_bytes()
    text = HERE / "wat" / f"{name}.wat"
    if text.exists():
        return bytes(wasmtime.wat2wasm(text.read_text()))
    raise LookupError(f"no guest named {name!r}; there are {', '.join(names())}")


def path(name: str) -> Path:
    """Return a file with the guest."""
    built = HERE / "built" / f"{name}.wasm"
    return built if built.exists() else _cached(name, component(name))


def compiled(name: str) -> Path:
    """Return a guest in Python or JavaScript, compiled if need be; skip the test where it cannot be."""
    try:
        return toolchain.build(name)
    except toolchain.ToolchainMissing as missing:
        pytest.skip(f"{name} {missing}")


def _cached(name: str, wasm: bytes) -> Path:
    target = CACHE / f"{name}-{hashlib.sha256(wasm).hexdigest()[:16]}.wasm"
    if not target.exists():
        CACHE.mkdir(exist_ok=True)
        part = target.with_suffix(f".{os.getpid()}")
        part.write_bytes(wasm)
        part.replace(target)
    return target
