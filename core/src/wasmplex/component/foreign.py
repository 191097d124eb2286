"""Naming what a file is when it is not a component, and what to do about it."""

from __future__ import annotations

from wasmplex.component.binary import Budget, Cursor
from wasmplex.component.module import MODULE_MAGIC
from wasmplex.component.sections import COMPONENT_MAGIC
from wasmplex.errors import ComponentError

__all__ = ["foreign"]

_PREVIEW1 = b"wasi_snapshot_preview1"
_TYPE_SECTION = b"component-type"

# What a file starts with, white space skipped and in lower case: what it is, and what to do about it.
_STARTS = (
    (b"(component", "WebAssembly text", "wasm-tools parse app.wat -o app.wasm"),
    (b"(module", "WebAssembly text of a core module", "wasm-tools parse app.wat -o app.wasm"),
    (b";;", "WebAssembly text", "wasm-tools parse app.wat -o app.wasm"),
    (b"(;", "WebAssembly text", "wasm-tools parse app.wat -o app.wasm"),
    (b"package ", "WIT text", "give the component that was built from it"),
    (b"world ", "WIT text", "give the component that was built from it"),
    (b"<!doctype", "an HTML page", "fetch the component again, from its download link"),
    (b"<html", "an HTML page", "fetch the component again, from its download link"),
    (b"<?xml", "an XML file", "fetch the component again, from its download link"),
    (b"{", "a JSON file", "give the component itself; a registry's manifest names it under `layers`"),
    (b"version https://git-lfs", "a Git LFS pointer", "git lfs pull"),
    (b"\x1f\x8b", "a gzip archive", "gunzip it first"),
    (b"pk\x03\x04", "a zip archive", "unzip it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "unzstd it first"),
    (b"\x7felf", "a program for this machine (ELF)", "build it for a WebAssembly target"),
    (b"!<arch>", "a static library", "link it into a component first"),
    (b"bc\xc0\xde", "LLVM bitcode", "link it into a component first"),
)


def foreign(data: bytes) -> ComponentError | None:
    """Return the error that says what `data` is, or None if it starts as a component does."""
    if data.startswith(COMPONENT_MAGIC):
        return None
    if not data:
        return ComponentError("the file is empty, a component was expected", fix="build the component again")
    if data.startswith(MODULE_MAGIC):
        return _core_module(data)
    if data.startswith(b"\0asm"):
        return _other_version(data)
    start = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for prefix, kind, fix in _STARTS:
        if start.startswith(prefix):
            return ComponentError(
                f"this is {kind}, not a component in binary form", where="byte 0x0", fix=fix
            )
    found = data[:8].hex(" ")
    why = f"a component starts with {COMPONENT_MAGIC.hex(' ')}, this with {found}"
    return ComponentError("this is not a component", where="byte 0x0", why=why)


def _other_version(data: bytes) -> ComponentError:
    if len(data) < len(COMPONENT_MAGIC):
        return ComponentError(
            f"the file ends after {len(data)} bytes, in its header",
            where=f"byte {len(data):#x}",
            fix="build the component again, or fetch it again if it was downloaded",
        )
    version, layer = (int.from_bytes(data[i : i + 2], "little") for i in (4, 6))
    kind = {0: "core module", 1: "component"}.get(layer, "file")
    return ComponentError(
        f"this is a WebAssembly {kind} of version {version:#x}, which cannot be read",
        where="byte 0x4",
        why="components have version 0xd in layer 1",
        fix="build it again with current tools",
    )


def _core_module(data: bytes) -> ComponentError:
    what = "this is a core WebAssembly module, not a component"
    new = "wasm-tools component new app.wasm -o component.wasm"
    if _PREVIEW1 in data:
        fix = f"{new} --adapt wasi_snapshot_preview1.reactor.wasm"
        return ComponentError(what, where="byte 0x4", why="it imports wasi_snapshot_preview1", fix=fix)
    if _has_type_section(data):
        return ComponentError(what, where="byte 0x4", fix=new)
    fix = f"wasm-tools component embed WIT-DIRECTORY app.wasm -o app.wasm && {new}"
    return ComponentError(
        what, where="byte 0x4", why="it does not say which WIT world it was built for", fix=fix
    )


def _has_type_section(data: bytes) -> bool:
    cursor = Cursor(data, len(MODULE_MAGIC), len(data), "core module", Budget(100_000))
    try:
        while cursor.pos < cursor.end:
            section = cursor.byte("a section")
            size = cursor.u32("the size of a section")
            if section == 0 and data[cursor.pos : cursor.pos + 32].find(_TYPE_SECTION) >= 0:
                return True
            cursor.pos += size
            cursor.spend()
    except ComponentError:
        return False
    return False
