"""Many keys in one go: one command on a server of its own, a pipeline for each node of a cluster."""

# The methods of both classes are those of `Batches`, documented there.
# ruff: noqa: D102

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import NoScriptError, ResponseError

from host_plugin_redis.scripts import EXISTING, SET, SET_MANY, Script
from host_plugin_redis.wires import Wires

__all__ = ["Batches", "ClusterBatches", "SingleBatches", "run"]

SCAN_COUNT = 1000
"""Keys that the server looks at in one step of a scan."""


async def run(client: Any, script: Script, places: Sequence[bytes], *arguments: bytes | str | int) -> Any:
    """Run a script, sending its text only to a server that does not know it."""
    try:
        return await client.execute_command("EVALSHA", script.digest, len(places), *places, *arguments)
    except ResponseError as error:
        if not (isinstance(error, NoScriptError) or str(error).startswith("NOSCRIPT")):
            raise
        return await client.execute_command("EVAL", script.text, len(places), *places, *arguments)


class Batches(ABC):
    """What a store does with many keys. Values and versions are given by their places."""

    @abstractmethod
    async def get(self, places: Sequence[bytes]) -> list[bytes | None]:
        """Return the values by position."""

    @abstractmethod
    async def exist(self, places: Sequence[bytes]) -> list[bool]:
        """Return by position whether they exist."""

    @abstractmethod
    async def set(self, places: Sequence[tuple[bytes, ...]], values: Sequence[bytes]) -> None:
        """Set all; the first error is raised when each was tried."""

    @abstractmethod
    async def delete(self, places: Sequence[tuple[bytes, ...]]) -> None:
        """Delete all; the first error is raised when each was tried."""

    @abstractmethod
    def scan(self, pattern: bytes) -> AsyncIterator[Sequence[bytes]]:
        """Return the places of strings that match, some perhaps twice."""


class SingleBatches(Batches):
    """On one server."""

    def __init__(self, client: Wires) -> None:
        self._client: Any = client

    async def get(self, places: Sequence[bytes]) -> list[bytes | None]:
        return list(await self._client.execute_command("MGET", *places))

    async def exist(self, places: Sequence[bytes]) -> list[bool]:
        return [bool(found) for found in await run(self._client, EXISTING, places)]

    async def set(self, places: Sequence[tuple[bytes, ...]], values: Sequence[bytes]) -> None:
        await run(self._client, SET_MANY, [one for both in places for one in both], *values)

    async def delete(self, places: Sequence[tuple[bytes, ...]]) -> None:
        await self._client.execute_command("DEL", *(one for both in places for one in both))

    async def scan(self, pattern: bytes) -> AsyncIterator[Sequence[bytes]]:
        cursor: Any = 0
        while True:
            cursor, found = await self._client.execute_command(
                "SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT, "TYPE", "string"
            )
            yield found
            if not int(cursor):
                return


class ClusterBatches(Batches):
    """On a cluster, where one command takes the keys of one slot only."""

    def __init__(self, client: RedisCluster) -> None:
        self._client: Any = client

    async def _all(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        pipeline = self._client.pipeline()
        for command in commands:
            pipeline.execute_command(*command)
        answers = await pipeline.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return list(answers)

    async def get(self, places: Sequence[bytes]) -> list[bytes | None]:
        return await self._all([("GET", place) for place in places])

    async def exist(self, places: Sequence[bytes]) -> list[bool]:
        return [bool(found) for found in await self._all([("EXISTS", place) for place in places])]

    async def set(self, places: Sequence[tuple[bytes, ...]], values: Sequence[bytes]) -> None:
        pairs = zip(places, values, strict=True)
        await self._all([("EVAL", SET.text, len(both), *both, value, "", "") for both, value in pairs])

    async def delete(self, places: Sequence[tuple[bytes, ...]]) -> None:
        await self._all([("DEL", *both) for both in places])

    async def scan(self, pattern: bytes) -> AsyncIterator[Sequence[bytes]]:
        async for place in self._client.scan_iter(match=pattern, count=SCAN_COUNT, _type="STRING"):
            yield (place,)
