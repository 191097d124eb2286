"""``wasi:filesystem@0.3``: the same directories, and the same way to be kept in them, as in 0.2."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from wasmplex.plugin import Err, IncomingStream, Tables, Variant

from host_plugin_wasi.filesystem import entries, roots
from host_plugin_wasi.filesystem.descriptor import Descriptor
from host_plugin_wasi.filesystem.entries import Opened
from host_plugin_wasi.filesystem.errors import CASES, off_loop
from host_plugin_wasi.filesystem.streams import DirectoryEntries, Listing, read
from host_plugin_wasi.io import READ_LIMIT
from host_plugin_wasi.p3.ends import Codes, Reading, failing, finished

if TYPE_CHECKING:
    from wasmplex.plugin import BoundInterfaces, WorkloadContext

    from host_plugin_wasi.filesystem.handles import Handle

__all__ = ["bind"]

_CODES = Codes(CASES - {"would-block"}, {"would-block": Variant("busy")})


class Descriptor3(Descriptor):
    """The resource ``descriptor``: contents and entries as streams, all else as in 0.2."""

    __slots__ = ()

    def __init__(self, opened: Opened, flags: frozenset[str] = frozenset()) -> None:
        super().__init__(opened, flags)
        if flags and self._is_directory:  # else it is one that was granted
            self._flags = frozenset({"read"}) | flags & {"mutate-directory"}

    async def open_at(
        self, path_flags: frozenset[str], path: str, open_flags: frozenset[str], flags: frozenset[str]
    ) -> Descriptor:
        """Open or make a file, or open a directory; for reading, if nothing else is asked for."""
        if not flags & {"read", "write"}:
            flags |= {"read"}
        if "create" not in open_flags:
            open_flags -= {"exclusive"}
        return await super().open_at(path_flags, path, open_flags, _writing(open_flags, flags))

    def read_stream(self, offset: int) -> tuple[Reading[bytes], Coroutine[Any, Any, None]]:
        """Return the contents from `offset` on, and how reading them ended."""
        try:
            handle = self._file("read").hold()
        except Err as error:
            return Reading(failing(error), _CODES).both
        return Reading(_contents(handle, offset), _CODES, handle.release).both

    def write_stream(self, data: IncomingStream[bytes], offset: int) -> Coroutine[Any, Any, None]:
        """Write what comes, from `offset` on; return what says how that ended."""
        return self._writing(data, offset)

    def append_stream(self, data: IncomingStream[bytes]) -> Coroutine[Any, Any, None]:
        """Write what comes, at the end; return what says how that ended."""
        return self._writing(data, None)

    def _writing(self, data: IncomingStream[bytes], offset: int | None) -> Coroutine[Any, Any, None]:
        try:
            return _written(self._file("write").hold(), data, offset)
        except Err as error:
            data.close()
            return finished(_CODES.of(error.value))

    def entries_stream(self) -> tuple[Reading[Any], Coroutine[Any, Any, None]]:
        """Return what the directory holds, and how listing it ended."""
        return Reading(self._listed(), _CODES).both

    async def _listed(self) -> AsyncGenerator[list[dict[str, Any]], None]:
        """Yield entries some at a time: whoever stops reading has the rest not looked at."""
        listing = DirectoryEntries(await self._at(Listing))
        try:
            while batch := await listing.read_some():
                yield [{"type": _kind(kind), "name": name} for kind, name in batch]
        finally:
            listing.drop()


def _writing(open_flags: frozenset[str], flags: frozenset[str]) -> frozenset[str]:
    """Return the flags with what creating or truncating takes."""
    return flags | {"write"} if open_flags & {"create", "truncate"} else flags


async def _contents(handle: Handle, offset: int) -> AsyncGenerator[bytes, None]:
    while piece := await read(handle, READ_LIMIT, offset):
        offset += len(piece)
        yield piece


async def _written(handle: Handle, data: IncomingStream[bytes], offset: int | None) -> None:
    try:
        async for piece in data:
            rest = piece
            while rest:
                count = await _put(handle, rest[:READ_LIMIT], offset)
                offset = offset + count if offset is not None else None
                rest = rest[count:]
    except Err as error:
        raise Err(_CODES.of(error.value)) from None
    finally:
        data.close()
        handle.release()


async def _put(handle: Handle, piece: bytes, offset: int | None) -> int:
    if offset is None:
        return await off_loop(handle.threads, entries.append, handle, piece)
    return await off_loop(handle.threads, entries.write, handle, piece, offset)


def _kind(name: str) -> Variant:
    return Variant(name) if name != "unknown" else Variant("other", None)


def _stat(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "type": _kind(record["type"])}


def _functions() -> Mapping[str, Any]:
    as_before = (
        "advise sync-data get-flags set-size set-times sync create-directory-at set-times-at link-at open-at "
        "readlink-at remove-directory-at rename-at symlink-at unlink-file-at is-same-object metadata-hash "
        "metadata-hash-at"
    )
    changed: dict[str, Callable[[Any], Any] | None] = {"get-type": _kind, "stat": _stat, "stat-at": _stat}
    changes: dict[str, Callable[[Any], Any] | None] = {**dict.fromkeys(as_before.split()), **changed}
    return {
        f"[method]descriptor.{name}": _CODES.translated(getattr(Descriptor3, name.replace("-", "_")), change)
        for name, change in changes.items()
    } | {
        "[method]descriptor.read-via-stream": Descriptor3.read_stream,
        "[method]descriptor.write-via-stream": Descriptor3.write_stream,
        "[method]descriptor.append-via-stream": Descriptor3.append_stream,
        "[method]descriptor.read-directory": Descriptor3.entries_stream,
    }


_TYPES = _functions()


def _preopens(opened: Mapping[str, Opened]) -> list[tuple[Descriptor3, str]]:
    for root in opened.values():
        root.handle.hold()
    return [(Descriptor3(root), guest_path) for guest_path, root in opened.items()]


@asynccontextmanager
async def bind(workload: WorkloadContext) -> AsyncIterator[BoundInterfaces]:
    """Open the granted directories, once for all instances of the workload.

    :raises wasmplex.errors.BackendError: if one cannot be opened
    """
    async with roots.opened(workload) as opened:
        yield Tables({"types": _TYPES, "preopens": {"get-directories": lambda: _preopens(opened)}})
