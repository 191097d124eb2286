"""``wasi:filesystem``: the directories that the configuration grants, and no way out of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wasmplex.plugin import BackendError, Tables, methods

from host_plugin_wasi.allowance import Allowance
from host_plugin_wasi.filesystem.descriptor import Descriptor
from host_plugin_wasi.filesystem.entries import Opened, open_root
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


async def _open_root(workload: WorkloadContext, guest_path: str, path: Path) -> Opened:
    allowance = Allowance.of(workload)
    try:
        return await allowance.threads.run(open_root, path, allowance)
    except OSError as error:
        raise BackendError(
            f"workload {workload.name!r} cannot be given the directory {str(path)!r}",
            where=f"workload.{workload.name}.dirs.{guest_path!r}",
            why=error.strerror or type(error).__name__,
            fix=f"mkdir -p {path}" if isinstance(error, FileNotFoundError) else "",
        ) from None


def _preopens(roots: Mapping[str, Opened]) -> list[tuple[Descriptor, str]]:
    for root in roots.values():
        root.handle.hold()
    return [(Descriptor(root), guest_path) for guest_path, root in roots.items()]


@asynccontextmanager
async def bind(workload: WorkloadContext) -> AsyncIterator[BoundInterfaces]:
    """Open the granted directories, once for all instances of the workload.

    :raises wasmplex.errors.BackendError: if one cannot be opened
    """
    roots: dict[str, Opened] = {}
    try:
        for guest_path, path in workload.grants.dirs.items():
            roots[guest_path] = await _open_root(workload, guest_path, path)
        yield Tables({"types": _TYPES, "preopens": {"get-directories": lambda: _preopens(roots)}})
    finally:
        for root in roots.values():
            root.handle.release()
        Allowance.of(workload).threads.close()
