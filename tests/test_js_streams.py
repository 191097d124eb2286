"""Streams and futures of a guest in JavaScript: its event loop, its bindings, our adapters around it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import guests
import pytest
from wasmplex.errors import Trap
from wasmplex.host import Host
from wasmplex.testing.loops import EventLoop, usual

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,  # the first run compiles the guest, and then the component
    pytest.mark.timeout(300),
]

CONFIG = """
[engine]
transport = "{transport}"
[workload.js]
component = "{component}"
"""


@pytest.fixture(scope="module", params=usual().values(), ids=list(usual()))
def anyio_backend(request: pytest.FixtureRequest) -> EventLoop:
    loop: EventLoop = request.param
    return loop


@pytest.fixture(scope="module", params=["strings", "memory"])
async def host(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[Host]:
    folder: Path = tmp_path_factory.mktemp("streams")
    component = guests.compiled("qjs-streams")
    (folder / "host.toml").write_text(CONFIG.format(transport=request.param, component=component))
    async with Host.from_config(folder / "host.toml") as running:
        yield running


class Source:
    """Yields chunks as long as somebody reads them."""

    def __init__(self, chunk: bytes, count: int = 1 << 30) -> None:
        self.chunk = chunk
        self.count = count
        self.sent = 0
        self.closed = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while self.sent < self.count:
                self.sent += 1
                yield self.chunk
        finally:
            self.closed.set()


async def test_bytes_go_through_in_order(host: Host) -> None:
    source = Source(bytes(range(97, 123)) * 1000, 20)
    async with host.workload("js").instance() as instance:
        stream = await instance.call("upper", source)
        found = b"".join([bytes(chunk) async for chunk in stream])
    assert found == source.chunk.upper() * 20


async def test_a_stream_that_is_dropped_half_way_ends_its_source(host: Host) -> None:
    source = Source(b"abc" * 100)
    assert bytes(await host.call("js", "first", source, 1000)) == (b"abc" * 400)[:1000]
    with anyio.fail_after(10):
        await source.closed.wait()
    assert source.sent < 2000


async def test_a_reader_that_stops_half_way_ends_the_source(host: Host) -> None:
    source = Source(b"abc" * 100)
    async with host.workload("js").instance() as instance:
        stream = await instance.call("upper", source)
        assert bytes(await stream.read()).startswith(b"ABCABC")
        stream.close()
    with anyio.fail_after(10):
        await source.closed.wait()
    assert source.sent < 2000


async def test_a_value_comes_later(host: Host) -> None:
    async def soon() -> int:
        await anyio.sleep(0.01)
        return 41

    async with host.workload("js").instance() as instance:
        assert await (await instance.call("next", soon())) == 42


async def test_an_exception_ends_the_call_and_the_source(host: Host) -> None:
    source = Source(b"abc")
    with pytest.raises(Trap, match="workload 'js'") as trapped:
        await host.call("js", "fails", source)
    assert "at: fails\n" in trapped.value.render()
    with anyio.fail_after(10):
        await source.closed.wait()
    assert bytes(await host.call("js", "first", Source(b"z", 3), 2)) == b"zz"
