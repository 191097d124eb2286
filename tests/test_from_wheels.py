"""From an empty directory and built wheels alone to a host that serves through a plugin just made."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import guests
import pytest

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = """\
python -m venv venv
venv/bin/python -m pip install -q WHEELS
venv/bin/wasmplex new plugin acme
venv/bin/python -m pip install -q -e ./host-plugin-acme[dev]
venv/bin/python -m pytest -q --basetemp=tmp host-plugin-acme
venv/bin/wasmplex plugins list
venv/bin/wasmplex check host.toml --connect
venv/bin/wasmplex doctor host.toml
venv/bin/wasmplex run host.toml
"""
HOST = """\
[http]
listen = "127.0.0.1:0"

[workload.shop]
component = "shop.wasm"
trigger.http = {}

[workload.shop.import.cache]
backend = "acme"
path = "cache.json"

[workload.shop.import.store]
backend = "acme"
path = "store.json"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty directory with nothing but wheels, a component and a configuration."""
    wheels = tmp_path / "wheels"
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(wheels)]
    subprocess.run([*build, str(ROOT / "core"), str(ROOT / "plugins/wasi")], check=True, timeout=300)
    for wheel in wheels.glob("wasmplex-*.whl"):
        names = zipfile.ZipFile(wheel).namelist()
        assert "wasmplex/wit/packages/wasi/keyvalue.wit" in names
        assert "wasmplex/cli/template/pyproject.toml" in names
    home = tmp_path / "home"
    home.mkdir()
    (home / "shop.wasm").write_bytes(guests.component("kvhttp"))
    (home / "host.toml").write_text(HOST)
    return home


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_wheels_to_a_host_that_serves(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheels = " ".join(map(str, sorted(home.parent.glob("wheels/*.whl"))))
    commands = [line.replace("WHEELS", wheels) for line in COMMANDS.splitlines()]
    assert len(commands) < 15
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    begun = time.monotonic()
    for command in commands[:-1]:
        done = subprocess.run(shlex.split(command), cwd=home, env=environment, capture_output=True, text=True,
                              timeout=600, check=False)  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    with subprocess.Popen(shlex.split(commands[-1]), cwd=home, env=environment, stderr=subprocess.PIPE,
                          text=True) as process:  # fmt: skip
        assert process.stderr is not None
        try:
            url = next(line for line in process.stderr if " serves " in line).split()[-1]
            with urllib.request.urlopen(f"{url}/greeting", timeout=20) as answer:
                assert answer.read().startswith(b"calls=")
        finally:
            process.terminate()
            process.stderr.read()
    assert process.returncode == 0
    assert (home / "cache.json").exists() or (home / "store.json").exists()
    with capsys.disabled():
        print(f"\n{len(commands)} commands, {time.monotonic() - begun:.0f} s")
