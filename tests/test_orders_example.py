"""The example `orders`: a guest in Python, two labels, two databases, a report that streams."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import asyncpg
import pytest
from guests.toolchain import locked
from serving import running
from wasmplex.testing.servers import PostgresServer

EXAMPLE = Path(__file__).parents[1] / "examples" / "orders"
COMPONENT = EXAMPLE / ".build" / "orders.wasm"

pytestmark = pytest.mark.skipif(
    os.environ.get("WASMPLEX_TEST_LOOPS") != "all",
    reason="building and compiling a guest in Python takes half a minute: make test-all does",
)


async def populate(url: str) -> None:
    connection = await asyncpg.connect(url)
    for team in ("a", "b"):
        await connection.execute(f"CREATE ROLE team_{team} LOGIN PASSWORD 'pw'")
        await connection.execute(f"CREATE DATABASE team_{team} OWNER team_{team}")
    await connection.close()


async def fill(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(
        "INSERT INTO orders (customer, price) SELECT g, g FROM generate_series(1, 5000) AS g"
    )
    await connection.close()


def ask(url: str, data: bytes | None = None) -> tuple[int, str]:
    try:
        with urlopen(Request(url, data), timeout=30) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_example(tmp_path: Path) -> None:
    with locked("orders"):
        subprocess.run([sys.executable, EXAMPLE / "build.py"], check=True, timeout=200)
    config = tmp_path / "host.toml"
    text = (EXAMPLE / "host.toml").read_text()
    config.write_text(
        text.replace("127.0.0.1:8080", "127.0.0.1:0").replace(".build/orders.wasm", str(COMPONENT))
    )
    with PostgresServer() as server:
        asyncio.run(populate(server.url))
        urls = {
            f"TEAM_{team.upper()}_URL": f"postgresql://team_{team}:pw@{server.address}/team_{team}"
            for team in "ab"
        }
        with running(config, **urls) as host:
            url = host.url.rstrip("/")
            assert ask(f"{url}/team-a/orders?customer=O%27Hara%2C+%22x%22&price=12.50", b"") == (201, "1\n")
            assert ask(f"{url}/team-b/orders?customer=Bee&price=3", b"") == (201, "1\n")
            assert ask(f"{url}/team-a/orders?customer=Bob&price=-1", b"")[0] == 400
            assert ask(f"{url}/team-a/orders?customer=Bob&price=x", b"")[0] == 400
            assert ask(f"{url}/team-b/orders/1")[1].startswith("1,Bee,3.00,")
            assert ask(f"{url}/team-a/orders/1")[1].startswith('1,"O\'Hara, ""x""",12.50,')
            asyncio.run(fill(urls["TEAM_A_URL"]))
            status, report = ask(f"{url}/team-a/report.csv")
            assert (status, len(report.splitlines())) == (200, 5002)
