"""One component, three labels of one interface, three backends: memory, Redis and NATS, on real servers."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import guests
import pytest
from redis import Redis
from wasmplex.host import Host
from wasmplex.testing.servers import NatsServer, RedisServer

pytestmark = pytest.mark.anyio

WORKLOAD = """
[workload.{name}]
component = "{component}"

[workload.{name}.import.fast]
backend = "memory"

[workload.{name}.import.shared]
backend = "redis"
url = {{ env = "REDIS_URL" }}

[workload.{name}.import.durable]
backend = "nats"
url = {{ env = "NATS_URL" }}
"""
LABELS = ("fast", "shared", "durable")


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, str]]:
    with RedisServer("r3d1s") as redis, NatsServer("n4ts") as nats:
        yield {"REDIS_URL": redis.url, "NATS_URL": nats.url}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    component = guests.path("kvthree")
    names = ("one", "two")
    path = tmp_path / "host.toml"
    path.write_text("".join(WORKLOAD.format(name=name, component=component) for name in names))
    return path


async def test_each_label_goes_to_its_backend(config: Path, servers: dict[str, str]) -> None:
    async with Host.from_config(config, environ=servers) as host:
        for label in LABELS:
            assert await host.call("one", "run", f"{label} orders set k value of {label}") == "ok"
        for label in LABELS:
            assert await host.call("one", "run", f"{label} orders get k") == f"some value of {label}"
        assert await host.call("one", "run", "shared orders gets k 100") == "some value of shared"
        assert await host.call("one", "run", "durable orders sets k 100") == "some value of durable"
        with Redis.from_url(servers["REDIS_URL"]) as client:
            assert client.keys("*:k") == [b"one/shared:orders:k"]
            assert client.get("one/shared:orders:k") == b"value of shared"


async def test_one_bucket_name_in_two_workloads_is_two_buckets(config: Path, servers: dict[str, str]) -> None:
    bucket = f"orders-{uuid4()}"  # the servers are there before and after, and keep what is stored
    async with Host.from_config(config, environ=servers) as host:
        for label in LABELS:
            assert await host.call("two", "run", f"{label} {bucket} get mine") == "none"
            assert await host.call("one", "run", f"{label} {bucket} set mine 1") == "ok"
            assert await host.call("two", "run", f"{label} {bucket} get mine") == "none"
            assert await host.call("two", "run", f"{label} {bucket} set mine 2") == "ok"
            assert await host.call("one", "run", f"{label} {bucket} get mine") == "some 1"
        statistics = host.statistics()
        assert statistics is not None
        # Two workloads that ask for the same thing share one connection to it.
        assert {name: found.open for name, found in statistics.providers.items()} == {
            "memory": 1, "nats": 1, "redis": 1
        }  # fmt: skip


async def test_a_restart_keeps_what_the_servers_keep(config: Path, servers: dict[str, str]) -> None:
    async with Host.from_config(config, environ=servers) as host:
        for label in LABELS:
            assert await host.call("one", "run", f"{label} orders set kept 1") == "ok"
    async with Host.from_config(config, environ=servers) as host:
        found = [await host.call("one", "run", f"{label} orders get kept") for label in LABELS]
    assert found == ["none", "some 1", "some 1"]
