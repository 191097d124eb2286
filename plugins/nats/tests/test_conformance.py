"""The NATS backend keeps the key-value contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nats
import pytest
from host_plugin_nats import NatsProvider
from host_plugin_nats.subjects import Subjects
from nats.js.errors import KeyNotFoundError
from wasmplex.testing import KeyValueConformance
from wasmplex.testing.keyvalue import ContractDriver, GuestDriver
from wasmplex.testing.loops import everything
from wasmplex.testing.servers import NatsServer


class NatsProbe:
    """Reads and writes the bucket with the client library alone."""

    def __init__(self, server: NatsServer) -> None:
        self._options: dict[str, Any] = {
            "servers": f"nats://{server.address}",
            "user": "wasmplex",
            "password": server.password,
        }

    async def get(self, namespace: str, bucket: str, key: str) -> bytes | None:
        client = await nats.connect(**self._options)
        try:
            store = await client.jetstream().key_value("wasmplex")
            return (await store.get(Subjects("", namespace, bucket).of(key))).value
        except KeyNotFoundError:
            return None
        finally:
            await client.close()

    async def set(self, namespace: str, bucket: str, key: str, value: bytes) -> None:
        client = await nats.connect(**self._options)
        try:
            store = await client.jetstream().key_value("wasmplex")
            await store.put(Subjects("", namespace, bucket).of(key), value)
        finally:
            await client.close()


class TestNats(KeyValueConformance):
    provider = NatsProvider()
    if not everything():  # the other drivers meet the memory backend and SQLite
        drivers = (ContractDriver, GuestDriver)
    examples = 12

    @pytest.fixture
    def settings(self, nats_server: NatsServer) -> Mapping[str, Any]:
        return {"url": nats_server.url}

    @pytest.fixture
    def probe(self, nats_server: NatsServer) -> NatsProbe:
        return NatsProbe(nats_server)
