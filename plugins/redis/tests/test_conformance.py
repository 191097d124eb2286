"""The Redis backend keeps the key-value contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from host_plugin_redis import RedisProvider
from host_plugin_redis.layout import Places
from redis.asyncio import Redis
from wasmplex.testing import KeyValueConformance
from wasmplex.testing.keyvalue import ContractDriver, GuestDriver
from wasmplex.testing.loops import everything
from wasmplex.testing.servers import RedisServer


class RedisProbe:
    """Reads and writes the server with the client library alone."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def get(self, namespace: str, bucket: str, key: str) -> bytes | None:
        async with Redis.from_url(self._url) as client:
            value = await client.get(Places(namespace, bucket, plain=False).value(key))
        assert not isinstance(value, str)
        return value

    async def set(self, namespace: str, bucket: str, key: str, value: bytes) -> None:
        async with Redis.from_url(self._url) as client:
            await client.set(Places(namespace, bucket, plain=False).value(key), value)


class TestRedis(KeyValueConformance):
    provider = RedisProvider()
    if not everything():  # the other drivers meet the memory backend and SQLite
        drivers = (ContractDriver, GuestDriver)
    examples = 10 if everything() else 4  # expiry by the server's clock has to be waited for

    @pytest.fixture
    def settings(self, redis_server: RedisServer) -> Mapping[str, Any]:
        return {"url": redis_server.url}

    @pytest.fixture
    def probe(self, redis_server: RedisServer) -> RedisProbe:
        return RedisProbe(redis_server.url)
