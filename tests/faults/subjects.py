"""The backends whose servers are mistreated, each with what is particular to it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from host_plugin_nats import NatsProvider
from host_plugin_redis import RedisProvider
from wasmplex.backends import BackendPool
from wasmplex.capabilities.keyvalue import KeyValueBackend, KeyValueError
from wasmplex.interfaces.keyvalue.policy import GuardedBucket, GuardedStore, KeyValueSettings
from wasmplex.plugin import BackendProvider
from wasmplex.policy import Scope
from wasmplex.testing.servers import NatsServer, RedisServer

from faults.traffic import Refused

PASSWORD = "correct horse"


def refused(operation: str, error: KeyValueError) -> Refused:
    return Refused(error.case, f"{operation}: {error}")


class Subject:
    """One kind of server, and the backend for it."""

    provider: BackendProvider[Any]

    def server(self, **options: Any) -> Any:
        """Return a server that has acknowledged writes on disk."""
        raise NotImplementedError

    def settings(self, server: Any, port: int | None = None) -> dict[str, Any]:
        """Return the settings of a binding, perhaps with a proxy's port in place of the server's."""
        url = server.url.replace(f":{server.port}", f":{port or server.port}")
        return {"url": url}

    @asynccontextmanager
    async def bucket(
        self, base: Path, settings: Mapping[str, Any], deadline: float = 2.0
    ) -> AsyncIterator[GuardedBucket]:
        """Open a bucket in the way of the host: by its pool, behind its policy."""
        async with (
            BackendPool(base) as pool,
            pool.lease(self.provider, self.provider.settings(**settings)) as backend,
        ):
            scope = Scope("faults", "store", "faults")
            assert isinstance(backend, KeyValueBackend)
            store = GuardedStore(backend, KeyValueSettings(timeout=deadline), scope, refused)
            yield await store.open("bucket")


class Redis(Subject):
    provider = RedisProvider()

    def server(self, **options: Any) -> RedisServer:
        return RedisServer(PASSWORD, options)

    def full(self) -> RedisServer:
        return RedisServer(settings={"maxmemory": "4mb", "maxmemory-policy": "noeviction"})

    async def change_password(self, server: RedisServer) -> None:
        await anyio.to_thread.run_sync(server.ask, "CONFIG", "SET", "requirepass", "another")
        server.password = "another"
        await anyio.to_thread.run_sync(server.ask, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")


class Nats(Subject):
    provider = NatsProvider()

    def server(self, **options: Any) -> NatsServer:
        return NatsServer(PASSWORD, **options)

    def full(self) -> NatsServer:
        return NatsServer(jetstream="max_file_store: 4MB")

    async def change_password(self, server: NatsServer) -> None:
        server.password = "another"
        await anyio.to_thread.run_sync(server.restart)


SUBJECTS = {"redis": Redis(), "nats": Nats()}

__all__ = ["SUBJECTS", "Nats", "Redis", "Subject"]
