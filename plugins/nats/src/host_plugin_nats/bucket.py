"""The stream behind a key-value bucket: finding it, or making it."""

from __future__ import annotations

import asyncio
from typing import Any

from wasmplex.capabilities.keyvalue import AccessDenied, StoreUnavailable
from wasmplex.plugin import BackendError

from host_plugin_nats import NatsSettings
from host_plugin_nats.answers import Said
from host_plugin_nats.failures import NO_STREAM, ApiError, api_failed
from host_plugin_nats.link import Link
from host_plugin_nats.stream import Stream

__all__ = ["BucketStream"]

_MARKER_TTL = 300


class BucketStream(Stream):
    """One JetStream key-value bucket.

    :ivar cleans: whether the server removes what has expired (2.11 and newer)
    """

    def __init__(self, link: Link, settings: NatsSettings) -> None:
        bucket = settings.bucket
        super().__init__(link, f"KV_{bucket}", f"$KV.{bucket}.", settings.domain)
        self.cleans = False
        self._settings = settings

    async def prepare(self) -> None:
        """Find the stream or make it; done with every new connection."""
        try:
            async with asyncio.timeout(self._settings.timeout):
                config = await self._found()
        except TimeoutError:
            raise StoreUnavailable("JetStream does not answer") from None
        self.cleans = bool(config.all.get("allow_msg_ttl"))
        self.configured(config)

    async def _found(self) -> Said:
        try:
            config = (await self.ask(f"STREAM.INFO.{self.name}")).the("config")
        except ApiError as error:
            if error.code != NO_STREAM:
                raise api_failed(error) from error
            return await self._made()
        wanted = self._lasting()
        if all(config.all.get(key) == value for key, value in wanted.items()):
            return config
        try:  # a bucket made by somebody else, or by an older server
            answer = await self.ask(f"STREAM.UPDATE.{self.name}", {**config.all, **wanted})
        except (ApiError, AccessDenied):
            return config
        return answer.the("config")

    async def _made(self) -> Said:
        settings = self._settings
        if not settings.create:
            raise BackendError(
                f"the JetStream key-value bucket {settings.bucket!r} does not exist",
                why="create is false",
                fix=f"nats kv add {settings.bucket}, or create = true",
            )
        config = {
            "name": self.name,
            "subjects": [f"{self.prefix}>"],
            "max_msgs_per_subject": 1,
            "discard": "new",
            "storage": settings.storage,
            "num_replicas": settings.replicas,
            "max_bytes": settings.max_bytes or -1,
            "allow_rollup_hdrs": True,
            "deny_delete": True,
            "allow_direct": True,
            **self._lasting(),
        }
        try:
            return (await self.ask(f"STREAM.CREATE.{self.name}", config)).the("config")
        except ApiError as error:
            fix = "replicas = 1, or as many servers in a cluster" if settings.replicas > 1 else ""
            raise BackendError(
                f"cannot make the JetStream bucket {settings.bucket!r}", why=str(error), fix=fix
            ) from error

    def _lasting(self) -> dict[str, Any]:
        if self.version < (2, 11):
            return {}
        return {"allow_msg_ttl": True, "subject_delete_marker_ttl": _MARKER_TTL * 10**9}
