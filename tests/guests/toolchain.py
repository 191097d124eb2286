"""Guests in Python and JavaScript: compiled from source when first asked for, kept in .build/ by content.

    python tests/guests/toolchain.py qjs-hello     build one, print its path

componentize-py comes with requirements-dev.txt; componentize-qjs is installed by npm, if npm is there.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["GUESTS", "ToolchainMissing", "build", "locked"]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EXAMPLE = ROOT / "examples" / "kv-cached"
WORK = HERE / ".build"
WASI = "0.2.10"
RECIPES = b"2"  # to be changed with the way in which guests are compiled


class ToolchainMissing(Exception):
    """The toolchain is not here; the message says what to install."""


@dataclass(frozen=True)
class Guest:
    """A source file, the world it is written for, and the function that compiles it."""

    source: str
    world: str
    compile: Callable[["Guest", Path, Path], None]
    wit: tuple[Path, ...] = ()  # the world's file, then what it refers to; those of 0.2 if there are none

    @property
    def sources(self) -> list[Path]:
        """The files in WIT, the world's first."""
        return [*(self.wit or _wit())]


def build(name: str) -> Path:
    """Return the component, compiled if its sources or its toolchain have changed.

    :raises ToolchainMissing: there is nothing to compile it with
    """
    guest = GUESTS[name]
    target = WORK / f"{name}-{_digest(guest)}.wasm"
    with locked(name):
        if not target.exists():
            folder = WORK / f"{name}.{os.getpid()}"
            shutil.rmtree(folder, ignore_errors=True)
            _lay_out_wit(guest, folder)
            guest.compile(guest, folder, folder / "guest.wasm")
            (folder / "guest.wasm").replace(target)
            shutil.rmtree(folder)
    return target


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Let no other process build the same at the same time: it finds it built instead."""
    WORK.mkdir(exist_ok=True)
    with (WORK / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _componentize_py(guest: Guest, folder: Path, target: Path) -> None:
    compiler = Path(sys.executable).with_name("componentize-py")
    if not compiler.exists():
        raise ToolchainMissing("needs componentize-py: python -m pip install -r requirements-dev.txt")
    source = HERE / guest.source
    _run(
        compiler, "-q", "-d", folder / "wit", "-w", guest.world,
        "componentize", "-p", source.parent, "-o", target, source.stem,
    )  # fmt: skip


def _componentize_qjs(guest: Guest, folder: Path, target: Path) -> None:
    """Compile with QuickJS.

    Its own pre-initialisation cannot link `wasi:http`, so that it is called `xasi:http` meanwhile: a name of
    the same length, put right in the bytes of the component.
    """
    source, disguised = (HERE / guest.source).read_text(), folder / "guest.js"
    disguised.write_text(source.replace('"wasi:', '"xasi:'))
    for wit in (folder / "wit").rglob("*.wit"):
        wit.write_text(wit.read_text().replace("wasi:", "xasi:"))
    _run(
        _node_program("componentize-qjs"), "--wit", folder / "wit", "--js", disguised,
        "--sync", "--opt-size", "-n", guest.world, "-o", target,
    )  # fmt: skip
    target.write_bytes(target.read_bytes().replace(b"xasi:", b"wasi:"))


def _componentize_qjs_async(guest: Guest, folder: Path, target: Path) -> None:
    """Compile with QuickJS for asynchronous exports. Its pre-initialisation cannot link an `async func`
    that is imported ("type mismatch with async"), and componentize-js knows no `async func` at all.
    """
    _run(
        _node_program("componentize-qjs"), "--wit", folder / "wit", "--js", HERE / guest.source,
        "--stub-wasi", "-n", guest.world, "-o", target,
    )  # fmt: skip


def _componentize_qjs_service(guest: Guest, folder: Path, target: Path) -> None:
    """Compile with QuickJS for WASI 0.3, whose interfaces it imports."""
    _run(
        _node_program("componentize-qjs"), "--wit", folder / "wit", "--js", HERE / guest.source,
        "-n", guest.world, "-o", target,
    )  # fmt: skip


def _componentize_js(guest: Guest, folder: Path, target: Path) -> None:
    """Compile with SpiderMonkey, if the example has installed it: 400 MB are too much to fetch unasked."""
    if not (EXAMPLE / "javascript" / "node_modules").exists():
        raise ToolchainMissing(
            "needs componentize-js: npm install --no-save --prefix examples/kv-cached/javascript"
        )
    _run(
        _node_program("componentize-js", EXAMPLE / "javascript"), HERE / guest.source,
        "--wit", folder / "wit", "-n", guest.world, "--disable", "fetch-event", "-o", target,
    )  # fmt: skip


def _node_program(name: str, folder: Path = HERE / "javascript") -> Path:
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise ToolchainMissing(f"{name} needs Node.js and npm")
    program = folder / "node_modules" / ".bin" / name
    with locked("npm"):
        if not program.exists():
            done = subprocess.run(
                [npm, "install", "--no-save", "--no-fund", "--no-audit", "--prefix", folder],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise ToolchainMissing(f"{name} could not be installed by npm: {done.stderr.strip()[-300:]}")
    return program


WIT3 = (HERE / "wit" / "wasi3.wit", *sorted((ROOT / "wit" / "wasi" / "0.3").glob("*.wit")))
SERVICE3 = (HERE / "wit" / "service3.wit", *WIT3[1:])
GUESTS = {
    "py-hello3": Guest("python/hello3.py", "hello", _componentize_py, SERVICE3),
    "qjs-hello3": Guest("javascript/hello3.js", "hello", _componentize_qjs_service, SERVICE3),
    "py-hello": Guest("python/hello.py", "http", _componentize_py),
    "py-kv": Guest("python/kv.py", "kv", _componentize_py),
    "py-kv-async": Guest("python/kv_async.py", "kv-async", _componentize_py),
    "py-wasi3": Guest("python/wasi3.py", "everything", _componentize_py, WIT3),
    "qjs-hello": Guest("javascript/hello.js", "http", _componentize_qjs),
    "qjs-kv": Guest("javascript/kv.js", "kv", _componentize_qjs),
    "qjs-streams": Guest("javascript/streams.js", "streams", _componentize_qjs_async),
    "js-hello": Guest("javascript/hello.js", "http", _componentize_js),
}


def _wit() -> Iterator[Path]:
    yield HERE / "wit" / "toolchains.wit"
    yield from sorted(path for path in (ROOT / "wit" / "wasi").glob("*.wit") if path.stem != "blobstore")
    yield ROOT / "wit" / "wasmcloud" / "keyvalue.wit"
    yield EXAMPLE / "wit" / "deps" / "labels-kv.wit"


def _digest(guest: Guest) -> str:
    pins = [EXAMPLE / "requirements.txt", EXAMPLE / "javascript" / "package.json"]
    pins += [HERE / "javascript" / "package.json"]
    state = hashlib.sha256(RECIPES)
    for path in [HERE / guest.source, *guest.sources, *pins]:
        state.update(path.read_bytes())
    return state.hexdigest()[:16]


def _lay_out_wit(guest: Guest, folder: Path) -> None:
    deps = folder / "wit" / "deps"
    deps.mkdir(parents=True)
    for number, path in enumerate(guest.sources):
        target = deps / f"{number}.wit" if number else folder / "wit" / path.name
        target.write_text(path.read_text().replace("@0.2.12", f"@{WASI}"))


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    for name in sys.argv[1:] or GUESTS:
        print(name, build(name))
