"""A type checker finds what a plugin does against its contract, before anything runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = """\
from collections.abc import Iterable
from typing import Any
from wasmplex.capabilities.keyvalue import Bucket
from wasmplex.plugin import Backend, BackendProvider, OpenContext, Settings, hookimpl

class Mine(Settings):
    size: int = 1

class Wrong(Bucket):
    async def get(self, key: str) -> str | None:
        return None

class Provider(BackendProvider[Mine]):
    name, capability, settings = "mine", "keyvalue", Mine
    def open(self, settings: Mine, context: OpenContext) -> Backend:
        raise NotImplementedError(settings.siz)

@hookimpl
def wasmplex_backends() -> Iterable[BackendProvider[Any]]:
    return [Provider]
"""


@pytest.mark.timeout(300)  # the first run reads the types of all libraries
def test_mypy_sees_what_a_plugin_does_wrong(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(PLUGIN)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        f"--cache-dir={ROOT}/.mypy_cache/plugins",
    ]
    done = subprocess.run(
        [*command, plugin], cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 1, done.stderr
    for line, said in (
        (10, 'Return type "Coroutine[Any, Any, str | None]" of "get" incompatible'),
        (15, 'Return type "Backend" of "open" incompatible'),
        (16, '"Mine" has no attribute "siz"'),
        (20, 'List item 0 has incompatible type "type[Provider]"'),
    ):
        assert f"mine.py:{line}: error: {said}" in done.stdout
