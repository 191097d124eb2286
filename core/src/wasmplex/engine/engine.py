"""The engine: compiles components, links them, and keeps the clock that guests run by."""

from __future__ import annotations

import hashlib
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

from wasmplex.component.images import without_images
from wasmplex.component.shape import Extern, InstanceType, Shape
from wasmplex.engine import images, proposals
from wasmplex.engine.accounts import LinearMemory, MemoryBudget, Tenant
from wasmplex.engine.ahead import Ahead, worth_it
from wasmplex.engine.cache import CodeCache
from wasmplex.engine.codec.layout import uncarried
from wasmplex.engine.compiled import Compiled
from wasmplex.engine.images import KEPT, KEPT_FEW, Image
from wasmplex.engine.leaving import Cancelling
from wasmplex.engine.linker import Linked, link
from wasmplex.engine.services import Services
from wasmplex.engine.settings import EngineSettings, check_python
from wasmplex.engine.sweeping import Report, Sweeper
from wasmplex.engine.ticker import Ticker
from wasmplex.engine.traps import innermost_cause
from wasmplex.engine.trimming import Trimming
from wasmplex.engine.turns import Turns
from wasmplex.engine.variants import Variant, check, variant_key
from wasmplex.engine.worker import Worker
from wasmplex.errors import ComponentError
from wasmplex.logs import get_logger
from wasmplex.plugins.limits import Limits
from wasmplex.wit.types import FuncType

if TYPE_CHECKING:
    from wasmplex.plugins.contracts import HostFunctions

__all__ = ["Engine", "Progress"]

_log = get_logger(__name__)

Progress = Callable[[str], None]
"""Is told what is being done, in a few words."""


class Engine:
    """Compiles and links components.

    Everything but compiling happens on the event loop's thread. Use it as an async context manager or call
    `close` when all instances have ended.

    :param report: is told what an object of the host raised when its instance ended; None to log it
    :param memory: what all instances may have together; None for as much as there is
    :raises wasmplex.errors.UsageError: on a Python that guests cannot be run on
    """

    def __init__(
        self,
        settings: EngineSettings | None = None,
        report: Report | None = None,
        memory: MemoryBudget | None = None,
    ) -> None:
        check_python(sys.version_info[:3], sys.implementation.name)
        self.settings = settings or EngineSettings()
        self.memory = memory or MemoryBudget()
        ticker, sweeper = Ticker(), Sweeper() if report is None else Sweeper(report)
        worker = Worker()
        trimming = Trimming(worker)
        self.services = Services(ticker, worker, sweeper, Cancelling(), trimming, Turns(ticker))
        weakref.finalize(self, self.services.ticker.close)
        weakref.finalize(self, self.services.worker.close, wait=False)
        self._variants: dict[bool, Variant] = {}
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
        self.services.close()

    async def swept(self) -> None:
        """Wait until what ended instances held has been dropped."""
        await self.services.cancelling.done()
        await self.services.sweeper.swept()

    # ------------------------------------------------------------ compile

    async def compile(
        self,
        wasm: bytes,
        shape: Shape,
        progress: Progress | None = None,
        *,
        mapped: bool = True,
        often: bool = False,
    ) -> Compiled:
        """Compile a component in another thread, or take it from the cache.

        One component is compiled once, however many ask for it at a time.

        :param shape: what `wasmplex.component.read` says about `wasm`
        :param progress: is told what is being done, in a few words
        :param mapped: whether large memories are mapped to what they begin with, instead of having it copied
        :param often: whether instances are made often: more of the large memories are kept then when
            instances end, and brought back to their first content for the next
        :raises wasmplex.errors.ComponentError: if wasmtime refuses it
        """
        digest = await anyio.to_thread.run_sync(_digest, wasm)
        contents: list[Image] = []
        if mapped and await anyio.to_thread.run_sync(images.possible):
            wasm, contents = await anyio.to_thread.run_sync(_with_images, wasm, KEPT if often else KEPT_FEW)
        # The images are what tells components apart that differ in their data alone.
        kept = f"{'-images' if contents else ''}{'-kept' if contents and often else ''}"
        key = f"{digest}{kept}", self._variant_name(shape)
        lock = self._locks.setdefault(key, anyio.Lock())
        async with lock:
            try:
                if (compiled := self._compiled.get(key)) is None:
                    tell = progress or (lambda text: None)
                    compiled = self._compiled[key] = await self._made(digest, wasm, contents, shape, tell)
                return compiled
            finally:
                if not lock.statistics().tasks_waiting:
                    self._locks.pop(key, None)

    def _variant_name(self, shape: Shape) -> str:
        return variant_key(self.settings.proposals, concurrency=_needs_concurrency(shape))

    async def _made(
        self, digest: str, wasm: bytes, contents: Sequence[Image], shape: Shape, tell: Progress
    ) -> Compiled:
        """Compile a component, or take it from the cache.

        :param digest: of the whole component; `wasm` may have had `contents` taken out
        """
        if contents:
            digest = await anyio.to_thread.run_sync(_digest, wasm)
        name = f"{digest}-{self._variant_name(shape)}"
        variant = await self._variant(contents, _needs_concurrency(shape))
        try:
            component = await self._component(wasm, name, variant, shape, tell)
            compiled = Compiled(self.services, variant, component, shape, len(wasm))
        except BaseException:
            if contents:
                self.services.ticker.remove(variant.engine)
            raise
        if contents:
            weakref.finalize(compiled, self.services.ticker.remove, variant.engine)
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

    async def _variant(self, contents: Sequence[Image], concurrency: bool) -> Variant:
        """Return the engine for a component.

        :param contents: images of its memories; with any, the engine is for this component alone
        """
        chosen = self.settings.proposals
        if contents or concurrency not in self._variants:
            await anyio.to_thread.run_sync(partial(check, chosen, concurrency=concurrency))
        if not contents and concurrency in self._variants:
            return self._variants[concurrency]
        made = Variant.new(chosen, concurrency=concurrency, images=contents)
        self.services.ticker.add(made.engine, made)
        if not contents:
            self._variants[concurrency] = made
        return made

    # ------------------------------------------------------------ link

    def link(
        self,
        compiled: Compiled,
        imports: Mapping[str, HostFunctions | Any],
        workload: str,
        limits: Limits | None = None,
        tenant: Tenant | None = None,
        locate: Callable[[Sequence[LinearMemory]], LinearMemory] | None = None,
    ) -> Linked:
        """Link a component to the functions that serve its imports.

        :param imports: the functions of each imported instance by the import's name as in the binary (its
            label, or its interface id); a function imported by the component's root stands under its own
            name, or in the mapping under ``""``
        :param workload: the name that errors give
        :param limits: what each instance may take; None for the defaults
        :param tenant: whose memory its instances take; None for books of its own
        :param locate: finds the guest's own memory among those of an instance, for functions with bytes in
            place
        :raises wasmplex.errors.LinkError: naming everything that does not fit
        """
        linked = link(compiled, imports, workload, limits or Limits(), tenant or self.memory.tenant())
        linked.locate = locate
        return linked

    async def ahead(self, linked: Linked) -> Ahead | None:
        """Return what makes instances ahead of calls; None if that does not pay, or cannot be."""
        return Ahead(linked, self.services.worker) if await worth_it(linked) else None


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


def _with_images(wasm: bytes, keep: int) -> tuple[bytes, list[Image]]:
    """Return a component without the data of large memories, and their images; unchanged if that fails."""
    left, contents = without_images(wasm)
    try:
        return left, [Image(content, keep) for content in contents]
    except (MemoryError, OSError) as error:
        _log.warning("large memories are copied for every instance: %s", error)
        return wasm, []


def _digest(wasm: bytes) -> str:
    return hashlib.sha256(wasm).hexdigest()


def _compile(engine: wasmtime.Engine, wasm: bytes, not_on: Sequence[str]) -> Component:
    try:
        return Component(engine, wasm)
    except wasmtime.WasmtimeError as error:
        why = innermost_cause(str(error))
        raise ComponentError(
            "wasmtime cannot compile this component", why=why, fix=proposals.hint(why, not_on)
        ) from error
