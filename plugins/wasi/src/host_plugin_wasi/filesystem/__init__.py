"""``wasi:filesystem``: the directories that the configuration grants, and no way out of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from wasmplex.plugin import Tables, methods

from host_plugin_wasi.filesystem import roots
from host_plugin_wasi.filesystem.descriptor import Descriptor
from host_plugin_wasi.filesystem.entries import Opened
from host_plugin_wasi.filesystem.errors import DOMAIN
from host_plugin_wasi.filesystem.streams import DirectoryEntries

if TYPE_CHECKING:
    from wasmplex.plugin import BoundInterfaces, WorkloadContext

__all__ = ["bind"]

_TYPES = {
    **methods(
        "descriptor",
        Descriptor,
        "read-via-stream write-via-stream append-via-stream advise sync-data get-flags get-type set-size "
        "set-times read write read-directory sync create-directory-at stat stat-at set-times-at link-at "
        "open-at readlink-at remove-directory-at rename-at symlink-at unlink-file-at is-same-object "
        "metadata-hash metadata-hash-at",
    ),
    **methods("directory-entry-stream", DirectoryEntries, "read-directory-entry"),
    "filesystem-error-code": lambda error: error.code_of(DOMAIN),
}


def _preopens(found: Mapping[str, Opened]) -> list[tuple[Descriptor, str]]:
    for root in found.values():
        root.handle.hold()
    return [(Descriptor(root), guest_path) for guest_path, root in found.items()]


@asynccontextmanager
async def bind(workload: WorkloadContext) -> AsyncIterator[BoundInterfaces]:
    """Open the granted directories, once for all instances of the workload.

    :raises wasmplex.errors.BackendError: if one cannot be opened
    """
    async with roots.opened(workload) as found:
        yield Tables({"types": _TYPES, "preopens": {"get-directories": lambda: _preopens(found)}})
