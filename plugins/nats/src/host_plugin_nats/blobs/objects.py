"""The stream of one container: requests about it, with the errors of blob stores."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import anyio
from wasmplex.capabilities.blobstore import ContainerAlreadyExists, NoSuchContainer, Other
from wasmplex.capabilities.keyvalue import KeyValueError

from host_plugin_nats import NatsBlobSettings
from host_plugin_nats.blobs.failures import failed, is_no_stream
from host_plugin_nats.blobs.layout import Meta, bucket, parsed, stored, token
from host_plugin_nats.failures import WRONG_SEQUENCE, ApiError
from host_plugin_nats.link import Link
from host_plugin_nats.stream import NobodyThere, Stream

__all__ = ["Created", "Found", "ObjectStream"]

T = TypeVar("T")
_ATTEMPTS = 64
_IN_USE = 10058
_SUBJECTS_A_PAGE = 100_000


class Found(NamedTuple):
    """The message of an object, which may say that it is deleted.

    :ivar sequence: 0 if there is none
    """

    sequence: int
    meta: Meta | None


class Created(NamedTuple):
    """When a stream was made: as the server says it, and in Unix nanoseconds."""

    text: str
    nanoseconds: int


class ObjectStream(Stream):
    """The stream of one container.

    :ivar bucket: the name of the object store
    """

    def __init__(self, link: Link, settings: NatsBlobSettings, bucket: str) -> None:
        super().__init__(link, f"OBJ_{bucket}", f"$O.{bucket}.", settings.domain)
        self.bucket = bucket
        self.chunk_size = 0
        self._settings = settings

    @classmethod
    def of(cls, link: Link, settings: NatsBlobSettings, namespace: str, container: str) -> ObjectStream:
        """Return the stream of a container, which need not exist."""
        return cls(link, settings, bucket(settings.prefix, namespace, container))

    async def asked(self, request: Callable[[], Awaitable[T]]) -> T:
        """Make a request, and raise the errors of blob stores.

        :raises NoSuchContainer: if there is no such stream
        """
        try:
            return await request()
        except (KeyValueError, ApiError) as error:
            if is_no_stream(error):
                raise NoSuchContainer from None
            if isinstance(error, NobodyThere):
                await self.asked(lambda: self.ask(f"STREAM.INFO.{self.name}"))
            raise failed(error) from error

    # ------------------------------------------------------------ the stream

    async def create(self, namespace: str, container: str) -> None:
        """Make the stream.

        :raises ContainerAlreadyExists: if there is one
        """
        settings = self._settings
        config = {
            "name": self.name,
            "subjects": [f"{self.prefix}C.>", f"{self.prefix}M.>"],
            "discard": "new",
            "storage": settings.storage,
            "num_replicas": settings.replicas,
            "max_bytes": settings.max_bytes or -1,
            "allow_rollup_hdrs": True,
            "allow_direct": True,
            "metadata": {
                "wasmplex-namespace": namespace,
                "wasmplex-container": container,
                # The server takes a second request with an equal configuration for the same.
                "wasmplex-created-by": f"{self._link.instance}-{secrets.token_hex(8)}",
            },
        }
        try:
            self.configured((await self.ask(f"STREAM.CREATE.{self.name}", config)).the("config"))
        except ApiError as error:
            if error.code == _IN_USE:
                raise ContainerAlreadyExists from None
            raise failed(error) from error
        except KeyValueError as error:
            raise failed(error) from error

    async def look(self) -> Created:
        """Look whether there is the stream, and how it is configured; return when it was made.

        :raises NoSuchContainer: if there is none
        """

        async def found() -> Created:
            answer = await self.ask(f"STREAM.INFO.{self.name}")
            self.configured(answer.the("config"))
            return Created(answer.text("created"), answer.nanoseconds("created"))

        return await self.asked(found)

    async def remove(self) -> None:
        """Delete the stream; it need not exist."""
        try:
            await self.ask(f"STREAM.DELETE.{self.name}")
        except (KeyValueError, ApiError) as error:
            if not is_no_stream(error):
                raise failed(error) from error

    # ------------------------------------------------------------ objects

    def chunks(self, nuid: str) -> str:
        """Return the subject of an object's chunks."""
        return f"{self.prefix}C.{nuid}"

    async def find(self, name: str) -> Found:
        """Return what there is of an object.

        :raises NoSuchContainer: if there is no such container
        """
        message = await self.asked(lambda: self.get(f"{self.prefix}M.{token(name)}"))
        if message is None:
            return Found(0, None)
        return Found(message.sequence, parsed(message.value))

    async def replace(self, meta: Meta) -> Meta | None:
        """Put an object in its place at once; return the one that it replaces."""
        subject, value = f"{self.prefix}M.{token(meta.name)}", stored(meta, self.bucket)
        for _ in range(_ATTEMPTS):
            found = await self.find(meta.name)
            if await self.asked(partial(self._write_after, found.sequence, subject, value)):
                return found.meta
        raise Other("others write it all the time")

    async def _write_after(self, sequence: int, subject: str, value: bytes) -> bool:
        """Write a message unless there is another one of the subject than that with this sequence."""
        headers = {"Nats-Rollup": "sub", "Nats-Expected-Last-Subject-Sequence": str(sequence)}
        try:
            await self.write(subject, value, headers)
        except ApiError as error:
            if error.code not in WRONG_SEQUENCE:
                raise
            return False
        return True

    async def delete(self, name: str) -> None:
        """Delete an object, if it exists, and its chunks."""
        found = await self.find(name)
        if found.meta is not None:
            subject = f"{self.prefix}M.{token(name)}"
            await self.asked(lambda: self.purge(subject, found.sequence + 1))
            await self.discard(found.meta.nuid)

    async def discard(self, nuid: str) -> None:
        """Remove chunks."""
        filter_ = {"filter": self.chunks(nuid)}
        await self.asked(lambda: self.ask(f"STREAM.PURGE.{self.name}", filter_))

    # ------------------------------------------------------------ what is left

    async def tokens(self) -> Sequence[str]:
        """Return the tokens of all chunks that there are."""
        found: list[str] = []

        async def page() -> Collection[str]:
            body = {"subjects_filter": f"{self.prefix}C.>", "offset": len(found)}
            answer = await self.ask(f"STREAM.INFO.{self.name}", body)
            return answer.the("state").part("subjects").all

        while True:
            subjects = await self.asked(page)
            found += [subject.rpartition(".")[2] for subject in subjects]
            if len(subjects) < _SUBJECTS_A_PAGE:
                return found
            await anyio.lowlevel.checkpoint()

    async def referenced(self) -> set[str]:
        """Return the tokens of the chunks that objects have."""
        found: set[str] = set()
        async for batch in self.read(f"{self.prefix}M.>", values=True):
            found.update(meta.nuid for one in batch if (meta := parsed(one.value)) is not None)
        return found
