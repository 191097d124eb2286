"""Postgres through `wasmplex run` and `invoke` as users type them: two labels, two databases, two users."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import asyncpg
import guests
import pytest
from serving import COMMAND, serving
from wasmplex.testing.servers import PostgresServer

TEAMS = ("a", "b")
HTTP = """
[http]
listen = "127.0.0.1:0"

[workload.orders]
component = "{component}"
trigger.http = {{ path = "/" }}
import.team-a = {{ backend = "postgres", url = {{ env = "TEAM_A" }} }}
import.team-b = {{ backend = "postgres", host = "127.0.0.1", port = {port}, user = "team_b", \
database = "team_b", password = {{ env = "TEAM_B" }}, max_rows = 5 }}
"""
COUNT = """
[workload.count]
component = "{component}"
limits.timeout = "60s"
default."wasmcloud:postgres" = {{ backend = "postgres", url = {{ env = "TEAM_A" }} }}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        asyncio.run(populate(server.url))
        yield server


async def populate(url: str) -> None:
    connection = await asyncpg.connect(url)
    for team in TEAMS:
        await connection.execute(f"CREATE ROLE team_{team} LOGIN PASSWORD 'pw-{team}'")
        await connection.execute(f"CREATE DATABASE team_{team} OWNER team_{team}")
        await connection.execute(f"REVOKE CONNECT ON DATABASE team_{team} FROM PUBLIC")
    await connection.close()


def url_of(server: PostgresServer, team: str) -> str:
    return f"postgresql://team_{team}:pw-{team}@{server.address}/team_{team}"


Ask = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def ask(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Return what asks a label: ``ask("team-a", sql="SELECT 1")``."""
    config = tmp_path_factory.mktemp("host") / "host.toml"
    config.write_text(HTTP.format(component=guests.path("pghttp"), port=server.port))
    with serving(config, TEAM_A=url_of(server, "a"), TEAM_B="pw-b") as url:

        def ask(label: str, **words: str) -> tuple[int, str]:
            try:
                with urlopen(f"{url.rstrip('/')}/{label}?{urlencode(words)}", timeout=30) as response:
                    return response.status, response.read().decode()
            except HTTPError as error:
                with error:
                    return error.code, error.read().decode()

        yield ask


def test_two_labels_are_two_databases_with_two_users(ask: Ask) -> None:
    for team, count in (("a", 4), ("b", 2)):
        script = (
            "CREATE TABLE orders (id int, owner text DEFAULT current_user, price numeric);"
            f"INSERT INTO orders SELECT g, current_user, g * 1.10 FROM generate_series(1, {count}) AS g"
        )
        assert ask(f"team-{team}", batch=script) == (200, "ok\n")
    wanted = "1,team_a,1.10\n2,team_a,2.20\n3,team_a,3.30\n4,team_a,4.40\n"
    assert ask("team-a", sql="SELECT * FROM orders ORDER BY id") == (200, wanted)
    where = "SELECT count(*), current_database()::text, current_setting('application_name') FROM orders"
    assert ask("team-b", sql=where) == (200, "2,team_b,orders/team-b\n")


def test_errors_are_the_guests(ask: Ask) -> None:
    assert ask("team-a", sql="SELECT 1/0") == (400, "error 1 22012: division by zero\n")
    assert ask("team-a", sql="COPY orders FROM STDIN")[1].startswith("error 1 query: COPY is not available")
    assert ask("team-a", sql="SELECT * FROM generate_series(1, 10000)")[0] == 200
    status, text = ask("team-b", sql="SELECT * FROM generate_series(1, 10000)")
    assert status == 400
    assert text == "error 2 over a limit: query: the query returns more than 5 rows, the limit of max_rows\n"


def test_many_requests_share_a_pool(ask: Ask) -> None:
    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(lambda n: ask("team-a", sql=f"SELECT {n}"), range(200)))
    assert answers == [(200, f"{n}\n") for n in range(200)]
    count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'team_a'"
    assert int(ask("team-a", sql=count)[1]) <= 10


# ---------------------------------------------------------------- 0.2.0, whose rows stream


@pytest.mark.parametrize(
    ("sql", "most", "answer"),
    [
        ("SELECT generate_series(1, 20000)", 10**9, "20000"),
        ("SELECT generate_series(1, 100000000)", 10, "10"),  # it does not go on
        (
            "SELECT 1 / (g - 100) FROM generate_series(1, 1000) AS g",
            10**9,
            "2003",
        ),  # the future: query-failed
    ],
)
def test_rows_that_stream(server: PostgresServer, tmp_path: Path, sql: str, most: int, answer: str) -> None:
    config = tmp_path / "host.toml"
    config.write_text(COUNT.format(component=guests.path("pgcount")))
    command: list[str | Path] = [COMMAND, "invoke", config, "count", "count", f'"{sql}"', str(most)]
    environment = {"TEAM_A": url_of(server, "a"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stdout) == (0, f"{answer}\n"), done.stderr


# ---------------------------------------------------------------- what cannot be opened


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ('url = "postgresql://u@h/db?sslmod=require"', 'unknown key "sslmod"; did you mean "sslmode"?'),
        ("pool_size = 3", "names no server"),
    ],
)
def test_a_setting_that_is_wrong(tmp_path: Path, settings: str, told: str) -> None:
    config = tmp_path / "host.toml"
    config.write_text(
        f'[workload.count]\ncomponent = "{guests.path("pgcount")}"\n'
        f'[workload.count.default."wasmcloud:postgres"]\nbackend = "postgres"\n{settings}\n'
    )
    done = subprocess.run([COMMAND, "check", config], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 2
    assert told in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("database", "told"),
    [
        ("nowhere", "the server has no database of this name"),
        ("team_a?sslmode=require", "wants TLS"),
        ("wr0ng-pw", "password authentication failed"),
    ],
)
def test_a_database_that_cannot_be_opened(
    server: PostgresServer, tmp_path: Path, database: str, told: str
) -> None:
    config = tmp_path / "host.toml"
    config.write_text(COUNT.format(component=guests.path("pgcount")))
    command: list[str | Path] = [COMMAND, "invoke", config, "count", "count", '"SELECT 1"', "1"]
    url = url_of(server, "a").removesuffix("team_a") + database
    if database.startswith("wr0ng"):
        url = url_of(server, "a").replace("pw-a", database)
    environment = {"TEAM_A": url, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode != 0
    assert "cannot open the Postgres database at 127.0.0.1" in done.stderr
    assert told in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert "wr0ng-pw" not in done.stderr
