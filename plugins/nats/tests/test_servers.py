"""Kinds of servers and ways to reach them: older ones, domains, tokens, TLS, rights, others' streams."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import nats
import pytest
from host_plugin_nats import NatsProvider
from host_plugin_nats.store import GRACE, MARKER_TTL, NatsBackend, NatsBucket
from host_plugin_nats.subjects import Subjects
from nats.js.api import KeyValueConfig
from pydantic import ValidationError
from wasmplex.capabilities.keyvalue import AccessDenied, Change, QuotaExceeded, StoreUnavailable, Swapped
from wasmplex.plugin import BackendError, OpenContext
from wasmplex.testing import FakeClock
from wasmplex.testing.servers import NatsServer, ServerMissing
from wasmplex.testing.servers.certificates import self_signed
from wasmplex.testing.servers.process import free_port

pytestmark = pytest.mark.anyio

PROVIDER = NatsProvider()


@asynccontextmanager
async def opened(base: Path, **settings: Any) -> AsyncIterator[NatsBackend]:
    backend = await PROVIDER.open(PROVIDER.settings(**settings), OpenContext(base, "nats"))
    try:
        yield backend
    finally:
        await backend.close()


async def works(backend: NatsBackend) -> None:
    bucket = await backend.open_bucket("app/store", "b")
    await bucket.set("k", b"v")
    assert await bucket.get("k") == b"v"
    entry = await bucket.current("k")
    assert entry is not None
    assert await bucket.swap("k", b"w", require_version=entry.version) == Swapped()
    await bucket.set_many([("x", b"1"), ("y", b"2")])
    assert await bucket.get_many(["x", "k", "none", "x"]) == [b"1", b"w", None, b"1"]
    assert sorted((await bucket.list_keys("", None, 10)).keys) == ["k", "x", "y"]
    assert await bucket.increment("n", 3) == 3
    await bucket.delete_many(["k", "x", "y", "n"])
    assert not (await bucket.list_keys("", None, 10)).keys
    assert not await backend.has_bucket("app/store", "b")
    await backend.probe()


# ---------------------------------------------------------------- what the server can do


async def test_a_server_that_does_not_expire_messages(nats_server: NatsServer, tmp_path: Path) -> None:
    """A stream that was made without TTLs, and may not be changed, is what servers before 2.11 have."""
    name = f"theirs-{uuid4()}"
    client = await nats.connect(nats_server.address, user="wasmplex", password=nats_server.password)
    await client.jetstream().create_key_value(bucket=name, direct=True)
    await client.close()
    async with opened(tmp_path, url=nats_server.url, bucket=name) as backend:
        backend.stream.cleans = False
        clock = FakeClock()
        backend.clock = clock
        await works(backend)
        bucket = await backend.open_bucket("n", "b")
        await bucket.set("short", b"v", ttl_ms=1500)
        await bucket.set("stays", b"v")
        await bucket.set("gone", b"v")
        await bucket.delete("gone")
        clock.advance(1499)
        assert await bucket.get("short") == b"v"
        clock.advance(1)
        assert await bucket.get("short") is None
        assert await backend.clean() == 0  # hosts whose clocks are late may still have it
        clock.advance(GRACE * 1000)
        assert await backend.clean() == 1
        clock.advance(MARKER_TTL * 1000)
        assert await backend.clean() > 0  # the marks of deletions
        assert (await bucket.list_keys("", None, 10)).keys == ["stays"]
        last = await backend.stream.ask(f"STREAM.INFO.{backend.stream.name}")
        assert last.the("state").number("messages") == 1


@pytest.mark.skipif("WASMPLEX_OLD_NATS" not in os.environ, reason="WASMPLEX_OLD_NATS names no older server")
async def test_an_older_server(tmp_path: Path) -> None:
    server = NatsServer("pw")
    server._program = Path(os.environ["WASMPLEX_OLD_NATS"])
    with server:
        async with opened(tmp_path, url=server.url) as backend:
            assert not backend.stream.cleans
            await works(backend)


async def test_the_server_removes_what_has_expired(nats_server: NatsServer, tmp_path: Path) -> None:
    async with opened(tmp_path, url=nats_server.url) as backend:
        assert backend.stream.cleans
        bucket = await backend.open_bucket("ttl", "b")
        await bucket.set("k", b"v", ttl_ms=1500)
        subject = Subjects(backend.stream.prefix, "ttl", "b").of("k")
        raw = await backend.stream.ask(f"STREAM.MSG.GET.{backend.stream.name}", {"last_by_subj": subject})
        headers = raw.the("message").data("hdrs")
        assert b"Nats-TTL: %ds" % (1 + 1 + GRACE) in headers


async def test_a_bucket_that_others_made(nats_server: NatsServer, tmp_path: Path) -> None:
    name = f"theirs-{uuid4()}"
    client = await nats.connect(nats_server.address, user="wasmplex", password=nats_server.password)
    await client.jetstream().create_key_value(KeyValueConfig(bucket=name, history=5))
    await client.close()
    async with opened(tmp_path, url=nats_server.url, bucket=name) as backend:
        await works(backend)
    with pytest.raises(BackendError, match="does not exist"):
        async with opened(tmp_path, url=nats_server.url, bucket="none", create=False):
            pass


async def test_headers_that_others_give(nats_server: NatsServer, tmp_path: Path) -> None:
    """No header makes an entry, or those beside it, disappear or unreadable."""
    odd: dict[str, dict[str, str]] = {
        "status": {"Status": "404"}, "word": {"Wasmplex-Expires": "soon"},
        "digits": {"Wasmplex-Expires": "9" * 5000}, "later": {"Status": "503", "Wasmplex-Expires": "9" * 13},
    }  # fmt: skip
    async with opened(tmp_path, url=nats_server.url) as backend:
        bucket = await backend.open_bucket("odd", "b")
        assert isinstance(bucket, NatsBucket)
        async with bucket.watch() as changes:
            for key, headers in odd.items():
                await backend.link.request(bucket._subjects.of(key), b"", headers)
            with anyio.fail_after(20):
                assert [await anext(changes) for _ in odd] == [Change(key, b"") for key in odd]
        await bucket.set("last", b"1")
        names = [*odd, "last"]
        assert [await bucket.get(name) for name in names] == [b"", b"", b"", b"", b"1"]
        assert await bucket.get_many(names) == [b"", b"", b"", b"", b"1"]
        assert sorted((await bucket.list_keys("", None, 10)).keys) == sorted(names)


async def test_values_near_the_servers_limit(nats_server: NatsServer, tmp_path: Path) -> None:
    async with opened(tmp_path, url=nats_server.url) as backend:
        bucket = await backend.open_bucket("limits", "b")
        limit = backend.link.max_payload
        await bucket.set("k", b"x" * limit)
        assert await bucket.get("k") == b"x" * limit
        for operation in (
            bucket.set("k", b"x" * (limit + 1)),
            bucket.set("k", b"y" * limit, ttl_ms=1000),
            bucket.swap("k", b"y" * limit, require_value=b"x" * limit),
            bucket.set_many([("a", b"1"), ("k", b"y" * (limit + 1)), ("b", b"2")]),
        ):
            with pytest.raises(QuotaExceeded, match=f"at most {limit} bytes"):
                await operation
        assert await bucket.get_many(["a", "b"]) == [b"1", b"2"]
        many = [(f"big {number}", bytes([number]) * 700_000) for number in range(40)]
        await bucket.set_many(many)
        assert await bucket.get_many([key for key, _ in many]) == [value for _, value in many]


async def test_reading_from_the_leader(nats_server: NatsServer, tmp_path: Path) -> None:
    async with opened(tmp_path, url=nats_server.url) as backend:
        backend.stream._direct = False  # as it is with replicas
        await works(backend)
        bucket = await backend.open_bucket("leader", "b")
        await bucket.set("k", b"\0" * 1000, ttl_ms=60_000)
        assert await bucket.get("k") == b"\0" * 1000


# ---------------------------------------------------------------- ways in


async def test_a_domain(tmp_path: Path) -> None:
    with NatsServer(jetstream="domain: hub") as server:
        async with opened(tmp_path, url=server.url, domain="hub") as backend:
            await works(backend)
        with pytest.raises(BackendError, match="JetStream"):
            async with opened(tmp_path, url=server.url, domain="elsewhere", timeout=1):
                pass


async def test_more_copies_than_servers(nats_server: NatsServer, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="replicas = 1"):
        async with opened(tmp_path, url=nats_server.url, bucket="copies", replicas=3):
            pass


async def test_tokens(tmp_path: Path) -> None:
    with NatsServer(token="t0ken") as server:
        async with opened(tmp_path, url=server.url) as backend:
            await works(backend)
            assert "t0ken" not in repr(backend)
        async with opened(tmp_path, url=f"nats://{server.address}", token="t0ken") as backend:
            await works(backend)
        with pytest.raises(BackendError, match="refuses the credentials") as caught:
            async with opened(tmp_path, url=f"nats://wr0ng@{server.address}"):
                pass
        assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize("url", ["ws://127.0.0.1:8080", "wss://h:443", "nats://a:4222, WS://b"])
def test_web_sockets_are_refused(url: str) -> None:
    """What comes by one is not slowed down by a host that is full: all of it was held."""
    with pytest.raises(ValidationError, match=r'web sockets are not supported.*"nats://.*"tls://'):
        NatsProvider.settings.model_validate({"url": url})


@pytest.mark.parametrize("scheme", ["nats", "tls"])
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


async def test_no_jetstream(tmp_path: Path) -> None:
    server = NatsServer()
    server.is_ready = lambda: server.log().find("Server is ready") >= 0  # type: ignore[method-assign]
    write = server.command

    def command() -> Any:
        found = write()
        file = server.folder / "nats.conf"
        file.write_text(f'listen: "{server.address}"')
        return found

    server.command = command  # type: ignore[method-assign]
    with server, pytest.raises(BackendError, match=r"no JetStream[^\n]*\n  try: start it with -js"):
        async with opened(tmp_path, url=server.url):
            pass


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    try:
        self_signed(folder)
    except ServerMissing as error:
        pytest.skip(str(error))
    return folder


def tls_server(certificates: Path, config: str = "") -> NatsServer:
    files = f'cert_file: "{certificates}/cert.pem", key_file: "{certificates}/key.pem"'
    return NatsServer(config=f"tls {{ {files} }}\n{config}")


async def test_tls(certificates: Path) -> None:
    with tls_server(certificates) as server:
        url = f"tls://{server.address}"
        async with opened(certificates, url=url, tls_ca_file="cert.pem") as backend:
            await works(backend)
        async with opened(certificates, url=url, tls_verify=False) as backend:
            await works(backend)
        with pytest.raises(BackendError, match="certificate"):
            async with opened(certificates, url=url):
                pass
    with NatsServer() as server, pytest.raises(BackendError, match="no TLS"):
        async with opened(certificates, url=server.url, tls_ca_file="cert.pem"):
            pass


def test_a_key_without_its_certificate() -> None:
    with pytest.raises(ValueError, match="tls_key_file is the key of tls_cert_file"):
        PROVIDER.settings(tls_key_file=Path("key.pem"))


async def test_a_file_of_tls_that_cannot_be_used(tmp_path: Path, certificates: Path) -> None:
    cert, key = certificates / "cert.pem", certificates / "key.pem"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"tls_ca_file": "none.pem"}, "tls_ca_file"),
        ({"tls_cert_file": cert, "tls_key_file": "none.key"}, "tls_key_file"),
        ({"tls_cert_file": key, "tls_key_file": key}, "tls_cert_file"),
    ]
    for files, which in cases:
        with pytest.raises(BackendError, match=f"{which} of the NATS connection cannot be used"):
            async with opened(tmp_path, **files):
                pass


async def test_a_server_that_allows_tls_and_does_not_require_it(certificates: Path) -> None:
    seen: list[bytes] = []
    relays: list[asyncio.Task[None] | None] = []

    async def relay(near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        far, to_far = await asyncio.open_connection("127.0.0.1", server.port)

        async def up() -> None:
            while data := await near.read(65536):
                seen.append(data)
                to_far.write(data)
            to_far.close()

        async def down() -> None:
            while data := await far.read(65536):
                to_near.write(data)
            to_near.close()

        relays.append(asyncio.current_task())
        await asyncio.gather(up(), down())

    with tls_server(certificates, "allow_non_tls: true") as server:
        async with await asyncio.start_server(relay, "127.0.0.1", 0) as front:
            port = front.sockets[0].getsockname()[1]
            async with opened(certificates, url=f"tls://127.0.0.1:{port}", tls_ca_file="cert.pem") as backend:
                await works(backend)
            assert seen[0].startswith(b"\x16\x03")  # a handshake of TLS, and nothing before it
            assert b"CONNECT" not in b"".join(seen)
            seen.clear()
            async with opened(certificates, url=f"nats://127.0.0.1:{port}") as backend:
                await works(backend)
            assert seen[0].startswith(b"CONNECT")
            await asyncio.gather(*filter(None, relays), return_exceptions=True)


async def test_nothing_is_sent_in_the_clear_to_a_server_without_tls(tmp_path: Path) -> None:
    """The library goes on without TLS where the server, or who stands before it, does not ask for it."""
    seen = asyncio.Queue[bytes]()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.11.0","max_payload":1048576}\r\n')
        await seen.put(await reader.read())
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BackendError, match="no TLS"):
            async with opened(tmp_path, url=f"tls://app:pw@127.0.0.1:{port}"):
                pass
        with anyio.fail_after(10):
            assert await seen.get() == b""


async def test_a_user_with_few_rights(tmp_path: Path) -> None:
    users = """
    authorization { users: [
      { user: admin, password: pw }
      { user: guest, password: pw, permissions: {
          publish: { deny: ["$KV.wasmplex.read-only.>", "$JS.API.CONSUMER.>"] } } }
    ] }"""
    with NatsServer(config=users) as server:
        async with opened(tmp_path, url=f"nats://guest:pw@{server.address}") as backend:
            theirs = await backend.open_bucket("read-only", "b")
            mine = await backend.open_bucket("mine", "b")
            assert await theirs.get("k") is None
            await mine.set("k", b"v")
            for operation in (
                theirs.set("k", b"v"),
                theirs.set_many([("k", b"v")]),
                mine.list_keys("", None, 9),
            ):
                with pytest.raises(AccessDenied), anyio.fail_after(5):
                    await operation
            assert await mine.get("k") == b"v"


async def test_without_a_server_the_store_is_unavailable_whatever_is_asked(tmp_path: Path) -> None:
    """What has headers was said to be too large for a server that takes 0 bytes."""
    with NatsServer() as server:
        async with opened(tmp_path, url=server.url) as backend:
            bucket = await backend.open_bucket("away", "b")
            server.kill()
            with anyio.fail_after(20):
                with suppress(StoreUnavailable):
                    while True:
                        await bucket.get("k")
            for operation in (
                bucket.set("k", b"1", ttl_ms=5000),
                bucket.set("k", b"1", if_not_exists=True),
                bucket.delete("k"),
                bucket.increment("n", 1),
                bucket.set_many([("k", b"1")]),
            ):
                with pytest.raises(StoreUnavailable), anyio.fail_after(20):
                    await operation


# ---------------------------------------------------------------- watching


async def test_watching(nats_server: NatsServer, tmp_path: Path) -> None:
    async with opened(tmp_path, url=nats_server.url) as backend:
        bucket = await backend.open_bucket("watched", "b")
        other = await backend.open_bucket("watched too", "b")
        await bucket.set("before", b"")
        async with bucket.watch() as changes:
            await other.set("k", b"not seen")
            with anyio.fail_after(10):
                await bucket.set("k*>", b"1")
                assert await anext(changes) == ("k*>", b"1")
                await bucket.delete("k*>")
                assert await anext(changes) == ("k*>", None)


async def test_watching_goes_on_where_it_was_when_the_server_went_away(tmp_path: Path) -> None:
    with NatsServer() as server:
        async with opened(tmp_path, url=server.url) as backend:
            bucket = await backend.open_bucket("watched", "b")
            async with bucket.watch() as changes:
                await bucket.set("a", b"1")
                with anyio.fail_after(20):
                    assert await anext(changes) == ("a", b"1")
                    await anyio.to_thread.run_sync(server.restart)
                    while True:
                        try:
                            await bucket.set("b", b"2")
                            break
                        except StoreUnavailable:
                            await anyio.sleep(0.02)
                    await bucket.delete("a")
                    assert await anext(changes) == ("b", b"2")
                    assert await anext(changes) == ("a", None)
