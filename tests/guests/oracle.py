"""Record what `wasm-tools component wit` prints for components of many toolchains and shapes.

    python tests/guests/oracle.py       write oracle/NAME.wit, and oracle/NAME.wasm.gz where there is no guest

A component that is too large for the repository is kept without the contents of its core modules and custom
sections: its types are all there. `tests/test_inspection.py` compares what we read in it with the text.
"""

import gzip
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import guests
from guests import build, toolchain

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ORACLE = HERE / "oracle"
MODULE = b"\0asm\x01\0\0\0"
LEGACY = ("--dummy-names", "legacy")

# Our own WIT packages as worlds that import or export every interface: name, folder, keyword, options for
# the module and for the component.
WORLDS = [
    ("wasi-imports", "wasi", "import", LEGACY, ()),
    ("wasi-exports", "wasi", "export", LEGACY, ()),
    ("wasi-canonical", "wasi", "import", LEGACY, ("--emit-canonical-names",)),
    ("wasmcloud-imports", "wasmcloud", "import", (*LEGACY, "--async-callback"), ()),
    ("wasmcloud-exports", "wasmcloud", "export", (*LEGACY, "--async-callback"), ()),
]


def main() -> None:
    """Write everything; say which toolchains are missing."""
    ORACLE.mkdir(exist_ok=True)
    for name in guests.names():
        record(name, guests.path(name))
    for name in toolchain.GUESTS:
        try:
            built = toolchain.build(name)
        except toolchain.ToolchainMissing as missing:
            print(f"{name}: left as it was, {missing}")
        else:
            keep(name, built)
    for text in sorted(ORACLE.glob("*.wat")):
        with tempfile.TemporaryDirectory() as folder:
            wasm = Path(folder) / "a.wasm"
            run("parse", text, "-o", wasm)
            record(text.stem, wasm)
    for world in WORLDS:
        with tempfile.TemporaryDirectory() as folder:
            keep(world[0], from_wit(Path(folder), *world[1:]))


def run(*command: str | Path) -> str:
    """Run wasm-tools and return what it prints."""
    done = subprocess.run([build.wasm_tools(), *command], check=True, capture_output=True, text=True)
    return done.stdout


def record(name: str, component: Path) -> None:
    """Write what wasm-tools prints for a component."""
    text = run("component", "wit", component)
    (ORACLE / f"{name}.wit").write_text(text)
    print(f"{name}: {len(text)} bytes of text")


def keep(name: str, component: Path) -> None:
    """Write what wasm-tools prints, and the component without what types do not need."""
    record(name, component)
    small = gzip.compress(stripped(component.read_bytes()), mtime=0)
    (ORACLE / f"{name}.wasm.gz").write_bytes(small)


def from_wit(
    folder: Path, packages: str, keyword: str, for_module: tuple[str, ...], for_component: tuple[str, ...]
) -> Path:
    """Build a component without code that imports or exports every interface of some WIT packages."""
    names: list[str] = []
    for source in sorted((ROOT / "wit").glob("*/*.wit")):
        deps = folder / "wit" / "deps" / f"{source.parent.name}-{source.stem}"
        deps.mkdir(parents=True)
        (deps / source.name).write_text(source.read_text())
        if source.parent.name == packages:
            names += interfaces(source.read_text())
    items = "".join(f"{keyword} {name};\n" for name in names)
    (folder / "wit" / "world.wit").write_text(f"package tests:all;\nworld all {{\n{items}}}\n")
    embedded, component = folder / "embedded.wasm", folder / "component.wasm"
    run("component", "embed", folder / "wit", "--world", "all", *for_module, "-o", embedded)
    run("component", "new", embedded, *for_component, "-o", component)
    return component


def interfaces(wit: str) -> Iterator[str]:
    """Yield the ids of the interfaces in a WIT file with one package."""
    package, _, version = re.findall(r"^package ([^;]+);", wit, re.MULTILINE)[0].partition("@")
    for name in re.findall(r"^interface (\S+)", wit, re.MULTILINE):
        yield f"{package}/{name}@{version}" if version else f"{package}/{name}"


def stripped(wasm: bytes) -> bytes:
    """Return a component without custom sections, its core modules empty."""
    out, position = bytearray(wasm[:8]), 8
    while position < len(wasm):
        section = wasm[position]
        size, position = leb(wasm, position + 1)
        body = wasm[position : position + size]
        position += size
        if section == 0:
            continue
        if section in (1, 4):
            body = MODULE if section == 1 else stripped(body)
        out += bytes([section]) + to_leb(len(body)) + body
    return bytes(out)


def leb(data: bytes, position: int) -> tuple[int, int]:
    """Read a number; return it and where it ends."""
    number = shift = 0
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7


def to_leb(number: int) -> bytes:
    """Write a number."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


if __name__ == "__main__":
    main()
