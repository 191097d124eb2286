"""Connecting: to a server, a Sentinel-watched primary or a cluster, and finding out what it can do."""

from __future__ import annotations

import re
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from wasmplex.plugin import BackendError, OpenContext, client_tls

from host_plugin_redis import RedisSettings
from host_plugin_redis.failures import DRIVER_ERRORS, opening_failed
from host_plugin_redis.store import Client, RedisBackend
from host_plugin_redis.urls import Target, parse
from host_plugin_redis.wires import Address, Dial, Wires

__all__ = ["connect"]

_OLDEST = (6, 2)


async def connect(settings: RedisSettings, context: OpenContext, features: frozenset[str]) -> RedisBackend:
    """Open a store; everything is closed again if that fails."""
    target = parse(settings.url.get_secret_value())
    client = (_cluster if target.kind == "cluster" else _wires)(settings, target, context)
    try:
        with anyio.fail_after(settings.timeout):
            await _check_version(client, target)
            watch = target.kind != "cluster" and await _notifies(client)
    except BaseException as error:
        with anyio.CancelScope(shield=True):
            await client.aclose()
        if isinstance(error, DRIVER_ERRORS):
            raise opening_failed(error, target) from error
        raise
    lacking = {"cas"} if settings.layout == "plain" else set[str]()
    if not watch:
        lacking.add("watch")
    return RedisBackend(client, target, settings, features - lacking)


# ---------------------------------------------------------------- one server


def _wires(settings: RedisSettings, target: Target, context: OpenContext) -> Wires:
    async def renew() -> list[tuple[Any, ...]]:
        return _greeting(await context.settings_now(settings))

    tls = _tls(settings, context.base) if target.tls else None
    dial = _by_sentinel(settings, target) if target.kind == "sentinel" else _fixed(target)
    return Wires(dial, _greeting(settings), renew, tls, settings.max_connections, settings.timeout)


def _greeting(settings: RedisSettings) -> list[tuple[Any, ...]]:
    target = parse(settings.url.get_secret_value())
    username, password = _credentials(settings, target)
    greeting: list[tuple[Any, ...]] = []
    if password is not None:
        greeting.append(("AUTH", username, password) if username else ("AUTH", password))
    if target.db:
        greeting.append(("SELECT", target.db))
    return greeting


def _credentials(settings: RedisSettings, target: Target) -> tuple[str | None, str | None]:
    password = settings.password.get_secret_value() if settings.password else target.password
    return settings.username or target.username, password


def _fixed(target: Target) -> Dial:
    async def dial() -> Address:
        return target.socket or target.hosts[0]

    return dial


def _by_sentinel(settings: RedisSettings, target: Target) -> Dial:
    async def dial() -> Address:
        limits: dict[str, Any] = {
            "socket_connect_timeout": settings.timeout,
            "socket_timeout": settings.timeout,
        }
        # One that is down is left for the next: the library would wait, and try it three times more.
        limits["retry"] = Retry(NoBackoff(), 0)
        sentinels = Sentinel(target.hosts, sentinel_kwargs=limits)  # type: ignore[no-untyped-call]
        try:
            host, port = await sentinels.discover_master(target.service)
        finally:
            with anyio.CancelScope(shield=True):
                for one in sentinels.sentinels:
                    await one.aclose()
        return str(host), int(port)

    return dial


def _tls(settings: RedisSettings, base: Path) -> ssl.SSLContext:
    files = (settings.tls_ca_file, settings.tls_cert_file, settings.tls_key_file)
    context = client_tls("the Redis store", *(file and base / file for file in files))
    if not settings.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


# ---------------------------------------------------------------- a cluster


class _Credentials(CredentialProvider):
    """The credentials of now, for each new connection of a cluster."""

    def __init__(self, settings: RedisSettings, context: OpenContext) -> None:
        self._settings = settings
        self._context = context

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        settings = await self._context.settings_now(self._settings)
        username, password = _credentials(settings, parse(settings.url.get_secret_value()))
        return (username, password or "") if username else (password or "",)


def _cluster(settings: RedisSettings, target: Target, context: OpenContext) -> RedisCluster:
    base, (username, password) = context.base, _credentials(settings, target)
    files = {
        "ssl_ca_certs": settings.tls_ca_file,
        "ssl_certfile": settings.tls_cert_file,
        "ssl_keyfile": settings.tls_key_file,
    }
    tls: dict[str, Any] = {name: str(base / file) for name, file in files.items() if file is not None}
    if target.tls:
        _tls(
            settings, base
        )  # says what is wrong with the files: the library does when it connects, in its words
        tls["ssl_cert_reqs"] = "required" if settings.tls_verify else "none"
        tls["ssl_check_hostname"] = settings.tls_verify
    return RedisCluster(
        startup_nodes=[ClusterNode(host, port) for host, port in target.hosts],
        credential_provider=_Credentials(settings, context) if username or password else None,
        protocol=2,
        socket_timeout=None,  # an operation's deadline is the host's, and cancels it
        socket_connect_timeout=settings.timeout,
        max_connections=settings.max_connections,
        # An increment whose answer was lost may have happened: nothing is done twice behind the guest's back.
        retry=Retry(NoBackoff(), 0),
        ssl=target.tls,
        **tls,
    )


# ---------------------------------------------------------------- what the server can do


async def _check_version(client: Client, target: Target) -> None:
    ask: Callable[..., Awaitable[Any]] = client.execute_command
    options = {}
    if isinstance(client, RedisCluster):
        await client.initialize()
        options = {"target_nodes": client.get_random_node()}
    text = str(await ask("INFO", "server", **options))
    found = re.search(r"redis_version\W+(\d+)\.(\d+)", text)
    if found and (int(found[1]), int(found[2])) < _OLDEST:
        raise BackendError(
            f"the Redis server at {target} is version {found[1]}.{found[2]}",
            why="this plugin needs 6.2 or newer",
            fix="upgrade the server, or use Valkey",
        )


async def _notifies(client: Client) -> bool:
    """Return whether the server tells of all changes to keys. Where CONFIG is forbidden, say no."""
    try:
        answer = await client.execute_command("CONFIG", "GET", "notify-keyspace-events")
    except DRIVER_ERRORS:
        return False
    flags = bytes(answer[-1]).decode() if answer else ""
    return "K" in flags and ("A" in flags or all(flag in flags for flag in "g$x"))
