"""A host in a program: the lazy exports, the ASGI application, the fixture for tests of components."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import anyio
import pytest
import wasmplex
from host_plugin_memory import MemoryProvider
from wasmplex import errors
from wasmplex.capabilities.keyvalue import StoreUnavailable
from wasmplex.errors import UsageError
from wasmplex.testing import Delayed, Faulty, HostFactory
from wasmplex.values import Err

ROOT = Path(__file__).parents[2]
GUESTS = ROOT / "tests" / "guests" / "built"
FORWARD = Path(wasmplex.__file__).parent / "testing" / "guests" / "keyvalue-labelled.wasm"
GET = "tests:guests/forward#get"
HELLO = f"[workload.hello]\ncomponent = '{GUESTS}/hello.wasm'\ntrigger.http = {{}}\n"


def test_what_is_exported_is_imported_late() -> None:
    code = "import sys, wasmplex; assert 'wasmtime' not in sys.modules; wasmplex.Host; wasmplex.asgi"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    with pytest.raises(AttributeError, match="Hots"):
        wasmplex.Hots  # noqa: B018


def test_pytest_imports_little_of_it() -> None:
    code = "import sys, wasmplex.pytest_plugin; print([m for m in sys.modules if m.startswith('wasmplex')])"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True
    )
    assert done.stdout.strip() == "['wasmplex', 'wasmplex.pytest_plugin']"


@pytest.mark.anyio
async def test_an_asgi_application(tmp_path: Path) -> None:
    (tmp_path / "host.toml").write_text(HELLO)
    app = wasmplex.asgi(tmp_path / "host.toml")
    to_app, from_app = anyio.Event(), []
    stop, started = anyio.Event(), anyio.Event()

    async def receive() -> dict[str, Any]:
        if not to_app.is_set():
            to_app.set()
            return {"type": "lifespan.startup"}
        await stop.wait()
        return {"type": "lifespan.shutdown"}

    async def send(message: Any) -> None:
        from_app.append(message["type"])
        started.set()

    body = b""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(app, {"type": "lifespan"}, receive, send)
        await started.wait()
        scope = {"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"",
                 "headers": [(b"host", b"x")], "scheme": "http", "http_version": "1.1"}  # fmt: skip

        async def request() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def answer(message: Any) -> None:
            nonlocal body
            body += message.get("body", b"")

        await app(scope, request, answer)
        stop.set()
    assert body == b"hello, world\n"
    assert from_app == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.anyio
async def test_an_asgi_application_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "host.toml").write_text(HELLO.replace("hello.wasm", "no.wasm"))
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    with pytest.raises(UsageError):
        wasmplex.asgi(tmp_path / "host.toml")
    (tmp_path / "host.toml").write_text(HELLO.replace("trigger.http", "trigger.htpt"))
    await wasmplex.asgi(tmp_path / "host.toml")({"type": "lifespan"}, receive, send)
    assert sent[0]["type"] == "lifespan.startup.failed"
    assert "htpt" in sent[0]["message"]


def test_a_fake_a_slow_and_a_failing_store(wasm_host: HostFactory) -> None:
    faulty = Faulty(MemoryProvider())
    kv = wasm_host(FORWARD, kit=faulty)
    assert kv.call(GET, "bucket", "k") is None
    faulty.at("get", StoreUnavailable("gone"), times=1)
    with pytest.raises(Err, match="gone"):
        kv.call(GET, "bucket", "k")
    slow = wasm_host(FORWARD, {"kit": Delayed(MemoryProvider(), 0.01)})
    assert slow.call(GET, "bucket", "k") is None


def test_a_component_that_serves_http(wasm_host: HostFactory) -> None:
    import urllib.request

    hello = wasm_host(GUESTS / "hello.wasm", workload={"trigger": {"http": {}}})
    with urllib.request.urlopen(hello.url, timeout=20) as answer:
        assert answer.read() == b"hello, world\n"


def test_what_is_wrong_is_said_when_the_host_starts(wasm_host: HostFactory) -> None:
    with pytest.raises(UsageError, match="did you mean 'memory'"):
        wasm_host(FORWARD, kit="memroy")


MOUNTED = """
import fastapi
import wasmplex

wasm = wasmplex.asgi("host.toml")
app = fastapi.FastAPI(lifespan=wasm.lifespan)
app.mount("/wasm", wasm)

@app.get("/running")
async def running() -> list[str]:
    return list(wasm.host.workloads)
"""


def test_mounted_in_fastapi(tmp_path: Path) -> None:
    """The whole way: a framework that keeps lifespan to itself, a server, requests, SIGTERM."""
    (tmp_path / "host.toml").write_text(HELLO.replace("{}", '{ path = "/hello" }'))
    (tmp_path / "shop.py").write_text(MOUNTED)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--port", str(port), "--log-level", "warning", "shop:app"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            assert _get(f"{url}/running") == '["hello"]'
            assert _get(f"{url}/wasm/hello") == "hello, world\n", "the route is /hello"
            with pytest.raises(urllib.error.HTTPError, match="404"):
                _get(f"{url}/wasm/other")
            server.terminate()
            assert server.wait(20) in (0, -signal.SIGTERM)
        finally:
            server.kill()
        assert server.stderr is not None
        assert server.stderr.read() == ""


def _get(url: str) -> str:
    for _ in range(400):
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError:  # the server has not come up yet
            time.sleep(0.05)
    raise AssertionError(url)


@pytest.mark.anyio
async def test_mounted_without_its_lifespan_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "host.toml").write_text(HELLO)
    app = wasmplex.asgi(tmp_path / "host.toml")
    with pytest.raises(RuntimeError, match=r"lifespan=app\.lifespan"):
        await app({"type": "http"}, None, None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="the host of workload 'hello' is not running"):
        await app.host.call("hello", "run")
    async with app.lifespan():
        assert [*app.host.workloads] == ["hello"]
    with pytest.raises(UsageError, match="is not running"):
        await app.host.call("hello", "run")


def test_every_exception_is_in_the_table() -> None:
    page = (ROOT / "docs" / "embedding.md").read_text()
    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, errors.WasmplexError):
            assert f"\n| `{name}` |" in page or name == "WasmplexError", name
