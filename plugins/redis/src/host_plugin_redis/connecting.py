"""Connecting: one client object for a server, a Sentinel-watched primary or a cluster, and what it can do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anyio
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.backoff import NoBackoff
from wasmplex.plugin import BackendError

from host_plugin_redis import RedisSettings
from host_plugin_redis.failures import DRIVER_ERRORS, opening_failed
from host_plugin_redis.store import RedisBackend
from host_plugin_redis.urls import Target, parse

__all__ = ["Client", "connect"]

Client = Redis | RedisCluster

_OLDEST = (6, 2)


async def connect(settings: RedisSettings, base: Path, features: frozenset[str]) -> RedisBackend:
    """Open a store; everything is closed again if that fails."""
    target = parse(settings.url.get_secret_value())
    client: Any = None
    try:
        client = _client(settings, target, base)
        with anyio.fail_after(settings.timeout):
            await client.initialize()
            await _check_version(client, target)
            watch = target.kind != "cluster" and await _notifies(client)
    except BaseException as error:
        if client is not None:
            with anyio.CancelScope(shield=True):
                await client.aclose()
        if isinstance(error, DRIVER_ERRORS):
            raise opening_failed(error, target) from error
        raise
    lacking = {"cas"} if settings.layout == "plain" else set[str]()
    if not watch:
        lacking.add("watch")
    return RedisBackend(client, target, settings, features - lacking)


def _client(settings: RedisSettings, target: Target, base: Path) -> Client:
    options = _options(settings, target)
    tls = _tls(settings, base) if target.tls else {}
    if target.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in target.hosts]
        return RedisCluster(
            startup_nodes=nodes,
            max_connections=settings.max_connections,
            cluster_error_retry_attempts=0,
            ssl=target.tls,
            **options,
            **tls,
        )
    pool_options = {"max_connections": settings.max_connections, "db": target.db, **options, **tls}
    if target.kind == "sentinel":
        return Redis.from_pool(_sentinel_pool(settings, target, pool_options))
    if target.socket:
        pool_options |= {"connection_class": UnixDomainSocketConnection, "path": target.socket}
        del pool_options["socket_keepalive"]
    else:
        host, port = target.hosts[0]
        kind = SSLConnection if target.tls else Connection
        pool_options |= {"connection_class": kind, "host": host, "port": port}
    # No timeout for a free connection: the operation's own deadline ends the wait.
    return Redis.from_pool(BlockingConnectionPool(timeout=None, **pool_options))


def _sentinel_pool(settings: RedisSettings, target: Target, options: dict[str, Any]) -> _SentinelPool:
    limits = {"socket_connect_timeout": settings.timeout, "socket_timeout": settings.timeout}
    sentinels = Sentinel(target.hosts, **limits)  # type: ignore[no-untyped-call]
    kind = SentinelManagedSSLConnection if target.tls else SentinelManagedConnection
    return _SentinelPool(target.service, sentinels, connection_class=kind, **options)  # type: ignore[no-untyped-call]


class _SentinelPool(SentinelConnectionPool):
    """Closes the connections to the Sentinels too, which the driver leaves open."""

    async def aclose(self) -> None:
        await super().aclose()
        for sentinel in self.sentinel_manager.sentinels:
            await sentinel.aclose()


def _options(settings: RedisSettings, target: Target) -> dict[str, Any]:
    password = settings.password.get_secret_value() if settings.password else target.password
    return {
        "username": settings.username or target.username,
        "password": password,
        "protocol": 2,
        "socket_timeout": None,  # an operation's deadline is the host's, and cancels it
        "socket_connect_timeout": settings.timeout,
        "socket_keepalive": True,
        # An increment whose answer was lost may have happened: nothing is done twice behind the guest's back.
        "retry": Retry(NoBackoff(), 0),
    }


def _tls(settings: RedisSettings, base: Path) -> dict[str, Any]:
    files = {
        "ssl_ca_certs": settings.tls_ca_file,
        "ssl_certfile": settings.tls_cert_file,
        "ssl_keyfile": settings.tls_key_file,
    }
    verify = "required" if settings.tls_verify else "none"
    found = {name: str(base / file) for name, file in files.items() if file is not None}
    return {"ssl_cert_reqs": verify, "ssl_check_hostname": settings.tls_verify, **found}


async def _check_version(client: Any, target: Target) -> None:
    options = {"target_nodes": client.get_random_node()} if isinstance(client, RedisCluster) else {}
    info = await client.execute_command("INFO", "server", **options)
    text = str(info)
    found = re.search(r"redis_version\W+(\d+)\.(\d+)", text)
    if found and (int(found[1]), int(found[2])) < _OLDEST:
        raise BackendError(
            f"the Redis server at {target} is version {found[1]}.{found[2]}",
            why="this plugin needs 6.2 or newer",
            fix="upgrade the server, or use Valkey",
        )


async def _notifies(client: Any) -> bool:
    """Return whether the server tells of all changes to keys. Where CONFIG is forbidden, say no."""
    try:
        answer = await client.execute_command("CONFIG", "GET", "notify-keyspace-events")
    except DRIVER_ERRORS:
        return False
    flags = answer.get("notify-keyspace-events", "") if isinstance(answer, dict) else str(answer[-1])
    return "K" in flags and ("A" in flags or all(flag in flags for flag in "g$x"))
