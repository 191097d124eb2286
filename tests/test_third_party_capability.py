"""A capability, its interface, trigger and kit are a third party's plugin, without a line in the host."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import counting
import guests
import pytest
from counting.kit import CounterConformance
from wasmplex.errors import UsageError
from wasmplex.host import Host

FOLDER = Path(counting.__file__).parent
COMMAND = Path(sys.executable).with_name("wasmplex")
pytestmark = pytest.mark.anyio

HOST = """\
plugins = ["./counters.py"]
[workload.w]
component = "{component}"
{trigger}
[workload.w.import.hits]
backend = "{backend}"
"""
THROUGH = 'trigger.count = { label = "hits" }'
OWN = 'trigger.count = { backend = "tally" }'


class TestTally(CounterConformance):
    provider = counting.TallyProvider()


class TestLedger(CounterConformance):
    provider = counting.LedgerProvider()


def test_it_is_small_and_imports_nothing_that_plugins_may_not() -> None:
    sources = [*FOLDER.glob("*.py"), guests.HERE / "wit" / "counting.wit"]
    lines = [line for source in sources for line in source.read_text().splitlines() if line.strip()]
    assert len(lines) < 250
    allowed = ("wasmplex.plugin", "wasmplex.capabilities", "wasmplex.testing")
    for source in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert all(name.startswith(allowed) for name in names if name.startswith("wasmplex"))


def config(folder: Path, trigger: str, backend: str = "tally") -> Path:
    (folder / "counters.py").write_text("from counting import Plugin\n_plugin = Plugin()\n" + HOOKS)
    path = folder / "host.toml"
    path.write_text(HOST.format(component=guests.path("counting"), trigger=trigger, backend=backend))
    return path


HOOKS = "\n".join(
    f"{name} = _plugin.{name}"
    for name in ("wasmplex_backends", "wasmplex_interfaces", "wasmplex_triggers", "wasmplex_export_adapters")
)


async def told(host: Host, total: int) -> None:
    with anyio.fail_after(20):
        while await host.call("w", "noted") != total:  # noqa: ASYNC110  the guest tells nobody by itself
            await anyio.sleep(0.005)


async def serving(host: Host, use: Callable[[], Any]) -> None:
    stop, started = anyio.Event(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: host.serve(stop, started=started.set))
        await started.wait()
        await use()
        stop.set()


async def test_messages_come_through_a_label(tmp_path: Path) -> None:
    """What the component itself counts under the label is told to it, under the label's namespace."""
    async with Host.from_config(config(tmp_path, THROUGH)) as host:

        async def use() -> None:
            assert await host.call("w", "acme:counter/counter@0.1.0#add", "n", 7) == 7
            await told(host, 7)

        await serving(host, use)
        assert host.statistics().providers["tally"].open == 1  # type: ignore[union-attr]  # it is shared


async def test_messages_come_from_a_backend_of_its_own(tmp_path: Path) -> None:
    async with Host.from_config(config(tmp_path, OWN, "ledger")) as host:
        (binding,) = host.trigger_bindings("count")
        source: Any = binding.source
        assert (source.namespace, list(source.functions)) == ("w/count", [])

        async def use() -> None:
            await source.backend.add("w/count", "n", 5)
            await told(host, 5)
            await host.call(
                "w", "acme:counter/counter@0.1.0#add", "n", 9
            )  # in the ledger, which tells nobody
            await source.backend.add("w/count", "n", 1)
            await told(host, 6)

        await serving(host, use)


@pytest.mark.parametrize(
    ("trigger", "backend", "what", "fix"),
    [
        (THROUGH, "ledger", "backend 'ledger' does not support changes", "choose a backend that supports it"),
        ('trigger.count = { label = "hit" }', "tally", 'under the label "hit"', "did you mean 'hits'?"),
        ("trigger.count = {}", "tally", "trigger.count names no backend", 'backend = "memory"'),
        ('trigger.count = { backend = "ledger" }', "tally", "does not support changes", "choose a backend"),
        ('trigger.count = { backend = "taly" }', "tally", "no backend 'taly' is installed", "'tally'"),
        (
            'trigger.count = { label = "hits", backend = "tally" }', "tally",
            "names a backend, and its messages come from elsewhere", "remove the line",
        ),
        ('trigger.count = { backend = "ledger", pth = "x" }', "tally", 'unknown key "pth"', "'path'"),
    ],
)  # fmt: skip
async def test_check_judges_where_messages_come_from(
    tmp_path: Path, trigger: str, backend: str, what: str, fix: str
) -> None:
    with pytest.raises(UsageError) as refused:
        async with Host.from_config(config(tmp_path, trigger, backend)):
            pass
    (problem,) = refused.value.diagnostics
    assert what in problem.what
    assert fix in problem.fix
    assert "host.toml" in problem.where
    assert "trigger.count" in problem.where


# ---------------------------------------------------------------- by the command


def environment() -> Mapping[str, str]:
    return {**os.environ, "PYTHONPATH": str(FOLDER.parent), "NO_COLOR": "1"}


def command(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *args], env=environment(), capture_output=True, text=True, timeout=50, check=True
    )


def test_the_commands_show_where_messages_come_from(tmp_path: Path) -> None:
    own, through = config(tmp_path, OWN, "ledger"), "calls acme:counter/listener@0.1.0"
    shown = command("check", own, "--connect").stdout
    assert f"trigger count {through}, from backend tally" in shown
    (trigger,) = json.loads(command("check", own, "--json").stdout)["workloads"][0]["triggers"]
    assert (trigger["export"], trigger["backend"]) == ("acme:counter/listener@0.1.0", "tally")
    shown = command("check", config(tmp_path, THROUGH)).stdout
    assert f"trigger count {through}, through hits" in shown


@pytest.mark.slow
def test_workers_run_it_once_and_start_it_again(tmp_path: Path) -> None:
    """The first worker alone has it, and has it again after it was killed; SIGTERM drains."""
    path = config(tmp_path, OWN.replace(" }", ", per_worker = true }"), "ledger")
    (tmp_path / "counters.py").write_text((tmp_path / "counters.py").read_text() + SAYING)
    first_line, rest_of_it = path.read_text().split("\n", 1)
    hello = HELLO.replace("HELLO", str(guests.path("hello")))
    path.write_text(f'{first_line}\n[http]\nlisten = "127.0.0.1:0"\n{rest_of_it}{hello}')
    with subprocess.Popen(
        [COMMAND, "run", path, "--workers", "2"], env=environment(), stderr=subprocess.PIPE, text=True
    ) as host:  # fmt: skip
        try:
            first = _counting(host)
            _read(host, " serves w, hello ")
            os.kill(first, signal.SIGKILL)
            assert _counting(host) != first
            _read(host, "worker 1 ")
            host.send_signal(signal.SIGTERM)
            assert host.wait(30) == 0
        finally:
            host.kill()
            rest = host.stderr.read() if host.stderr else ""
    assert "Traceback" not in rest
    assert "counting in" not in rest, "one worker at a time"


SAYING = """
import logging, os
from counting import RunningCount
_serve = RunningCount.serve
async def serve(self, *, task_status):
    logging.getLogger("wasmplex.counters").warning("counting in %d", os.getpid())
    await _serve(self, task_status=task_status)
RunningCount.serve = serve
"""
HELLO = """
[workload.hello]
component = "HELLO"
trigger.http = { path = "/" }
"""


def _read(host: subprocess.Popen[str], part: str) -> str:
    assert host.stderr is not None
    for line in host.stderr:
        if part in line:
            return line
    raise AssertionError(f"never said: {part}")


def _counting(host: subprocess.Popen[str]) -> int:
    return int(_read(host, "counting in ").rpartition(" ")[2])
