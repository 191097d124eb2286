"""See it work: `python demo.py`, or `python demo.py 20 c` for a photo of 20 MB and the guest in C.

Builds the guest, starts the host, uploads a large photo, gets it and parts of it, and breaks an upload off.
"""

import hashlib
import http.client
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from build import COMPONENT, HERE
from build import main as build

OUT = HERE / ".build"
ORIGINALS = OUT / "originals"
PROGRAMS = Path(sys.executable).parent
MB = 1_000_000
PIECE = 1 << 20
WIDTH = 32
PATIENCE = 60
"""Seconds that the host is waited for, while it stores or removes what there is of an upload."""
NAME = "/summer.raw"
CONFIGS = {"python": "host.toml", "c": "host-c.toml"}


def main(megabytes: int, language: str) -> None:
    OUT.mkdir(exist_ok=True)
    if language == "python":
        build_if_needed()
    shutil.rmtree(ORIGINALS, ignore_errors=True)
    for path in OUT.glob("metadata.db*"):
        path.unlink()
    size, seed = megabytes * MB, os.urandom(PIECE)
    sha256 = hashlib.sha256()
    for piece in pieces(seed, size):
        sha256.update(piece)
    with running_host(CONFIGS[language]) as (process, port):
        before = memory(process)
        say(
            f"Upload a photo of {megabytes} MB. The guest hashes it on its way into a directory, `originals`."
        )
        status, headers, _ = ask(port, "PUT", pieces(seed, size), size)
        show(status, headers)
        expect(status == 201 and headers["etag"] == f'"{sha256.hexdigest()}"')
        say("Get it. The store's stream is the body of the answer: no byte of it passes through the guest.")
        status, headers, found = ask(port, "GET")
        show(status, headers)
        expect(status == 200 and found == sha256.hexdigest())
        say("Get a part of it.")
        status, headers, _ = ask(port, "GET", range=f"bytes={size - 1000}-")
        show(status, headers)
        expect(status == 206 and headers["content-length"] == "1000")
        say("Ask whether it has changed.")
        status, headers, _ = ask(port, "GET", if_none_match=headers["etag"])
        show(status, headers)
        expect(status == 304)
        say("Begin to upload another one in its place, and break off half-way.")
        with broken_off(port, pieces(seed, size // 2), size):
            expect(comes_true(lambda: len(objects()) == 2))  # or it might begin to store after we have looked
        status, headers, _ = ask(port, "HEAD")
        show(status, headers)
        expect(headers["etag"] == f'"{sha256.hexdigest()}"')
        comes_true(lambda: len(objects()) == 1)  # the host may still be at removing it
        say("The old one is still there. What there is in the directory:")
        found_there = objects()
        for path, length in found_there.items():
            print(f"    {length:>11,} bytes  {path.relative_to(OUT)}")
        expect(list(found_there.values()) == [size])
        if before and (after := memory(process)):
            say(f"Memory of the host: {before // MB} MB before, {after // MB} MB at most since.")


# ---------------------------------------------------------------- the host


def build_if_needed() -> None:
    """Build the guest in Python if it is not there, or older than its source. That in C is built."""
    if not COMPONENT.exists() or COMPONENT.stat().st_mtime < (HERE / "python/app.py").stat().st_mtime:
        build()


@contextmanager
def running_host(config: str) -> Iterator[tuple[int, int]]:
    """Run the host on a free port; return its process and the port, and stop it at the end."""
    log = OUT / "host.log"
    print("starting the host; if the component is new to it, it compiles it first ...", flush=True)
    with log.open("wb") as output:
        command = [PROGRAMS / "wasmplex", "run", config, "--listen", "127.0.0.1:0"]
        host = subprocess.Popen(command, cwd=HERE, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 300
        while " serves " not in log.read_text():
            if host.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the host does not serve:\n{log.read_text()}")
            time.sleep(0.1)
        url = next(word for word in log.read_text().split() if word.startswith("http://"))
        yield host.pid, int(url.rstrip("/,").rpartition(":")[2])
    finally:
        host.send_signal(signal.SIGTERM)
        try:
            host.wait(timeout=40)
        except subprocess.TimeoutExpired:
            host.kill()
            host.wait()
    print("the host has stopped")


def memory(process: int) -> int:
    """Return the most bytes that a process has had in memory, 0 where the system does not say."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def objects() -> dict[Path, int]:
    """Return the files of the store and how long they are, without those that mark its containers."""
    found = {}
    for path in sorted(ORIGINALS.rglob("*")):
        with suppress(FileNotFoundError):  # the host may remove it meanwhile
            if path.is_file() and (length := path.stat().st_size):
                found[path] = length
    return found


def comes_true(condition: Callable[[], bool]) -> bool:
    """Wait for something that the host is about to do; return whether it has done it in time."""
    deadline = time.monotonic() + PATIENCE
    while not (done := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return done


# ---------------------------------------------------------------- requests


def pieces(seed: bytes, size: int) -> Iterator[bytes]:
    """Yield so many bytes; those of each piece are others."""
    for number, begin in enumerate(range(0, size, PIECE)):
        yield (number.to_bytes(8, "big") + seed[8:])[: size - begin]


def ask(
    port: int, method: str, body: Iterator[bytes] | None = None, size: int = 0, **asked: str
) -> tuple[int, dict[str, str], str]:
    """Make a request; return status, headers and the hash of the answer's body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    headers = {name.replace("_", "-"): text for name, text in asked.items()}
    if body is not None:
        headers["content-length"] = str(size)
    connection.request(method, NAME, None if body is None else shown(body, size), headers)
    response = connection.getresponse()
    length = int(response.getheader("content-length") or 0)
    sha256 = hashlib.sha256()
    for piece in shown(iter(lambda: response.read(PIECE), b""), length):
        sha256.update(piece)
    connection.close()
    return response.status, {name.lower(): text for name, text in response.getheaders()}, sha256.hexdigest()


@contextmanager
def broken_off(port: int, body: Iterator[bytes], size: int) -> Iterator[None]:
    """Promise so many bytes and send fewer; at the end go away."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        connection.putrequest("PUT", NAME)
        connection.putheader("content-length", str(size))
        connection.endheaders()
        for piece in body:
            connection.send(piece)
        yield
    finally:
        connection.close()


def shown(body: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Yield what is on its way, with a bar if it is much."""
    begun, done, last = time.monotonic(), 0, 0.0
    for piece in body:
        yield piece
        done += len(piece)
        now = time.monotonic()
        if size > MB and (now - last > 0.1 or done == size):
            last = now
            filled = WIDTH * done // size
            speed = done / MB / max(now - begun, 0.001)
            bar = "#" * filled + "." * (WIDTH - filled)
            print(f"\r    [{bar}] {done // MB:>4} MB  {speed:5.0f} MB/s", end="", flush=True)
    if size > MB:
        print()


# ---------------------------------------------------------------- words


def say(text: str) -> None:
    print(f"\n{text}", flush=True)


def show(status: int, headers: dict[str, str]) -> None:
    words = [
        f"{name}: {headers[name]}" for name in ("content-range", "content-length", "etag") if name in headers
    ]
    print(f"    {status}  " + "  ".join(words))


def expect(kept: bool) -> None:
    """End the demonstration if something is not what was promised."""
    if not kept:
        sys.exit(f"that is not what was promised; the host's log is {OUT / 'host.log'}")


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 200, sys.argv[2] if len(sys.argv) > 2 else "python")
    except KeyboardInterrupt:
        sys.exit("interrupted; the host is stopped")
