"""See it work: `python demo.py`. Builds both guests, starts a NATS server and two hosts, and sends orders.

One host is killed while it works: what it had not finished the other does. Orders that cannot be billed are
tried again, and are dead letters in the end, which are listed and sent once more.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import nats
from wasmplex.testing.servers import NatsServer

HERE = Path(__file__).resolve().parent
OUT = HERE / ".build"
PROGRAMS = Path(sys.executable).parent  # where pip puts componentize-py and wasmplex
ORDERS = 60


def build() -> None:
    """Compile the guests that are not there: HTTP in Python, the handler in JavaScript."""
    OUT.mkdir(exist_ok=True)
    if not (OUT / "shop.wasm").exists():
        say("compiling the guest in Python ...")
        run(PROGRAMS / "componentize-py", "-q", "-d", "wit", "-w", "shop", "componentize", "-p", "python",
            "-o", OUT / "shop.wasm", "app")  # fmt: skip
    if not (OUT / "billing.wasm").exists():
        npm = shutil.which("npm")
        if npm is None:
            sys.exit("npm is missing; install Node.js 20 or newer, https://nodejs.org")
        say("compiling the guest in JavaScript ...")
        run(npm, "install", "--no-save", "--no-fund", "--no-audit", "--prefix", "javascript")
        run(HERE / "javascript/node_modules/.bin/componentize-qjs", "--wit", "wit", "-n", "billing",
            "--js", "javascript/app.js", "--sync", "--opt-size", "-o", OUT / "billing.wasm")  # fmt: skip


def main() -> None:
    build()
    with NatsServer(sync=None) as server:
        environ = {**os.environ, "NATS_URL": server.url}
        hosts = [Host(number, environ) for number in (0, 1)]
        billed: set[str] = set()
        listening = threading.Thread(target=asyncio.run, args=[listen(server.url, billed)], daemon=True)
        listening.start()
        try:
            say("Two hosts serve. Send orders to one of them; both bill.")
            for number in range(ORDERS):
                post(hosts[0].url, f"order-{number}" if number % 20 else f"broken-{number}")
            say("Kill the other one while it works.")
            hosts[1].process.kill()
            wait(lambda: len(billed) == ORDERS - 3)
            wait(lambda: len(dead(environ)) == 3)
            say(f"All {ORDERS - 3} orders that can be billed were. These could not be:")
            wasmplex(environ, "messages", "dead", "host.toml", "billing")
            say("Send them again; they are tried again, and come back.")
            wasmplex(environ, "messages", "dead", "host.toml", "billing", "--redeliver")
            wait(lambda: len(dead(environ)) == 3)
            hosts[0].process.send_signal(signal.SIGTERM)
            say(f"The host ended with exit code {hosts[0].process.wait(40)}.")
        finally:
            for host in hosts:
                host.process.kill()
                host.process.wait()


async def listen(url: str, billed: set[str]) -> None:
    """Note what the handlers say that they have billed."""
    client = await nats.connect(url, allow_reconnect=False, error_cb=ignored)
    subscription = await client.subscribe("billed")
    async for message in subscription.messages:
        billed.add(message.data.decode())


async def ignored(error: Exception) -> None:
    """The server ends with the demonstration."""


def dead(environ: dict[str, str]) -> list[object]:
    """Return the dead letters of the workload."""
    command = [PROGRAMS / "wasmplex", "messages", "dead", "host.toml", "billing", "--json"]
    done = subprocess.run(command, cwd=HERE, env=environ, check=True, capture_output=True)
    found: list[object] = json.loads(done.stdout)
    return found


class Host:
    """A host process with its log."""

    def __init__(self, number: int, environ: dict[str, str]) -> None:
        self.path = OUT / f"host-{number}.log"
        with self.path.open("wb") as log:
            command = [PROGRAMS / "wasmplex", "run", "host.toml", "--listen", "127.0.0.1:0"]
            self.process = subprocess.Popen(command, cwd=HERE, env=environ, stdout=log, stderr=log)
        wait(lambda: " serves " in self.log())
        self.url = next(word for word in self.log().split() if word.startswith("http://")).rstrip(",")

    def log(self) -> str:
        return self.path.read_text()


def post(url: str, order: str) -> None:
    with urllib.request.urlopen(f"{url}/orders/new", order.encode(), timeout=60) as response:  # noqa: S310
        assert response.status == 202


def wasmplex(environ: dict[str, str], *arguments: str) -> None:
    subprocess.run([PROGRAMS / "wasmplex", *arguments], cwd=HERE, env=environ, check=True)


def wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not done():
        if time.monotonic() > deadline:
            sys.exit("it takes too long; the logs are in .build")
        time.sleep(0.1)


def run(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], cwd=HERE, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


def say(text: str) -> None:
    print(f"\n{text}", flush=True)


if __name__ == "__main__":
    main()
