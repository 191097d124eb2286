"""No password and no token reaches a log, a repr, an error, ``explain``, ``check --json`` or a metric."""

import gc
import json
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import guests
import pytest
from wasmplex.cli.dispatch import run
from wasmplex.errors import BackendError
from wasmplex.host import Host
from wasmplex.testing.servers import NatsServer, RedisServer

pytestmark = pytest.mark.anyio

SECRET = "Tr0ub4dor&3/hunter2"
QUOTED = "Tr0ub4dor%263%2Fhunter2"
PARTS = ("Tr0ub4dor", "hunter2", QUOTED)

BINDINGS = {
    "redis url": 'backend = "redis"\nurl = {{ env = "REDIS_URL" }}',
    "redis password": 'backend = "redis"\nurl = "redis://{redis}"\npassword = {{ env = "SECRET" }}',
    "nats url": 'backend = "nats"\nurl = {{ env = "NATS_URL" }}',
    "nats password": 'backend = "nats"\nurl = "nats://{nats}"\nuser = "wasmplex"\n'
    'password = {{ env = "SECRET" }}',
    "nats token": 'backend = "nats"\nurl = "nats://{tokens}"\ntoken = {{ file = "token" }}',
    "literal": 'backend = "redis"\nurl = "redis://:{quoted}@{redis}"',
}


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Any]]:
    with RedisServer(SECRET) as redis, NatsServer(SECRET) as nats, NatsServer(token=SECRET) as tokens:
        yield {"redis": redis, "nats": nats, "tokens": tokens}


@pytest.fixture(params=BINDINGS)
def binding(request: pytest.FixtureRequest, servers: dict[str, Any]) -> str:
    addresses = {name: server.address for name, server in servers.items()}
    return BINDINGS[request.param].format(quoted=QUOTED, **addresses)


@pytest.fixture
def environ(servers: dict[str, Any]) -> dict[str, str]:
    return {"REDIS_URL": servers["redis"].url, "NATS_URL": servers["nats"].url, "SECRET": SECRET}


@pytest.fixture
def config(tmp_path: Path, binding: str) -> Path:
    (tmp_path / "token").write_text(SECRET)
    path = tmp_path / "host.toml"
    component = f'[workload.app]\ncomponent = "{guests.path("kvfull")}"\n'
    path.write_text(f'{component}[workload.app.default."wasi:keyvalue"]\n{binding}\n')
    return path


def assert_clean(*texts: str) -> None:
    for text in texts:
        assert not [part for part in PARTS if part in text], text


async def test_a_running_host_and_its_log(
    config: Path, environ: dict[str, str], servers: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with Host.from_config(config, environ=environ) as host:
        assert await host.call("app", "run", "b set k v") == "ok"
        statistics = host.statistics()
        for server in servers.values():
            await anyio.to_thread.run_sync(server.kill)
        answers = [await host.call("app", "run", "b get k") for _ in range(3)]
        assert all(answer.startswith("other: ") for answer in answers)
        for server in servers.values():
            await anyio.to_thread.run_sync(server.start)
        seen = [repr(host), repr(host.config), repr(statistics), repr(host.workloads), *answers]
        seen += [repr(found) for found in gc.get_objects() if is_ours(found)]
    assert_clean(*seen, caplog.text, *[str(record.__dict__) for record in caplog.records])


def is_ours(found: object) -> bool:
    return str(type(found).__module__).startswith(("wasmplex.", "host_plugin_redis", "host_plugin_nats"))


async def test_errors_of_opening(
    config: Path, environ: dict[str, str], servers: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = {name: value.replace("hunter2", "hunter2x") for name, value in environ.items()}
    for path in (config, config.parent / "token"):
        path.write_text(path.read_text().replace("hunter2", "hunter2x"))
    for kill in (False, True):
        if kill:
            for server in servers.values():
                await anyio.to_thread.run_sync(server.kill)
        try:
            with pytest.raises(BackendError) as caught:
                async with Host.from_config(config, environ=wrong):
                    pass
        finally:
            for server in servers.values():
                if kill:
                    await anyio.to_thread.run_sync(server.start)
        assert_clean(str(caught.value), caught.value.render(), repr(caught.value), caplog.text)
        chained = "".join(traceback.format_exception(caught.value))
        assert_clean("\n".join(line for line in chained.splitlines() if not line.startswith("  ")))


@pytest.mark.parametrize(
    "command",
    [
        ["explain", "{config}", "wasi:keyvalue/store@0.2.0-draft"],
        ["explain", "--json", "{config}", "wasi:keyvalue/store@0.2.0-draft"],
        ["check", "{config}"],
        ["check", "--json", "{config}"],
        ["check", "--json", "--connect", "{config}"],
    ],
    ids=" ".join,
)
def test_commands(
    config: Path,
    environ: dict[str, str],
    command: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    code = run([word.format(config=config) for word in command])
    output, errors = capsys.readouterr()
    assert code == 0, errors
    assert_clean(output, errors)
    assert "redis" in output or "nats" in output
    if "--json" in command:
        json.loads(output)


def test_a_url_that_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for backend in ("redis", "nats"):
        path = tmp_path / f"{backend}.toml"
        path.write_text(
            f'[workload.app]\ncomponent = "{guests.path("kvfull")}"\n'
            f'[workload.app.default."wasi:keyvalue"]\nbackend = "{backend}"\nurl = "http://u:{QUOTED}@h:x"\n'
        )
        assert run(["check", str(path)]) == 2
        output, errors = capsys.readouterr()
        assert "the URL must" in errors
        assert_clean(output, errors)
