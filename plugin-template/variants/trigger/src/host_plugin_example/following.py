"""What runs in a host: a task for each file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import anyio
from anyio.abc import TaskStatus
from wasmplex.plugin import Err, FailureError, RunningTrigger, TriggerBinding, escape, get_logger

PAUSE = 0.1
"""Seconds between two looks at a file that has nothing new."""

logger = get_logger(__name__)


class RunningExample(RunningTrigger):
    """All tables ``trigger.example`` of one host."""

    def __init__(self, bindings: Sequence[TriggerBinding]) -> None:
        self.bindings = bindings
        self.draining = anyio.Event()
        self.drained = anyio.Event()

    async def serve(self, *, task_status: TaskStatus[Mapping[str, Any]]) -> None:
        """Serve until cancelled or drained; ready when every file is open."""
        async with anyio.create_task_group() as tasks:
            for binding in self.bindings:
                await tasks.start(self.follow, binding)
            task_status.started({"files": [binding.settings.path for binding in self.bindings]})
        self.drained.set()

    async def drain(self) -> None:
        """Take no new lines, and return when the component has answered those that were taken."""
        self.draining.set()
        await self.drained.wait()

    async def follow(self, binding: TriggerBinding, *, task_status: TaskStatus[None]) -> None:
        """Tell one workload of what is written to one file from now on."""
        try:
            file = await anyio.open_file(binding.settings.path, "rb")
        except OSError as error:
            what = f"{binding.settings.path} cannot be followed"
            raise FailureError(what, where=binding.where, why=str(error.strerror).lower()) from error
        async with file:
            await file.seek(0, 2)
            task_status.started()
            async for line in self.lines(file):
                await self.tell(binding, line.decode(errors="replace"))

    async def lines(self, file: anyio.AsyncFile[bytes]) -> AsyncIterator[bytes]:
        """Yield whole lines as they come, until drained."""
        begun = b""
        while not self.draining.is_set():
            begun += await file.readline()
            if begun.endswith(b"\n"):
                yield begun.removesuffix(b"\n")
                begun = b""
            else:
                await anyio.sleep(PAUSE)

    async def tell(self, binding: TriggerBinding, line: str) -> None:
        """Hand one line to an instance. What goes wrong is said, and the next line is taken all the same."""
        try:
            async with binding.workload.instance() as instance:
                await binding.handler(instance, line)
        except Err as error:
            logger.warning("workload %s refused a line: %s", binding.workload.name, escape(str(error.value)))
        except Exception as error:  # a trap, a deadline
            logger.error("workload %s failed: %s", binding.workload.name, error)
