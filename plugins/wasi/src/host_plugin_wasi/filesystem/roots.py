"""The directories that a workload is granted, open while it is there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wasmplex.plugin import BackendError

from host_plugin_wasi.allowance import Allowance
from host_plugin_wasi.filesystem.entries import Opened, open_root

if TYPE_CHECKING:
    from wasmplex.plugin import WorkloadContext

__all__ = ["opened"]


async def _open_root(workload: WorkloadContext, guest_path: str, path: Path) -> Opened:
    allowance = Allowance.of(workload)
    try:
        return await allowance.threads.run(open_root, path, allowance)
    except OSError as error:
        raise BackendError(
            f"workload {workload.name!r} cannot be given the directory {str(path)!r}",
            where=f"workload.{workload.name}.dirs.{guest_path!r}",
            why=(error.strerror or type(error).__name__).lower(),
            fix=f"mkdir -p {path}" if isinstance(error, FileNotFoundError) else "",
        ) from None


@asynccontextmanager
async def opened(workload: WorkloadContext) -> AsyncIterator[Mapping[str, Opened]]:
    """Open the granted directories, by the paths that the guest knows them by.

    :raises wasmplex.errors.BackendError: if one cannot be opened
    """
    roots: dict[str, Opened] = {}
    try:
        for guest_path, path in workload.grants.dirs.items():
            roots[guest_path] = await _open_root(workload, guest_path, path)
        yield roots
    finally:
        for root in roots.values():
            root.handle.release()
        Allowance.of(workload).threads.close()
