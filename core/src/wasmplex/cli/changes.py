"""Notices that the files a host was started from have changed, for ``run --watch``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from wasmplex.cli.failure import print_diagnostics
from wasmplex.cli.logs import say
from wasmplex.errors import WasmplexError

if TYPE_CHECKING:
    import anyio

    from wasmplex.config import HostConfig
    from wasmplex.plugins.registry import Registry

__all__ = ["Changes"]

_PERIOD = 0.5


class Changes:
    """Looks at the configuration, the components and the one-file plugins of a host.

    :param registry: makes a registry of plugins that has not loaded any
    :ivar found: whether something has changed, and is right
    """

    def __init__(self, config: HostConfig, registry: Callable[[], Registry]) -> None:
        self.found = False
        self._config = config
        self._registry = registry
        self._files = [config.path, *config.plugins, *(w.component for w in config.workloads.values())]
        self._seen = self._state()  # now, so that what changes while the host starts is noticed as well

    async def wait(self, stop: anyio.Event) -> None:
        """Set `stop` once there is something else to run; what is wrong is printed and waited for."""
        import anyio

        seen = self._seen
        while True:
            await anyio.sleep(_PERIOD)
            now = await anyio.to_thread.run_sync(self._state)
            if now == seen:
                continue
            seen = now
            if await self._is_right():
                self.found = True
                say("changed: starting again")
                stop.set()
                return

    def _state(self) -> list[tuple[int, int] | None]:
        return [_state_of(path) for path in self._files]

    async def _is_right(self) -> bool:
        import anyio

        from wasmplex.assembly import assemble
        from wasmplex.config import load

        try:
            config = await anyio.to_thread.run_sync(load, self._config.path)
            await assemble(config, self._registry(), os.environ)
        except WasmplexError as error:
            print_diagnostics(error.diagnostics)
            return False
        return True


def _state_of(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
