"""Runs one program of the suite by the installed commands, with a configuration written for it.

one.py run|serve [--env=NAME=VALUE]... [--dir=ROOT] [--network] [--http] PROGRAM [ARGUMENT]...

A program that is a core module is one of preview 1: WASM_TOOLS makes a component of it with COMMAND_ADAPTER,
the adapter of Bytecode Alliance's toolchains.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

CONFIG = """
[http]
listen = "127.0.0.1:0"
[workload.test]
component = {component}
args = {args}
env = {env}
dirs = {dirs}
network = "{network}"
allowed_hosts = {hosts}
limits = {{ timeout = "60s" }}
"""


CORE_MODULE = b"\0asm\1\0\0\0"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["run", "serve"])
    parser.add_argument("--env", action="append", default=[])
    parser.add_argument("--dir")
    parser.add_argument("--network", action="store_true")
    parser.add_argument("--http", action="store_true")
    parser.add_argument("program")
    parser.add_argument("args", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return play(given, Path(folder))


def play(given: argparse.Namespace, folder: Path) -> int:
    """Write the configuration, and run the program as it says; return the exit code."""
    env = dict(pair.split("=", 1) for pair in given.env)
    text = CONFIG.format(
        component=json.dumps(str(component(Path(given.program).resolve(), folder))),
        args=json.dumps([Path(given.program).name, *given.args]),
        env="{" + ", ".join(f"{json.dumps(k)} = {json.dumps(v)}" for k, v in env.items()) + "}",
        dirs=f'{{ "/" = {json.dumps(str(Path(given.dir).resolve()))} }}' if given.dir else "{}",
        network="allow" if given.network else "deny",
        hosts='["*"]' if given.http else "[]",
    )
    if given.what == "serve":
        text += 'trigger.http = { path = "/" }\n'
    config = folder / "host.toml"
    config.write_text(text)
    wasmplex = [sys.executable, "-m", "wasmplex"]
    if given.what == "run":
        return subprocess.call([*wasmplex, "invoke", "--stdio", str(config), "test", "run"])
    return serve([*wasmplex, "run", str(config)])


def component(program: Path, folder: Path) -> Path:
    """Return the program as a component."""
    with program.open("rb") as file:
        if file.read(8) != CORE_MODULE:
            return program
    target = folder / program.name
    adapter = f"wasi_snapshot_preview1={os.environ['COMMAND_ADAPTER']}"
    new = [os.environ["WASM_TOOLS"], "component", "new", "--adapt", adapter, str(program), "-o", str(target)]
    subprocess.run(new, check=True)
    return target


def serve(command: list[str]) -> int:
    """Serve until interrupted. The runner looks for the address in the first line on standard error."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        signal.signal(signal.SIGINT, lambda *_: process.send_signal(signal.SIGINT))
        signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGTERM))
        serving = False
        for line in process.stderr:
            serving = serving or "http://" in line
            if serving:
                sys.stderr.write(line)
                sys.stderr.flush()
        return process.wait()


if __name__ == "__main__":
    sys.exit(main())
