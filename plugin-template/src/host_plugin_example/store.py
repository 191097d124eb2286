"""The store: a dict, and a file of JSON lines to which every change is appended. None is what was deleted."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
from anyio.to_thread import run_sync
from wasmplex.capabilities.keyvalue import Bucket, KeyValueBackend, Page, PreconditionFailed, Unsupported
from wasmplex.plugin import BackendError


class ExampleBackend(KeyValueBackend):
    features = frozenset({"if-not-exists"})

    def __init__(self, path: Path, keys: dict[str, str | None]) -> None:
        self.path, self.keys, self.lock = path, keys, anyio.Lock()

    @classmethod
    async def open(cls, path: Path) -> ExampleBackend:
        keys: dict[str, str | None] = {}
        try:
            for line in (await anyio.Path(path).read_text()).splitlines():
                keys.update([json.loads(line)])
        except FileNotFoundError:
            pass  # it comes into being with the first key
        except (OSError, ValueError, TypeError) as error:
            raise BackendError(f"{path.name} cannot be read", why=str(error)) from error
        return cls(path, keys)

    async def close(self) -> None:
        """Nothing is left open."""

    async def open_bucket(self, namespace: str, name: str) -> ExampleBucket:
        return ExampleBucket(self, json.dumps([namespace, name]))

    async def has_bucket(self, namespace: str, name: str) -> bool:
        return bool((await (await self.open_bucket(namespace, name)).list_keys("", None, 1)).keys)

    async def write(self, key: str, value: str | None, only_if_absent: bool = False) -> None:
        async with self.lock:
            if only_if_absent and self.keys.get(key) is not None:
                raise PreconditionFailed("the key exists")
            await run_sync(self.append, key, value)  # waited for even if the call is cancelled
            self.keys[key] = value

    def append(self, key: str, value: str | None) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps([key, value]) + "\n")


class ExampleBucket(Bucket):
    def __init__(self, store: ExampleBackend, scope: str) -> None:
        self.store, self.scope = store, scope

    async def get(self, key: str) -> bytes | None:
        value = self.store.keys.get(self.scope + key)
        return None if value is None else value.encode("latin-1")  # any byte is a character of Latin-1

    async def set(
        self, key: str, value: bytes, *, ttl_ms: int | None = None, if_not_exists: bool = False
    ) -> None:
        if ttl_ms is not None:
            raise Unsupported("ttl")
        await self.store.write(self.scope + key, value.decode("latin-1"), if_not_exists)

    async def delete(self, key: str) -> None:
        await self.store.write(self.scope + key, None)

    async def list_keys(self, prefix: str, cursor: str | None, limit: int) -> Page:
        start, cut = self.scope + prefix, len(self.scope)
        keys = self.store.keys.items()
        found = sorted(key[cut:] for key, value in keys if value is not None and key.startswith(start))
        found = [key for key in found if cursor is None or key > cursor]
        return Page(found[:limit], found[limit - 1] if len(found) > limit else None)
