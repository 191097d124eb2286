"""The pool of open backends: one for each provider and settings, however many bindings ask for it.

How it works:

- Each open backend lives in a task of its own, which opens it, waits, and closes it. So a caller that is
  cancelled while it waits does not take the opening away from the others that wait for the same backend, and
  a backend may hold cancel scopes and task groups of its own between `open` and `close`.
- That task has one cancel scope whose deadline is set for opening, lifted, and set again for closing.
- Everything that changes who may have what is synchronous: there is no await between looking at an entry and
  counting oneself in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import ExitStack, asynccontextmanager, nullcontext
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
from anyio.abc import TaskGroup

from wasmplex.backends.health import Voice, watch_over
from wasmplex.backends.rereading import Reread, Rereading
from wasmplex.backends.statistics import Counts, PoolStatistics
from wasmplex.errors import BackendError, Diagnostic
from wasmplex.logs import get_logger
from wasmplex.plugins.backends import Backend, BackendProvider, OpenContext
from wasmplex.plugins.circuit import Circuit
from wasmplex.plugins.secrecy import secrets_of
from wasmplex.redaction import KNOWN, Redactor
from wasmplex.settings import Settings

__all__ = ["BackendPool"]

logger = get_logger("wasmplex.backends")

_GRACE = 1.0
"""Seconds that a closing backend is waited for after it was told to give up."""


class _Entry:
    """One backend: opening, open or closing, and how many bindings hold it."""

    def __init__(
        self,
        provider: BackendProvider[Any],
        settings: Settings,
        hidden: Collection[str],
        reread: Reread | None,
    ) -> None:
        self.provider = provider
        self.settings = settings
        self.bindings = 0
        self.backend: Backend | None = None
        self.failure: tuple[Diagnostic, ...] = ()
        self.ending = False
        self.idle_since = inf  # when the last binding went, if it is kept open without any
        self.circuit = Circuit()
        self.redactor = Redactor(secrets_of(provider, settings, hidden))
        self.known = ExitStack()  # the secrets that the log has to know
        self.known.enter_context(KNOWN.holding(secrets_of(provider, settings)))
        self.rereading = Rereading(settings, reread, self._changed)
        self.holders: Counter[str] = Counter()
        self.scope = anyio.CancelScope()
        self.ready = anyio.Event()  # open, or failed to
        self.unwanted = anyio.Event()  # the last binding is gone
        self.gone = anyio.Event()  # closed

    @property
    def voice(self) -> Voice:
        """How the log speaks of it."""
        holders = lambda: sorted(filter(None, +self.holders))  # noqa: E731
        return Voice(self.provider.name, holders, lambda text: self.redactor.text(text))

    def _changed(self, fresh: Settings) -> None:
        secrets = secrets_of(self.provider, fresh)
        self.redactor = Redactor(self.redactor.secrets | secrets)
        self.known.enter_context(KNOWN.holding(secrets))
        self.voice.say(": its settings have changed, and were read again")

    def is_for(self, provider: BackendProvider[Any], settings: Settings) -> bool:
        return (
            _same(self.provider, provider)
            and type(self.settings) is type(settings)
            and self.settings == settings
        )


def _same(one: BackendProvider[Any], other: BackendProvider[Any]) -> bool:
    """Say whether two providers are one: a configuration that is read again has them made again."""
    alike = type(one) is type(other) and one.name == other.name
    return alike and getattr(one, "__dict__", one) == getattr(other, "__dict__", other)


class BackendPool:
    """Opens backends, shares them between bindings and closes them.

    :param base: the directory of the configuration, where relative paths in settings start
    :param open_timeout: seconds that a backend may take to open
    :param close_timeout: seconds that a backend may take to close; after them it is cancelled
    :param idle_ttl: seconds that a backend stays open without a binding; 0: it is closed with the last one
    :param max_idle: how many backends of one provider may stay open without a binding; the one that was
        idle longest is closed
    """

    def __init__(
        self,
        base: Path,
        *,
        open_timeout: float = 10.0,
        close_timeout: float = 10.0,
        idle_ttl: float = 0.0,
        max_idle: int = 8,
    ) -> None:
        self._base = base
        self._open_timeout = open_timeout
        self._close_timeout = close_timeout
        self._idle_ttl = idle_ttl
        self._max_idle = max_idle
        self._entries: list[_Entry] = []
        self._counts = Counts()
        self._tasks: TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close everything, whoever still holds it."""
        tasks, self._tasks = self._tasks, None
        for entry in list(self._entries):
            self._dismiss(entry)
        if tasks is not None:
            # Without the error, for the task group would wrap it: it is the caller's, and none of ours.
            await tasks.__aexit__(None, None, None)

    def configure(self, *, idle_ttl: float, max_idle: int) -> None:
        """Take other settings, for what comes idle from now on; see the class."""
        self._idle_ttl = idle_ttl
        self._max_idle = max_idle

    def __repr__(self) -> str:
        total = self.statistics().total
        opening = sum(not entry.ready.is_set() for entry in self._entries)
        return f"<BackendPool open={total.open} opening={opening} bindings={total.bindings}>"

    def statistics(self) -> PoolStatistics:
        """Return how many backends are open and what happened so far."""
        return self._counts.statistics(self._entries)

    @asynccontextmanager
    async def lease(
        self,
        provider: BackendProvider[Any],
        settings: Settings,
        *,
        where: str = "",
        plugin: str = "",
        hidden: Collection[str] = (),
        holder: str = "",
        reread: Reread | None = None,
    ) -> AsyncIterator[Backend]:
        """Hold a backend for one binding; opened by the first that asks, closed with the last.

        :param where: the binding's place, for error messages
        :param plugin: who brought the provider, for error messages
        :param hidden: texts that must not be printed, besides the secret fields of `settings`
        :param holder: whose binding it is, ``shop/cache``, for the log
        :param reread: reads the settings again, for a server that refuses
        :raises wasmplex.errors.BackendError: if it cannot be opened; the next one that asks tries again
        """
        entry = await self._join(provider, settings, where, hidden, reread)
        entry.holders[holder] += 1
        try:
            yield await self._opened(entry, where, plugin)
        finally:
            entry.holders[holder] -= 1
            await self._leave(entry)

    # ------------------------------------------------------------ the bindings' side

    async def _join(
        self,
        provider: BackendProvider[Any],
        settings: Settings,
        where: str,
        hidden: Collection[str],
        reread: Reread | None,
    ) -> _Entry:
        while True:
            if self._tasks is None:
                what = f"backend {provider.name!r} cannot be opened"
                raise BackendError(what, where=where, why="the pool is closed")
            entry = next((e for e in self._entries if e.is_for(provider, settings)), None)
            if entry is None:
                entry = _Entry(provider, settings, hidden, reread)
                self._entries.append(entry)
                self._tasks.start_soon(self._own, entry, name=f"backend {provider.name}")
            elif entry.ending:  # wait until it is closed: two of them at once might not get along
                await entry.gone.wait()
                continue
            else:
                self._counts.add(entry, "shared")
            entry.bindings += 1
            entry.idle_since = inf
            return entry

    async def _opened(self, entry: _Entry, where: str, plugin: str) -> Backend:
        await entry.ready.wait()
        if entry.backend is not None:
            return entry.backend
        place = "; ".join(filter(None, (where, plugin)))
        raise BackendError([Diagnostic(d.what, d.where or place, d.why, d.fix) for d in entry.failure])

    async def _leave(self, entry: _Entry) -> None:
        entry.bindings -= 1
        if entry.bindings:
            return
        if self._idle_ttl > 0 and entry.backend is not None and not entry.ending and self._tasks is not None:
            entry.idle_since = anyio.current_time()
            self._tasks.start_soon(self._expire, entry, entry.idle_since, name="idle backend")
            self._evict(entry.provider)
            return
        self._dismiss(entry)
        with anyio.move_on_after(self._close_timeout + _GRACE, shield=True):
            await entry.gone.wait()

    async def _expire(self, entry: _Entry, idle_since: float) -> None:
        with anyio.move_on_after(self._idle_ttl):
            await entry.unwanted.wait()
        if entry.idle_since == idle_since:
            self._dismiss(entry)

    def _evict(self, provider: BackendProvider[Any]) -> None:
        """Close the backends of a provider that are idle longest, but for as many as may be."""
        idle = [e for e in self._entries if _same(e.provider, provider)]
        idle = [e for e in idle if e.idle_since < inf and not e.ending]
        idle.sort(key=lambda entry: entry.idle_since)
        for entry in idle[: max(0, len(idle) - self._max_idle)]:
            self._dismiss(entry)

    def _dismiss(self, entry: _Entry) -> None:
        entry.ending = True
        entry.unwanted.set()
        if not entry.ready.is_set():
            entry.scope.cancel()

    # ------------------------------------------------------------ the backend's side

    async def _own(self, entry: _Entry) -> None:
        """Open a backend, keep it until nobody wants it, and close it."""
        try:
            with entry.scope, entry.known:
                backend = await self._open(entry)
                if backend is not None:
                    try:
                        if self._publish(entry, backend):
                            await _watched(entry, backend)
                    finally:
                        await self._close(entry, backend)
        finally:
            if not entry.ready.is_set() and not entry.failure:
                entry.failure = _cannot(entry, "it was cancelled")
            entry.ending = True
            self._entries.remove(entry)
            self._counts.add(entry, "outages", entry.circuit.opened)
            entry.ready.set()
            entry.gone.set()

    async def _open(self, entry: _Entry) -> Backend | None:
        context = OpenContext(self._base, entry.provider.name, entry.rereading.now)
        entry.scope.deadline = anyio.current_time() + self._open_timeout
        try:
            backend: object = await entry.provider.open(entry.settings, context)
        except anyio.get_cancelled_exc_class():
            if anyio.current_time() >= entry.scope.deadline:
                self._too_slow(entry)
            raise
        except BackendError as error:
            self._fail(entry, tuple(entry.redactor.diagnostic(d) for d in error.diagnostics))
        except (Exception, SystemExit) as error:  # noqa: BLE001  drivers raise whatever they like
            self._fail(entry, _cannot(entry, entry.redactor.error(error)))
        else:
            if isinstance(backend, Backend):
                return backend
            self._fail(entry, _cannot(entry, f"its open() returned {type(backend).__name__}, not a Backend"))
        return None

    def _publish(self, entry: _Entry, backend: Backend) -> bool:
        """Let the bindings have a backend; False if it came too late, and nobody must see it."""
        if entry.scope.cancel_called:
            if anyio.current_time() >= entry.scope.deadline:
                self._too_slow(entry)
            return False
        entry.scope.deadline = inf
        entry.backend = backend
        backend.circuit = entry.circuit
        self._counts.add(entry, "opened")
        entry.ready.set()
        return True

    async def _close(self, entry: _Entry, backend: Backend) -> None:
        published = entry.backend is not None
        entry.ending, entry.backend = True, None
        deadline = anyio.current_time() + self._close_timeout
        entry.scope.shield, entry.scope.deadline = True, deadline
        # A scope that was cancelled stays so; only then is one of its own needed.
        own = (
            anyio.CancelScope(shield=True, deadline=deadline) if entry.scope.cancel_called else nullcontext()
        )
        try:
            with own:
                await self._shut(entry, backend)
        finally:
            if published:
                self._counts.add(entry, "closed")

    async def _shut(self, entry: _Entry, backend: Backend) -> None:
        name = entry.provider.name
        try:
            await backend.close()
        except anyio.get_cancelled_exc_class():
            logger.warning("backend %s was not closed within %g s", name, self._close_timeout)
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001  the others are to be closed as well
            text = entry.redactor.error(error)
            logger.warning("backend %s failed to close: %s", name, text)

    def _too_slow(self, entry: _Entry) -> None:
        why = f"no answer within {self._open_timeout:g} s"
        self._fail(entry, _cannot(entry, why, "check that it is up and its address is right"))

    def _fail(self, entry: _Entry, failure: tuple[Diagnostic, ...]) -> None:
        self._counts.add(entry, "failed")
        entry.failure = failure


async def _watched(entry: _Entry, backend: Backend) -> None:
    """Watch over a backend until nobody wants it."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch_over, backend, entry.circuit, entry.voice)
        await entry.unwanted.wait()
        tasks.cancel_scope.cancel()


def _cannot(entry: _Entry, why: str, fix: str = "") -> tuple[Diagnostic, ...]:
    return (Diagnostic(f"backend {entry.provider.name!r} cannot be opened", why=why, fix=fix),)
