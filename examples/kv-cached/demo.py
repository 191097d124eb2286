"""See it work: `python demo.py`; or `python demo.py javascript`, or `async`, for the other guests.

Builds the guest, starts the host, makes requests, restarts the host, looks into the SQLite file, stops.
"""

import http.client
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from build import HERE, OUT, PROGRAMS, build, show_clock

CONFIGS = {
    "python": HERE / "host.toml",
    "javascript": HERE / "host-javascript.toml",
    "async": HERE / "host-async.toml",
}
DATABASE = OUT / "store.db"
KEY, VALUE = "greeting", b"hello from " + os.urandom(4).hex().encode()


def main(language: str) -> None:
    build(language)
    remove_database()
    say("One interface, imported twice. Who serves each?")
    for label in ("cache", "store"):
        print()
        wasmplex("explain", CONFIGS[language], label)

    with running_host(CONFIGS[language]) as port:
        say("Write a value. The guest puts it into `store`.")
        expect(request(port, "PUT", VALUE), status=204)
        say("Read it. `cache` does not have it yet, so the guest asks `store`, and fills `cache`.")
        expect(request(port, "GET"), status=200, body=VALUE, cache="miss")
        say("Read it again. Now `cache` answers.")
        expect(request(port, "GET"), status=200, body=VALUE, cache="hit")
        say("Both labels hold the value now. Look into the SQLite file: it has the one of `store` alone.")
        show_rows()

    say("Start the host again. `store` is a file and still has the value; `cache` was memory and is cold.")
    with running_host(CONFIGS[language]) as port:
        expect(request(port, "GET"), status=200, body=VALUE, cache="miss")
        expect(request(port, "GET"), status=200, body=VALUE, cache="hit")
        say("Delete it.")
        expect(request(port, "DELETE"), status=204)
        expect(request(port, "GET"), status=404, cache="miss")

    say("One component, one interface, two labels, two backends, chosen by these lines alone:")
    show_bindings(CONFIGS[language])


# ---------------------------------------------------------------- the host


def wasmplex(*arguments: str | Path) -> None:
    """Run a command of wasmplex to its end; what it has to say goes to the terminal."""
    done = subprocess.run([PROGRAMS / "wasmplex", *arguments], check=False, timeout=300)
    if done.returncode:
        sys.exit(f"wasmplex {arguments[0]} ended with exit code {done.returncode}")


@contextmanager
def running_host(config: Path) -> Iterator[int]:
    """Run the host on a free port; drain and stop it at the end."""
    port = free_port()
    print("\nstarting the host; if the component is new to it, it compiles it first ...", flush=True)
    log = OUT / "host.log"
    with log.open("wb") as output:
        host = subprocess.Popen(
            [PROGRAMS / "wasmplex", "run", config, "--listen", f"127.0.0.1:{port}"],
            stdout=output, stderr=output,
        )  # fmt: skip
    try:
        wait_until_it_listens(host, port, log)
        yield port
    finally:
        host.send_signal(signal.SIGTERM)
        try:
            host.wait(timeout=30)
        except subprocess.TimeoutExpired:
            host.kill()
            host.wait()
    print("the host has stopped")
    if host.returncode:
        sys.exit(f"but not well, with exit code {host.returncode}:\n{log.read_text()}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_until_it_listens(host: subprocess.Popen[bytes], port: int, log: Path, seconds: float = 300) -> None:
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if host.poll() is not None:
            sys.exit(f"the host has ended with exit code {host.returncode}:\n{log.read_text()}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            show_clock(started)
            time.sleep(0.1)
        else:
            print(f"the host listens on http://127.0.0.1:{port} after {time.monotonic() - started:.1f} s")
            return
    sys.exit(f"the host does not listen after {seconds:.0f} s:\n{log.read_text()}")


# ---------------------------------------------------------------- requests


def request(port: int, method: str, body: bytes | None = None) -> tuple[int, bytes, str | None]:
    """Make one request; return status, body and the header `x-cache`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, f"/{KEY}", body)
    response = connection.getresponse()
    answer = response.status, response.read(), response.getheader("x-cache")
    connection.close()
    sent = f" {body.decode()!r}" if body else ""
    print(f"    {method} /{KEY}{sent}  ->  {answer[0]} {answer[1].decode()!r}", end="")
    print(f"  x-cache: {answer[2]}" if answer[2] else "")
    return answer


def expect(
    answer: tuple[int, bytes, str | None], *, status: int, body: bytes | None = None, cache: str | None = None
) -> None:
    """End the demonstration if the answer is not the one that was promised."""
    if answer[0] != status or (body is not None and answer[1] != body) or answer[2] != cache:
        sys.exit(f"expected {status} {body!r}, x-cache {cache}; the host's log is {OUT / 'host.log'}")


# ---------------------------------------------------------------- the SQLite file


def remove_database() -> None:
    for path in OUT.glob("store.db*"):
        path.unlink()


def show_rows() -> None:
    """Print every row that holds the value. There is one: the cache's copy is somewhere else."""
    with sqlite3.connect(f"file:{DATABASE}?mode=ro", uri=True) as database:
        rows = [
            (table, row)
            for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for row in database.execute(f"SELECT * FROM {table}")  # noqa: S608  names out of the file itself
            if VALUE in row
        ]
    database.close()
    for table, row in rows:
        print(f"    {DATABASE.name}, table {table}: {row}")
    if len(rows) != 1:
        sys.exit(f"expected the value once in {DATABASE}, found it {len(rows)} times")


# ---------------------------------------------------------------- words


def say(text: str) -> None:
    print(f"\n{text}", flush=True)


def show_bindings(config: Path) -> None:
    lines = config.read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if ".import." in line)
    print("\n".join(f"    {line}" for line in lines[start:]))


if __name__ == "__main__":
    language = sys.argv[1] if len(sys.argv) == 2 else "python"
    if len(sys.argv) > 2 or language not in CONFIGS:
        sys.exit(__doc__)
    try:
        main(language)
    except KeyboardInterrupt:
        sys.exit("interrupted; the host is stopped")
