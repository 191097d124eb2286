"""Notices that the event loop stands still and which tasks are left behind, and says whose code it is."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType, TracebackType
from typing import Self

from wasmplex.logs import get_logger
from wasmplex.plugins.blame import blamed, files_of_frames
from wasmplex.plugins.identity import PluginIdentity

__all__ = ["Watchdog", "end_leaked_tasks"]

logger = get_logger("wasmplex.watchdog")


class Watchdog:
    """Warns once for each time that the loop does not turn for longer than a threshold.

    :param owners: returns the plugins by their roots, see `wasmplex.plugins.blame`
    :param threshold: seconds
    """

    def __init__(self, owners: Callable[[], Mapping[str, PluginIdentity]], threshold: float = 0.1) -> None:
        self._owners = owners
        self._threshold = threshold
        self._turned = time.monotonic()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._loop_thread = threading.get_ident()
        self._beat()
        self._thread = threading.Thread(target=self._watch, name="wasmplex-watchdog", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        self._turned = time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(self._threshold / 4, self._beat)

    def _watch(self) -> None:
        told = 0.0
        while not self._stop.wait(self._threshold / 4):
            turned = self._turned
            if time.monotonic() - turned > self._threshold and turned != told:
                told = turned
                self._tell(sys._current_frames().get(self._loop_thread))  # noqa: SLF001  documented so

    def _tell(self, frame: FrameType | None) -> None:
        if frame is None:
            return
        owner = blamed(files_of_frames(frame), self._owners())
        code = frame.f_code
        place = f"{code.co_filename}:{frame.f_lineno} ({code.co_name})"
        logger.warning(
            "%s blocks the event loop for more than %g s in %s; let wasmplex.plugin.Threads call it",
            owner or "something",
            self._threshold,
            place,
        )


async def end_leaked_tasks(
    owners: Callable[[], Mapping[str, PluginIdentity]], before: set[asyncio.Task[object]]
) -> None:
    """Cancel the tasks that plugins have started and not ended, and say whose they are.

    :param before: the tasks that there were before anything was opened
    """
    leaked = {task: owner for task in asyncio.all_tasks() - before if (owner := _owner(task, owners()))}
    for task, owner in leaked.items():
        logger.warning("%s left a task running: %s; it is cancelled", owner, task.get_name())
        task.cancel()
    if leaked:
        await asyncio.wait(leaked, timeout=1.0)


def _owner(task: asyncio.Task[object], owners: Mapping[str, PluginIdentity]) -> PluginIdentity | None:
    """Return whose code a task runs, by the coroutines that it is suspended in."""
    files: list[str] = []
    coroutine: object = task.get_coro()
    while coroutine is not None:
        code = getattr(coroutine, "cr_code", None)
        if code is not None:
            files.append(code.co_filename)
        coroutine = getattr(coroutine, "cr_await", None)
    return blamed(reversed(files), owners)
