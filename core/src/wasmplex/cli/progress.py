"""What is seen of compiling: a bar on a terminal, log lines anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from wasmplex.logs import get_logger

if TYPE_CHECKING:
    from asyncio import TimerHandle

__all__ = ["compiling"]


log = get_logger("wasmplex.host")

_LONG = 0.5
"""Seconds after which it is said what takes them."""
_AGAIN = 10.0
"""Seconds after which it is said that it still does. How much of it is done wasmtime does not tell."""


@contextmanager
def compiling(count: int, *, bar: bool = True) -> Iterator[Callable[[str, str], None]]:
    """Show how compiling goes on, on standard error, while the context lasts.

    :param count: how many workloads there are
    :param bar: whether a bar may be drawn, which log lines would tear apart
    :returns: what to call with a workload's name and what is being done for it
    """
    shown = _Bar(count) if bar and sys.stderr.isatty() else _Lines()
    try:
        yield shown.update
    finally:
        shown.stop()


class _Lines:
    """Says what takes long, when it has begun to, and that it still does."""

    def __init__(self) -> None:
        self._timer: TimerHandle | None = None

    def update(self, workload: str, text: str) -> None:
        from asyncio import get_running_loop

        self.stop()
        self._timer = get_running_loop().call_later(_LONG, self._say, f"workload {workload}: {text}", 0.0)

    def _say(self, what: str, since: float) -> None:
        from asyncio import get_running_loop

        if since:
            log.info("%s, for %.0f s so far", what, since)
        else:
            log.info("%s", what)
        self._timer = get_running_loop().call_later(_AGAIN, self._say, what, since + _AGAIN)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class _Bar:
    """Appears with the first component that is not in the cache; looking there takes no time."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._seen: list[str] = []
        self._progress: Any = None
        self._task: Any = None

    def update(self, workload: str, text: str) -> None:
        if workload not in self._seen:
            self._seen.append(workload)
        if self._progress is None:
            if not text.startswith("compiling"):
                return
            self._start()
        description = f"{workload}: {text}"
        done = len(self._seen) - 1
        self._progress.update(self._task, description=description, completed=done, refresh=True)

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
        from rich.progress import TimeElapsedColumn as Elapsed

        console = Console(stderr=True)
        text = TextColumn("{task.description}", markup=False)
        bar = BarColumn(bar_width=20)
        self._progress = Progress(
            SpinnerColumn(), bar, MofNCompleteColumn(), text, Elapsed(), console=console, transient=True
        )
        self._task = self._progress.add_task("", total=self._count)
        self._progress.start()

    def stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
