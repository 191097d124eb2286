from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
import wasmtime
from wasmplex import Host
from wasmplex.errors import FailureError

pytestmark = pytest.mark.anyio

HOST = """
[workload.shop]
component = "refuse.wasm"
trigger.example = { path = '%s' }
"""


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    """A host.toml with a component that is told of the lines of app.log."""
    wat = Path(__file__).with_name("refuse.wat").read_text()
    (tmp_path / "refuse.wasm").write_bytes(wasmtime.wat2wasm(wat))
    (tmp_path / "host.toml").write_text(HOST % (tmp_path / "app.log"))
    return tmp_path / "host.toml"


@asynccontextmanager
async def serving(config: Path) -> AsyncIterator[None]:
    started = anyio.Event()
    with anyio.fail_after(20):
        async with Host.from_config(config) as host, anyio.create_task_group() as tasks:

            async def serve() -> None:
                await host.serve(started=started.set)

            tasks.start_soon(serve)
            await started.wait()
            yield
            await host.drain()
            tasks.cancel_scope.cancel()


async def logged(text: str, caplog: pytest.LogCaptureFixture) -> None:
    while text not in caplog.text:  # noqa: ASYNC110  the log tells nobody
        await anyio.sleep(0.01)


async def test_each_line_is_told(configured: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = configured.with_name("app.log")
    log.write_text("!what was there before\n")
    async with serving(configured):
        with log.open("a") as file:
            file.write("taken\n?trapped\n!refused\n!half a ")
            file.flush()
            await logged("refused a line: !refused", caplog)
            file.write("line\n")
        await logged("refused a line: !half a line", caplog)
    said = [record.getMessage() for record in caplog.records if record.name.startswith("host_plugin")]
    assert len(said) == 3
    assert said[0].startswith("workload shop failed: ")


async def test_a_file_that_is_not_there(configured: Path) -> None:
    async with Host.from_config(configured) as host:
        with anyio.fail_after(20), pytest.raises(FailureError, match=r"app\.log cannot be followed"):
            await host.serve()
