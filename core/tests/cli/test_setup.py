"""What a process that serves is told: its part of what is for all of them together."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

import guests
import pytest
from wasmplex import config
from wasmplex.cli.setup import Setup
from wasmplex.errors import UsageError
from wasmplex.plugins.registry import Registry

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("workers", "part"), [(1, 2**30), (4, 2**28), (3, 2**30 // 3)])
async def test_each_of_several_workers_has_an_equal_part_of_the_memory(
    tmp_path: Path, workers: int, part: int
) -> None:
    file = tmp_path / "host.toml"
    file.write_text(
        f'[host]\nmemory = "1GiB"\n[workload.w]\ncomponent = "{guests.path("hello")}"\n'
        'trigger.http = { path = "/" }\n'
    )
    setup = Setup(
        partial(config.load, file, {}), lambda _: None, Registry, (), dev=False, workers=workers,
        drain_timeout=1, hang_timeout=1, changes=None,
    )  # fmt: skip
    planned = await setup.read()
    assert planned.assembly.memory == part


async def test_a_file_system_that_has_gone_away_keeps_no_reload(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = threading.Event()

    def load() -> config.HostConfig:
        gone.wait(60)
        raise AssertionError

    setup = Setup(
        load,
        lambda _: None,
        Registry,
        (),
        dev=False,
        workers=1,
        drain_timeout=1,
        hang_timeout=1,
        changes=None,
    )
    monkeypatch.setattr("wasmplex.cli.setup._LONGEST", 0.1)
    with pytest.raises(UsageError, match="the configuration was not read within"):
        await setup.read()
    gone.set()
