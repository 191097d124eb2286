"""What ``wasmplex run`` was told on its command line, and the configuration as that has it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from wasmplex.cli.connecting import require_workloads
from wasmplex.cli.uncalled import workloads_uncalled
from wasmplex.errors import UsageError

if TYPE_CHECKING:
    from wasmplex.assembly import Assembly
    from wasmplex.cli.changes import Changes
    from wasmplex.config import HostConfig
    from wasmplex.plugins.registry import Registry

__all__ = ["Planned", "Setup"]

_LONGEST: Final = 60.0
"""Seconds that reading the configuration may take."""


class Planned(NamedTuple):
    """A configuration that was read and found right, and the plugins for it."""

    assembly: Assembly
    registry: Registry


@dataclass(frozen=True)
class Setup:
    """How to run.

    :ivar load: reads the configuration
    :ivar set_up_log: has log lines written as a configuration says
    :ivar registry: makes a registry of plugins
    :ivar wasm_proposals: see `wasmplex.assembly.assemble`
    :ivar dev: whether to watch the event loop, and say which plugin blocks it
    :ivar workers: how many processes serve
    :ivar drain_timeout: seconds that calls under way may take when the host stops
    :ivar hang_timeout: seconds that a worker's event loop may stand still; 0 for as long as it likes
    :ivar changes: what is watched, if anything is
    """

    load: Callable[[], HostConfig]
    set_up_log: Callable[[HostConfig], None]
    registry: Callable[[], Registry]
    wasm_proposals: tuple[str, ...]
    dev: bool
    workers: int
    drain_timeout: float
    hang_timeout: float
    changes: Changes | None

    async def read(self, *, first: bool = False) -> Planned:
        """Read the configuration, in a thread, and plan what it says.

        :param first: whether nothing is served yet, which sets up the log
        :raises WasmplexError: with everything that is wrong with it
        """
        from wasmplex.assembly import assemble

        config = await self._loaded()
        if first:
            self.set_up_log(config)
        require_workloads(config)
        if self.changes is not None:
            self.changes.look_at(config)
        registry = self.registry()
        assembly = await assemble(config, registry, os.environ, wasm_proposals=self.wasm_proposals)
        if not any(workload.triggers for workload in config.workloads.values()):
            raise workloads_uncalled(assembly, registry)
        return Planned(self._part(assembly), registry)

    async def _loaded(self) -> HostConfig:
        """Read the configuration in a thread that can be given up: its files may be on a dead file system."""
        import anyio

        from wasmplex.blocking import Threads

        threads = Threads("configuration", 1)
        try:
            with anyio.fail_after(_LONGEST):
                return await threads.run(self.load)
        except TimeoutError:
            raise UsageError(
                f"the configuration was not read within {_LONGEST:g} s",
                why="a file that it names does not answer",
                fix="look at the file system that it is on",
            ) from None
        finally:
            threads.close()

    def _part(self, assembly: Assembly) -> Assembly:
        """Return what is planned with this process's part of what is for all together."""
        return replace(assembly, memory=max(1, assembly.memory // self.workers))
