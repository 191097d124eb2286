"""The engine: compiles components, links them, and keeps the clock that guests run by."""

from __future__ import annotations

import hashlib
import logging
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio
import anyio.to_thread
import wasmtime
from wasmtime.component import Component

from wasmplex.component.shape import Extern, InstanceType, Shape
from wasmplex.engine import proposals
from wasmplex.engine.ahead import Ahead, fits, worth_it
from wasmplex.engine.cache import CodeCache
from wasmplex.engine.codec.layout import uncarried
from wasmplex.engine.compiled import Compiled
from wasmplex.engine.linker import Linked, link
from wasmplex.engine.settings import EngineSettings, check_python
from wasmplex.engine.slots import Slots
from wasmplex.engine.ticker import Ticker
from wasmplex.engine.traps import innermost_cause
from wasmplex.engine.variants import Variant, check
from wasmplex.engine.worker import Worker
from wasmplex.errors import ComponentError
from wasmplex.wit.types import FuncType

if TYPE_CHECKING:
    from wasmplex.plugins.contracts import HostFunctions

__all__ = ["Engine", "Progress"]

_log = logging.getLogger(__name__)

Progress = Callable[[str], None]
"""Is told what is being done, in a few words."""


class Engine:
    """Compiles and links components.

    Everything but compiling happens on the event loop's thread. Use it as an async context manager or call
    `close` when all instances have ended.

    :raises wasmplex.errors.UsageError: on a Python that guests cannot be run on
    """

    def __init__(self, settings: EngineSettings | None = None) -> None:
        check_python(sys.version_info[:3], sys.implementation.name)
        self.settings = settings or EngineSettings()
        self.ticker = Ticker()
        weakref.finalize(self, self.ticker.close)
        self.worker = Worker()
        weakref.finalize(self, self.worker.close, wait=False)
        self._variants: dict[tuple[bool, bool, bool], Variant] = {}
        self._cache = CodeCache(self.settings.cache_dir) if self.settings.use_cache else None
        self._compiled: weakref.WeakValueDictionary[tuple[str, str], Compiled] = weakref.WeakValueDictionary()
        self._locks: dict[tuple[str, str], anyio.Lock] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the threads. Instances must have been closed before."""
        self.worker.close()
        self.ticker.close()

    # ------------------------------------------------------------ compile

    async def compile(
        self, wasm: bytes, shape: Shape, progress: Progress | None = None, *, host_memory: bool = False
    ) -> Compiled:
        """Compile a component in another thread, or take it from the cache.

        One component is compiled once, however many ask for it at a time.

        :param shape: what `wasmplex.component.read` says about `wasm`
        :param progress: is told what is being done, in a few words
        :param host_memory: True to let the host see the memories of instances (`Instance.memories`); such
            instances are made more slowly, since memory images are copied instead of mapped
        :raises wasmplex.errors.ComponentError: if wasmtime refuses it
        """
        tell = progress or (lambda text: None)
        variant = await self._variant(concurrency=_needs_concurrency(shape), host_memory=host_memory)
        digest = await anyio.to_thread.run_sync(_digest, wasm)
        key = (digest, variant.key)
        lock = self._locks.setdefault(key, anyio.Lock())
        async with lock:
            try:
                if (found := self._compiled.get(key)) is not None:
                    return found
                name = f"{digest}-{variant.key}"
                component = await self._component(wasm, name, variant, shape, tell)
            finally:
                if not lock.statistics().tasks_waiting:
                    self._locks.pop(key, None)
            compiled = Compiled(self, variant, component, shape, len(wasm), name)
            self._compiled[key] = compiled
            return compiled

    async def _component(
        self, wasm: bytes, name: str, variant: Variant, shape: Shape, tell: Progress
    ) -> Component:  # fmt: skip
        # Given up, a thread goes on to its end: what it compiled is then at least in the cache.
        in_thread = partial(anyio.to_thread.run_sync, abandon_on_cancel=True)
        if self._cache is not None:
            tell("looking for compiled code")
            if (found := await in_thread(self._cache.load, name, variant.handle)) is not None:
                return found
        tell(f"compiling {len(wasm) / 2**20:.1f} MiB")
        make = partial(_compile, variant.handle, wasm, self._not_switched_on(shape))
        if self._cache is None:
            return await in_thread(make)
        return await in_thread(self._cache.build, name, variant.handle, make)

    def _not_switched_on(self, shape: Shape) -> list[str]:
        on = {name for name, switched_on in self.settings.proposals.items() if switched_on}
        return sorted(shape.proposals - {proposals.ALWAYS} - on)

    async def _variant(self, *, concurrency: bool, host_memory: bool, in_slots: bool = False) -> Variant:
        key, chosen = (concurrency, host_memory, in_slots), self.settings.proposals
        if key not in self._variants:
            await anyio.to_thread.run_sync(partial(check, chosen, concurrency=concurrency))
        if key not in self._variants:  # another task may have been faster
            made = Variant.new(chosen, concurrency=concurrency, host_memory=host_memory, in_slots=in_slots)
            self.ticker.add(made.engine, made)
            self._variants[key] = made
        return self._variants[key]

    async def _in_slots(self, compiled: Compiled, workload: str) -> Compiled | None:
        """Return the same code for an engine with slots; None if the component does not fit into one."""
        concurrency = _needs_concurrency(compiled.shape)
        variant = await self._variant(concurrency=concurrency, host_memory=False, in_slots=True)
        component = None
        if self._cache is not None:
            component = await anyio.to_thread.run_sync(self._cache.share, compiled.name, variant.handle)
        try:
            if component is None:
                component = await anyio.to_thread.run_sync(compiled.copy, variant.handle)
        except wasmtime.WasmtimeError as error:
            _log.debug("workload %s: instances cannot live in slots: %s", workload, error)
            return None
        return Compiled(self, variant, component, compiled.shape, compiled.size, compiled.name)

    # ------------------------------------------------------------ link

    def link(self, compiled: Compiled, imports: Mapping[str, HostFunctions | Any], workload: str) -> Linked:
        """Link a component to the functions that serve its imports.

        :param imports: the functions of each imported instance by the import's name as in the binary (its
            label, or its interface id); a function imported by the component's root stands under its own
            name, or in the mapping under ``""``
        :param workload: the name that errors give
        :raises wasmplex.errors.LinkError: naming everything that does not fit
        """
        return link(compiled, imports, workload)

    async def ahead(
        self, linked: Linked, imports: Mapping[str, HostFunctions | Any], memory_limit: int
    ) -> Ahead | None:
        """Return what makes instances ahead of calls; None if that does not pay, or cannot be.

        :param imports: what `linked` was linked to
        :param memory_limit: see `Linked.instantiate`
        """
        name = linked.workload
        if not await worth_it(linked.compiled, memory_limit, name):
            return None
        slotted = None
        if await anyio.to_thread.run_sync(Slots.possible):
            in_slots = await self._in_slots(linked.compiled, name)
            if in_slots is not None and await fits(in_slots, memory_limit, name):
                slotted = link(in_slots, imports, name)
        return Ahead(linked, slotted, memory_limit, self.worker)


def _needs_concurrency(shape: Shape) -> bool:
    if any("async" in name for name in shape.proposals):
        return True
    externs = [*(item.type for item in shape.imports), *(item.type for item in shape.exports)]
    return any(_is_async(function) for extern in externs for function in _functions(extern))


def _functions(extern: Extern) -> list[FuncType]:
    if isinstance(extern, FuncType):
        return [extern]
    return list(extern.functions.values()) if isinstance(extern, InstanceType) else []


def _is_async(type: FuncType) -> bool:
    types = [*(param.type for param in type.params), *([] if type.result is None else [type.result])]
    return type.is_async or any(uncarried(part) is not None for part in types)


def _digest(wasm: bytes) -> str:
    return hashlib.sha256(wasm).hexdigest()


def _compile(engine: wasmtime.Engine, wasm: bytes, not_on: Sequence[str]) -> Component:
    try:
        return Component(engine, wasm)
    except wasmtime.WasmtimeError as error:
        names = ", ".join(not_on)
        raise ComponentError(
            "wasmtime cannot compile this component",
            why=innermost_cause(str(error)),
            fix=f"switch on the wasm proposals that it uses: {names}" if names else "",
        ) from error
