"""Notices that the files a host was started from have changed, for ``run --watch``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wasmplex.cli.logs import say

if TYPE_CHECKING:
    from wasmplex.config import HostConfig

__all__ = ["Changes"]

_PERIOD = 0.5


class Changes:
    """Looks at the configuration, the components and the one-file plugins of a host."""

    def __init__(self) -> None:
        self._files: Sequence[Path] = ()
        self._seen: list[tuple[int, int] | None] = []

    def look_at(self, config: HostConfig) -> None:
        """Look at the files of this configuration from now on."""
        files = [config.path, *config.plugins, *_components(config)]
        known = dict(zip(self._files, self._seen, strict=True))
        self._files = files
        self._seen = [known[path] if path in known else _state_of(path) for path in files]

    async def wait(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever something has, until cancelled."""
        import anyio

        from wasmplex.blocking import Threads  # late: asyncio comes with it, and `--help` needs none

        threads = Threads("changes", 1)
        while True:
            await anyio.sleep(_PERIOD)
            files = self._files
            now = await threads.run(_states_of, files)
            if files is self._files and now != self._seen:
                self._seen = now
                say("changed: reading the configuration again")
                changed()


def _components(config: HostConfig) -> Iterator[Path]:
    for workload in config.workloads.values():
        yield from (component.component for component in (workload, *workload.middleware))


def _states_of(files: Sequence[Path]) -> list[tuple[int, int] | None]:
    return [_state_of(path) for path in files]


def _state_of(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
