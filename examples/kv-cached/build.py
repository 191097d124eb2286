"""Build a guest from its source: `python build.py python`; or `javascript`, or `async`.

The component goes to .build/ and is built again only when its source, its WIT or its toolchain changes.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUT = HERE / ".build"
PROGRAMS = Path(sys.executable).parent  # where pip puts componentize-py and wasmplex
STORE = "wasi:keyvalue/store@0.2.0-draft"


def main() -> None:
    match sys.argv[1:]:
        case ["python" | "javascript" | "async" as language]:
            build(language)
        case _:
            sys.exit(__doc__)


def build(language: str) -> Path:
    """Return the component, built if what it is made of has changed."""
    component, stamp = OUT / f"{language}.wasm", OUT / f"{language}.sha256"
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources(language))).hexdigest()
    if component.exists() and stamp.exists() and stamp.read_text() == digest:
        print(f"the guest in {language} is built already: {component.name}")
        return component
    print(f"building the guest in {language}, which takes about 15 seconds ...", flush=True)
    started = time.monotonic()
    OUT.mkdir(exist_ok=True)
    {"python": build_python, "javascript": build_javascript, "async": build_async}[language](component)
    stamp.write_text(digest)
    print(
        f"built {component.name}: {component.stat().st_size / 1e6:.1f} MB, {time.monotonic() - started:.0f} s"
    )
    return component


def sources(language: str) -> Iterator[Path]:
    yield HERE / "build.py"
    if language == "async":
        yield HERE / "python-async" / "app.py"
        yield HERE / "requirements.txt"
        yield HERE / "wit-async" / "world.wit"
        yield from packages()
        return
    yield from sorted((HERE / "wit").rglob("*.wit"))
    if language == "python":
        yield HERE / "python" / "app.py"
        yield HERE / "requirements.txt"
    else:
        yield HERE / "javascript" / "app.js"
        yield HERE / "javascript" / "package.json"
        yield HERE / "javascript" / "package-lock.json"


def packages() -> Iterator[Path]:
    """Yield what the world of the asynchronous guest refers to."""
    wit = HERE.parents[1] / "wit"
    yield wit / "wasmcloud" / "keyvalue.wit"
    yield from sorted((wit / "wasi" / "0.3").glob("*.wit"))


def build_python(component: Path) -> None:
    """Compile with componentize-py. The labels are put on by `from = ...` in host.toml."""
    componentize_py(HERE / "wit", "kv-cached", HERE / "python", component)


def build_async(component: Path) -> None:
    """Compile with componentize-py, for WASI 0.3."""
    wit = OUT / "wit-async"
    shutil.rmtree(wit, ignore_errors=True)
    (wit / "deps").mkdir(parents=True)
    shutil.copy(HERE / "wit-async" / "world.wit", wit)
    for package in packages():
        shutil.copy(package, wit / "deps")
    componentize_py(wit, "kv-cached-async", HERE / "python-async", component)


def componentize_py(wit: Path, world: str, folder: Path, component: Path) -> None:
    compiler = PROGRAMS / "componentize-py"
    if not compiler.exists():
        sys.exit(f"componentize-py is missing; type: python -m pip install -r {HERE / 'requirements.txt'}")
    run(compiler, "-q", "-d", wit, "-w", world, "componentize", "-p", folder, "-o", component, "app")


def build_javascript(component: Path) -> None:
    """Compile with componentize-js, then put the labels on with `wasmplex label`."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("npm is missing; install Node.js 20 or newer, https://nodejs.org")
    folder, raw = HERE / "javascript", OUT / "javascript.raw.wasm"
    if not (folder / "node_modules").exists():
        run(npm, "install", "--no-save", "--no-fund", "--no-audit", "--prefix", folder)
    run(npm, "run", "build", "--prefix", folder)
    run(
        PROGRAMS / "wasmplex", "label", raw,
        f"labels:kv/cache@0.1.0=cache={STORE}", f"labels:kv/store@0.1.0=store={STORE}",
        "-o", component,
    )  # fmt: skip


def run(*command: str | Path) -> None:
    """Run a program quietly, with a clock on a terminal; if it fails, end with what it had to say."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as output:
        with subprocess.Popen(command, stdout=output, stderr=output) as program:
            while program.poll() is None:
                show_clock(started)
                time.sleep(0.1)
        output.seek(0)
        if program.returncode:
            sys.exit(f"{Path(command[0]).name} failed:\n{output.read().decode(errors='replace')}")


def show_clock(started: float) -> None:
    """Write on a terminal, over and over in one place, how long something has been going on."""
    if sys.stdout.isatty():
        print(f"\r{time.monotonic() - started:4.0f} s\r", end="", flush=True)


if __name__ == "__main__":
    main()
