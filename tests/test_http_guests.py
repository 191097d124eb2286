"""The smallest HTTP component of each toolchain, asked over a socket."""

from pathlib import Path

import anyio
import guests
import pytest
from guests import toolchain
from wasmplex.host import Host

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]  # the first run compiles guests and components
HELLO = ["hello", *(name for name in toolchain.GUESTS if name.endswith("-hello"))]


@pytest.mark.parametrize("name", HELLO)
async def test_hello(name: str, tmp_path: Path) -> None:
    component = guests.compiled(name) if name in toolchain.GUESTS else guests.path(name)
    path = tmp_path / "host.toml"
    path.write_text(
        f'[http]\nlisten = "127.0.0.1:0"\n'
        f'[workload.hello]\ncomponent = "{component}"\ntrigger.http = {{ path = "/" }}\n'
    )
    stop, started = anyio.Event(), anyio.Event()
    async with Host.from_config(path) as host, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: host.serve(stop, started=started.set))
        with anyio.fail_after(60):
            await started.wait()
            answers = [await get(host.addresses["http"]["listen"]) for _ in range(3)]
        stop.set()
    assert all(answer.startswith(b"HTTP/1.1 200 OK\r\n") for answer in answers)
    assert all(b"hello, world\n" in answer for answer in answers)


async def get(address: str) -> bytes:
    """Return a whole response, head and all."""
    host, _, port = address.rpartition(":")
    async with await anyio.connect_tcp(host, int(port)) as stream:
        await stream.send(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        return b"".join([piece async for piece in stream])
