"""Connecting: TLS, Unix sockets, several hosts, passwords, and what is no PostgreSQL server."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from databases import opened
from host_plugin_postgres import PostgresProvider, PostgresSettings
from host_plugin_postgres.urls import parse
from stuckfiles import PATIENCE, refused_in_time, stuck
from wasmplex.plugin import BackendError, OpenContext, SecretStr, SecretUrl
from wasmplex.testing.servers import PostgresServer, ServerMissing
from wasmplex.testing.servers.certificates import self_signed
from wasmplex.testing.servers.process import free_port

pytestmark = pytest.mark.anyio


AUTHORITY = """
[ca]
default_ca = d
[d]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = p
[p]
commonName = supplied
"""


def expired_certificate(folder: Path, name: str, key: str) -> None:
    """Sign a certificate of another one's key that was good for a day in 2020."""
    (folder / "ca.cnf").write_text(AUTHORITY)
    (folder / "index.txt").touch()
    (folder / "serial").write_text("01")
    request = ["req", "-new", "-key", f"{key}.key", "-subj", "/CN=localhost", "-out", f"{name}.csr"]
    sign = [
        "ca", "-batch", "-config", "ca.cnf", "-selfsign", "-keyfile", f"{key}.key", "-notext",
        "-in", f"{name}.csr", "-out", f"{name}.pem",
        "-startdate", "20200101000000Z", "-enddate", "20200102000000Z",
    ]  # fmt: skip
    for words in (request, sign):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    try:
        self_signed(folder, "good.pem", "good.key", names="DNS:localhost")
        self_signed(folder, "other.pem", "other.key", names="DNS:localhost")
    except ServerMissing as error:
        pytest.skip(str(error))
    expired_certificate(folder, "expired", "good")
    return folder


@pytest.fixture(scope="module")
def tls_server(certificates: Path) -> Iterator[PostgresServer]:
    try:  # the wheel's is built without TLS
        server = PostgresServer(program=PostgresServer.installed(15))
    except ServerMissing as error:
        pytest.skip(str(error))
    for name in ("good.pem", "good.key"):
        target = server.folder / name
        shutil.copy(certificates / name, target)
        target.chmod(0o600)
        if server.account:
            shutil.chown(target, server.account)
    server.settings |= {
        "ssl": "on",
        "ssl_cert_file": str(server.folder / "good.pem"),
        "ssl_key_file": str(server.folder / "good.key"),
    }
    with server:
        yield server


ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


async def test_tls_modes(tls_server: PostgresServer, certificates: Path) -> None:
    url = tls_server.url.replace("127.0.0.1", "localhost")
    for mode, encrypted in (("disable", False), ("prefer", True), ("require", True)):
        async with opened(url, tls=mode) as database:
            assert await database.value(ENCRYPTED) is encrypted
    for mode in ("verify-ca", "verify-full"):
        async with opened(url, base=certificates, tls=mode, ca_file="good.pem") as database:
            assert await database.value(ENCRYPTED) is True
    async with opened(f"{url}?sslmode=verify-full&sslrootcert={certificates}/good.pem") as database:
        assert await database.value(ENCRYPTED) is True
    async with opened(tls_server.url, base=certificates, tls="verify-ca", ca_file="good.pem") as database:
        assert await database.value(ENCRYPTED) is True  # whatever the host is called


@pytest.mark.parametrize(
    ("host", "settings", "told"),
    [
        ("127.0.0.1", {"tls": "verify-full", "ca_file": "good.pem"}, "TLS: IP address mismatch"),
        ("localhost", {"tls": "verify-full", "ca_file": "other.pem"}, "TLS: self-signed certificate"),
        ("localhost", {"tls": "verify-full"}, "TLS: self-signed certificate"),
        ("localhost", {"tls": "verify-full", "ca_file": "missing.pem"}, "no such file"),
    ],
)
async def test_certificates_that_are_not_trusted(
    tls_server: PostgresServer, certificates: Path, host: str, settings: dict[str, str], told: str
) -> None:
    with pytest.raises(BackendError) as caught:
        async with opened(tls_server.url.replace("127.0.0.1", host), base=certificates, **settings):
            pass
    assert told in str(caught.value), str(caught.value)
    assert "p0stgres" not in str(caught.value)


async def test_a_file_of_tls_that_never_gives_anything(tmp_path: Path) -> None:
    given = {"url": "postgresql://127.0.0.1/d", "ca_file": "stuck", "tls": "verify-ca", "timeout": PATIENCE}
    settings = PostgresSettings.model_validate(given)
    with stuck(tmp_path / "stuck") as path:
        await refused_in_time(PostgresProvider().open(settings, OpenContext(tmp_path)), "ca_file", path)


async def test_a_certificate_that_has_expired(tls_server: PostgresServer, certificates: Path) -> None:
    shown, url = tls_server.folder / "good.pem", tls_server.url.replace("127.0.0.1", "localhost")

    async def show(name: str) -> None:
        shown.write_bytes((certificates / f"{name}.pem").read_bytes())
        async with opened(tls_server.url, tls="disable") as database:
            await database.batch("SELECT pg_reload_conf()")

    async with opened(url, base=certificates, tls="verify-full", ca_file="good.pem", pool_size=1) as database:
        await show("expired")
        try:
            for _ in range(2000):
                try:
                    async with opened(url, base=certificates, tls="verify-full", ca_file="expired.pem"):
                        pass
                except BackendError as error:
                    if "certificate has expired" in str(error):
                        break
                await asyncio.sleep(0.01)  # the server has not read its configuration yet
            else:
                raise AssertionError("an expired certificate was trusted")
            assert await database.value("SELECT 1") == 1  # what is connected goes on
        finally:
            await show("good")


async def test_a_server_without_tls(postgres_server: PostgresServer) -> None:
    async with opened(postgres_server.url, tls="prefer") as database:
        assert await database.value(ENCRYPTED) is False
    with pytest.raises(BackendError, match="cannot open the Postgres database"):
        async with opened(postgres_server.url, tls="require"):
            pass


async def test_a_unix_socket(postgres_server: PostgresServer) -> None:
    where = "SELECT inet_server_addr() IS NULL"
    folder, port, password = postgres_server.folder, postgres_server.port, SecretStr(postgres_server.password)
    async with opened(host=str(folder), port=port, user="postgres", password=password) as database:
        assert await database.value(where) is True
    url = f"postgresql://postgres@/postgres?host={folder}&port={port}"
    async with opened(url, password=password) as database:
        assert await database.value(where) is True


async def test_several_hosts(postgres_server: PostgresServer) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    url = postgres_server.url.replace(postgres_server.address, f"{nobody},{postgres_server.address}")
    for attrs in ("any", "primary", "read-write"):
        async with opened(url, target_session_attrs=attrs) as database:
            assert await database.value("SELECT pg_is_in_recovery()") is False
    with pytest.raises(BackendError, match=r"at 127.0.0.1:\d+,127.0.0.1"):
        async with opened(url, target_session_attrs="standby"):
            pass


async def test_what_sessions_begin_with(postgres_server: PostgresServer) -> None:
    async with opened(postgres_server.url) as database:
        await database.batch(
            "DROP ROLE IF EXISTS beginner; CREATE ROLE beginner; CREATE SCHEMA IF NOT EXISTS own"
        )
    for prepared in (True, False):
        settings: dict[str, Any] = {
            "role": "beginner",
            "search_path": "own, public",
            "statement_timeout": 7.0,
            "pool_size": 1,
        }
        async with opened(postgres_server.url, prepared_statements=prepared, **settings) as database:
            for _ in range(2):
                assert await database.value("SELECT current_user::text") == "beginner"
                assert await database.value("SHOW search_path") == "own, public"
                assert await database.value("SHOW statement_timeout") == "7s"
                await database.batch("RESET ROLE; SET search_path = public; SET statement_timeout = 0")
    async with opened(postgres_server.url, application_name="the shop") as database:
        assert await database.value("SHOW application_name") == "the shop"


async def test_why_no_session_begins(postgres_server: PostgresServer) -> None:
    """Each with its cause in words, and what to change."""
    url, nobody = postgres_server.url, f"postgresql://u@127.0.0.1:{free_port()}/d"
    cases: list[tuple[str, dict[str, Any], str, str]] = [
        (url, {"role": "nobody"}, 'role "nobody" does not exist', "check role, "),
        (url, {"target_session_attrs": "standby"}, "no server is what target_session_attrs", "name other"),
        (nobody, {}, "Connection refused", "check that the server runs"),
    ]
    for text, settings, why, fix in cases:
        with pytest.raises(BackendError) as caught:
            async with opened(text, **settings):
                pass
        (diagnostic,) = caught.value.diagnostics
        assert "Errno" not in diagnostic.why
        assert (why in diagnostic.why, diagnostic.fix.startswith(fix)) == (True, True), diagnostic


async def test_a_server_that_says_nothing() -> None:
    left: list[asyncio.Task[None] | None] = []

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left.append(asyncio.current_task())
        await reader.read()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(wait, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BackendError, match="no answer from the server"):
            async with opened(f"postgresql://u@127.0.0.1:{port}/d", tls="disable", timeout=0.2):
                pass
        await asyncio.gather(*filter(None, left))


async def test_without_prepared_statements(postgres_server: PostgresServer) -> None:
    """As behind PgBouncer in transaction mode: a transaction for each operation, nothing prepared."""
    async with opened(postgres_server.url, prepared_statements=False, pool_size=1) as database:
        for _ in range(3):
            assert await database.value("SELECT $1::int + 1", ("int4", 1)) == 2
            assert len(await database.query("SELECT generate_series(1, 500)")) == 500
            assert await database.value("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''") == 0
        await database.batch("CREATE TABLE IF NOT EXISTS bounced (a int)")
        assert await database.execute("INSERT INTO bounced VALUES ($1)", ("int4", 5)) == 1
        assert await database.value("SELECT count(*) FROM bounced") >= 1


async def test_a_password_that_changes(postgres_server: PostgresServer) -> None:
    async with opened(postgres_server.url) as database:
        await database.batch("DROP ROLE IF EXISTS changer; CREATE ROLE changer LOGIN PASSWORD 'old'")
        now = PostgresSettings(
            url=SecretUrl(postgres_server.url), user="changer", password=SecretStr("old"), database="postgres"
        )

        async def reread() -> PostgresSettings:
            return now.model_copy(update={"password": SecretStr("new")})

        context = OpenContext(Path(), "postgres", reread)
        backend = await PostgresProvider().open(now, context)
        try:
            await database.batch("ALTER ROLE changer PASSWORD 'new'")
            rows = [await backend.query("u", "SELECT generate_series(1, 100)", ()) for _ in range(3)]
            for one in rows:
                await one.close()
        finally:
            await backend.close()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"-ERR unknown command\r\n"])
async def test_what_is_no_postgres_server(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BackendError) as caught:
            async with opened(f"postgresql://u:s3cret@127.0.0.1:{port}/d", timeout=2.0):
                pass
    assert "cannot open the Postgres database" in str(caught.value)
    assert "s3cret" not in str(caught.value)


# ---------------------------------------------------------------- URLs


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://h", (("h", 5432),)),
        ("postgres://u:p@h:1/d", (("h", 1),)),
        ("postgresql://[::1]:2/d", (("::1", 2),)),
        ("postgresql://a:1,b:2,c/d", (("a", 1), ("b", 2), ("c", 5432))),
        ("postgresql:///d?host=/run&port=6", (("/run", 6),)),
        ("postgresql://%2Frun%2Fpg/d", (("/run/pg", 5432),)),
        ("postgresql:///d?host=a,b&port=1,2", (("a", 1), ("b", 2))),
        ("postgresql:///d", ()),
    ],
)
def test_where_a_url_leads(url: str, hosts: tuple[tuple[str, int], ...]) -> None:
    assert parse(url).hosts == hosts


def test_the_rest_of_a_url() -> None:
    target = parse("postgresql://u%40x:p%2Fw@h/d%20b?sslmode=verify-full&target_session_attrs=primary")
    assert (target.user, target.password, target.database) == ("u@x", "p/w", "d b")
    assert target.options == {"sslmode": "verify-full", "target_session_attrs": "primary"}
    assert "p/w" not in repr(target)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:sec?ret@h/d",
        "postgresql://u@h/d?se cret=1",
        "postgresql://:x/",
        "postgresql:///d?password=x&ret",
    ],
)
def test_a_url_that_is_none_is_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|port|host") as caught:
        parse(url)
    assert "ret" not in str(caught.value).replace("require", "")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://u@h/db?sslmod=require", 'unknown key "sslmod"; did you mean "sslmode"'),
        ("postgresql://u@h/db?pool_size=3", "write it as a key of the binding"),
        ("postgresql://u@h/db?sslmode=verify", "sslmode in the URL is none of disable"),
        ("mysql://u@h/db", "must start with postgresql://"),
        ("postgresql://u@h:99999/db", "a port is not a number"),
        ("postgresql:///db?host=a,b&port=1,2,3", "one port for each host"),
    ],
)
def test_a_url_that_is_wrong(url: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse(url)
