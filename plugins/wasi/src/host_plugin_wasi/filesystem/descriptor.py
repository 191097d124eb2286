"""The resource ``descriptor``: an open file or directory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from wasmplex.plugin import Err, Variant

from host_plugin_wasi.filesystem import entries, streams
from host_plugin_wasi.filesystem.entries import Identity, Opened
from host_plugin_wasi.filesystem.errors import off_loop
from host_plugin_wasi.filesystem.handles import Handle
from host_plugin_wasi.filesystem.streams import DirectoryEntries, FileInput, FileOutput, Listing

__all__ = ["WRITE_LIMIT", "Descriptor"]

T = TypeVar("T")

WRITE_LIMIT = 1 << 20
"""The most bytes of one write: a thread is held up for no longer than that takes."""

_DIRECTORY_FLAGS = frozenset({"read", "mutate-directory"})
_KEPT = frozenset({
    "read", "write", "file-integrity-sync", "data-integrity-sync", "requested-write-sync",
})  # fmt: skip


class Descriptor:
    """An open file or directory of the guest. It owns its `Handle`, and drops it when it is dropped."""

    __slots__ = ("_flags", "_handle", "_identity")

    def __init__(self, opened: Opened, flags: frozenset[str] = frozenset()) -> None:
        self._handle = opened.handle
        self._identity = opened.identity
        self._flags = _DIRECTORY_FLAGS if self._is_directory else flags & _KEPT

    @property
    def _is_directory(self) -> bool:
        return self._identity.kind == "directory"

    def drop(self) -> None:
        """Let go of the file; streams made from it go on."""
        self._handle.release()

    def _file(self, access: str) -> Handle:
        if self._is_directory or access not in self._flags:
            raise Err("bad-descriptor")
        return self._handle

    def _directory(self) -> Handle:
        if not self._is_directory:
            raise Err("not-directory")
        return self._handle

    async def _at(self, function: Callable[..., T], *args: Any) -> T:
        return await self._off_loop(function, self._directory(), *args)

    async def _off_loop(self, function: Callable[..., T], *args: Any) -> T:
        return await off_loop(self._handle.threads, function, *args)

    # ------------------------------------------------------------ contents

    def read_via_stream(self, offset: int) -> FileInput:
        """Return a stream that reads from `offset` on."""
        return FileInput(self._file("read"), offset)

    def write_via_stream(self, offset: int) -> FileOutput:
        """Return a stream that writes from `offset` on."""
        return FileOutput(self._file("write"), offset)

    def append_via_stream(self) -> FileOutput:
        """Return a stream that writes at the end."""
        return FileOutput(self._file("write"), None)

    async def read(self, length: int, offset: int) -> tuple[bytes, bool]:
        """Read at most `length` bytes; True when the end is reached."""
        data = await streams.read(self._file("read"), length, offset)
        return data, not data and length > 0

    async def write(self, buffer: bytes, offset: int) -> int:
        """Write; return how many bytes of it: no more than `WRITE_LIMIT`, and what there was room for."""
        return await self._off_loop(entries.write, self._file("write"), buffer[:WRITE_LIMIT], offset)

    async def set_size(self, size: int) -> None:
        """Cut or extend the file."""
        await self._off_loop(entries.resize, self._file("write"), size)

    async def advise(self, offset: int, length: int, advice: str) -> None:
        """Pass on how the file will be read."""
        if self._is_directory:
            raise Err("bad-descriptor")
        await self._off_loop(entries.advise, self._handle, offset, length, advice)

    async def sync_data(self) -> None:
        """Bring contents to the disk."""
        await self._off_loop(entries.sync_data, self._handle)

    async def sync(self) -> None:
        """Bring contents and attributes to the disk."""
        await self._off_loop(entries.sync, self._handle)

    # ------------------------------------------------------------ attributes

    def get_flags(self) -> frozenset[str]:
        """Return what it was opened for."""
        return self._flags

    def get_type(self) -> str:
        """Return what it is."""
        return self._identity.kind

    async def stat(self) -> dict[str, Any]:
        """Return its attributes."""
        return await self._off_loop(entries.stat, self._handle)

    async def set_times(self, access: Variant, modification: Variant) -> None:
        """Set its times."""
        await self._off_loop(entries.set_times, self._handle, access, modification)

    def is_same_object(self, other: Descriptor) -> bool:
        """Say whether both are the same file or directory."""
        return self._identity == other._identity

    def metadata_hash(self) -> dict[str, int]:
        """Return a hash that is the same for the same object only."""
        return self._identity.metadata_hash()

    # ------------------------------------------------------------ below a directory

    async def open_at(
        self, path_flags: frozenset[str], path: str, open_flags: frozenset[str], flags: frozenset[str]
    ) -> Descriptor:
        """Open or make a file, or open a directory."""
        opened = await self._at(entries.open_entry, path, "symlink-follow" in path_flags, open_flags, flags)
        # Opening to create or truncate takes write access, as does asking for it.
        if open_flags & {"create", "truncate"}:
            flags |= {"write"}
        return type(self)(opened, flags)

    async def read_directory(self) -> DirectoryEntries:
        """Return a stream of the entries."""
        return DirectoryEntries(await self._at(Listing))

    async def stat_at(self, path_flags: frozenset[str], path: str) -> dict[str, Any]:
        """Return an entry's attributes."""
        return await self._at(entries.stat_at, path, "symlink-follow" in path_flags)

    async def set_times_at(
        self, path_flags: frozenset[str], path: str, access: Variant, modification: Variant
    ) -> None:
        """Set an entry's times."""
        await self._at(entries.set_times_at, path, "symlink-follow" in path_flags, access, modification)

    async def metadata_hash_at(self, path_flags: frozenset[str], path: str) -> dict[str, int]:
        """Return an entry's hash; see `metadata_hash`."""
        identity: Identity = await self._at(entries.identity_at, path, "symlink-follow" in path_flags)
        return identity.metadata_hash()

    async def create_directory_at(self, path: str) -> None:
        """Make a directory."""
        await self._at(entries.create_directory, path)

    async def remove_directory_at(self, path: str) -> None:
        """Remove an empty directory."""
        await self._at(entries.remove_directory, path)

    async def unlink_file_at(self, path: str) -> None:
        """Remove anything but a directory."""
        await self._at(entries.unlink, path)

    async def rename_at(self, old_path: str, new_descriptor: Descriptor, new_path: str) -> None:
        """Move an entry."""
        await self._at(entries.rename, old_path, new_descriptor._directory(), new_path)

    async def link_at(
        self, path_flags: frozenset[str], old_path: str, new_descriptor: Descriptor, new_path: str
    ) -> None:
        """Give a file one more name."""
        follow = "symlink-follow" in path_flags
        await self._at(entries.link, old_path, follow, new_descriptor._directory(), new_path)

    async def symlink_at(self, old_path: str, new_path: str) -> None:
        """Make a symbolic link to `old_path`."""
        await self._at(entries.symlink, old_path, new_path)

    async def readlink_at(self, path: str) -> str:
        """Return where a symbolic link points."""
        return await self._at(entries.readlink, path)
