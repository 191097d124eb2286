"""A capability as a third party brings it: contract, two backends, interface, trigger; `kit` is beside it."""

from __future__ import annotations

import asyncio
import json
from abc import abstractmethod
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import wasmplex.plugin as wp
from anyio.abc import TaskStatus
from wasmplex.capabilities.errors import CapabilityError, ErrorCases


class CounterError(CapabilityError):
    """Base of what a guest may be told."""


class Late(CounterError):
    case, summary = "late", "no answer in time"


class Gone(CounterError):
    case, summary, unavailable = "gone", "not there", True


class Full(CounterError):
    case, summary = "full", "no room"


class Failed(CounterError):
    case, summary = "failed", "failed"


CASES = ErrorCases("counter", CounterError, Late, Gone, Full, Failed, Failed)


class Change(NamedTuple):
    name: str
    total: int


class Counter(wp.Backend):
    """The contract. Names of different namespaces are apart."""

    capability = "counter"
    features: frozenset[str] = frozenset()

    @abstractmethod
    async def add(self, namespace: str, name: str, by: int) -> int:
        """Add and return the total; past a u64: `Full`."""

    @abstractmethod
    async def total(self, namespace: str, name: str) -> int:
        """Return the total, 0 for what was never counted."""

    @abstractmethod
    def history(self, namespace: str, name: str) -> AsyncIterator[int]:
        """Yield every total that there was, the oldest first."""

    def changes(self, namespace: str) -> AsyncIterator[Change]:
        """Yield what changes from now on. Feature ``changes``."""
        raise Failed("this backend does not support changes")


# ---------------------------------------------------------------- two backends


class Tally(Counter):
    features = frozenset({"changes"})

    def __init__(self) -> None:
        self.totals: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self.listening: list[tuple[str, asyncio.Queue[Change]]] = []

    async def add(self, namespace: str, name: str, by: int) -> int:
        if (total := await self.total(namespace, name) + by) >= 2**64:
            raise Full(f"{name} would leave the range")
        self.totals[namespace, name].append(total)
        for _, queue in (own for own in self.listening if own[0] == namespace):
            queue.put_nowait(Change(name, total))
        return total

    async def total(self, namespace: str, name: str) -> int:
        return (self.totals.get((namespace, name)) or [0])[-1]

    async def history(self, namespace: str, name: str) -> AsyncIterator[int]:
        for total in self.totals.get((namespace, name), []):
            yield total

    async def changes(self, namespace: str) -> AsyncIterator[Change]:
        self.listening.append(own := (namespace, asyncio.Queue[Change]()))
        try:
            while True:
                yield await own[1].get()
        finally:
            self.listening.remove(own)

    async def close(self) -> None:
        self.totals.clear()


class Ledger(Tally):
    """Keeps the counts in a file that is only appended to."""

    features, changes = frozenset(), Counter.changes

    def __init__(self, path: anyio.Path, lines: list[str]) -> None:
        super().__init__()
        self.path = path
        for namespace, name, total in map(json.loads, lines):
            self.totals[namespace, name].append(total)

    async def add(self, namespace: str, name: str, by: int) -> int:
        total = await super().add(namespace, name, by)
        async with await self.path.open("a") as file:
            await file.write(json.dumps([namespace, name, total]) + "\n")
        return total


class TallySettings(wp.Settings):
    per_worker: bool = False


class TallyProvider(wp.BackendProvider[TallySettings]):
    name, capability, settings, features = "tally", "counter", TallySettings, Tally.features
    durability, in_process, per_worker = "until the host process ends", True, "per_worker"

    async def open(self, settings: TallySettings, context: wp.OpenContext) -> Counter:
        return Tally()


class LedgerSettings(wp.Settings):
    path: Path = Path("counts.jsonl")


class LedgerProvider(wp.BackendProvider[LedgerSettings]):
    name, capability, settings, durability = "ledger", "counter", LedgerSettings, "a crash of the process"

    async def open(self, settings: LedgerSettings, context: wp.OpenContext) -> Counter:
        path = anyio.Path(context.base / settings.path)
        return Ledger(path, (await path.read_text()).splitlines() if await path.exists() else [])


# ---------------------------------------------------------------- the interface


class Counting:
    """One binding, as guests see it."""

    def __init__(self, backend: Counter, namespace: str, dialect: wp.Dialect, timeout: float = 5.0) -> None:
        self.guard = wp.Guard(CASES, dialect, timeout=timeout, circuit=backend.circuit)
        self.backend, self.namespace = backend, namespace

    @wp.operation("add", "counter", returns=int)
    def add(self, name: str, by: int) -> Coroutine[Any, Any, int]:
        return self.backend.add(self.namespace, name, by)

    @wp.operation("total", "counter", returns=int)
    def total(self, name: str) -> Coroutine[Any, Any, int]:
        return self.backend.total(self.namespace, name)

    @wp.stream("history", "counter")
    async def history(self, name: str) -> AsyncIterator[list[int]]:
        async for total in self.backend.history(self.namespace, name):
            yield [total]


class CounterInterface(wp.InterfaceProvider, wp.BoundInterfaces):
    package, version, interfaces = "acme:counter", "0.1.0", frozenset({"counter"})
    capability, settings = "counter", wp.PolicySettings

    def bind(self, workload: wp.WorkloadContext) -> AbstractAsyncContextManager[wp.BoundInterfaces]:
        return nullcontext(self)

    def serve(self, request: wp.ImportRequest) -> wp.HostFunctions:
        settings: Any = request.settings
        assert isinstance(request.backend, Counter)
        one = Counting(request.backend, settings.namespace or request.namespace, said, settings.timeout)
        return {"add": one.add, "total": one.total, "history": one.history}


def said(name: str, error: CounterError) -> Exception:
    return wp.Err(f"{error.case}: {error}")


# ---------------------------------------------------------------- the trigger


class CountSettings(wp.Settings):
    label: str | None = None


class CountTrigger(wp.Trigger):
    """Tells components of what is counted, by whomever."""

    name, settings, capability = "count", CountSettings, "counter"

    def source(self, settings: CountSettings, export: wp.Export) -> wp.Source:
        if settings.label is None:
            return wp.OwnBackend(frozenset({"changes"}))
        return wp.Through("acme:counter/counter", settings.label, frozenset({"changes"}))

    def start(self, bindings: Sequence[wp.TriggerBinding], settings: Any, sockets: Any) -> wp.RunningTrigger:
        return RunningCount(bindings)


class RunningCount(wp.RunningTrigger):
    def __init__(self, bindings: Sequence[wp.TriggerBinding]) -> None:
        self.bindings, self.scope = bindings, anyio.CancelScope()

    async def serve(self, *, task_status: TaskStatus[Mapping[str, Any]]) -> None:
        with self.scope:
            async with anyio.create_task_group() as tasks:
                for binding in self.bindings:
                    tasks.start_soon(self.tell, binding)
                task_status.started({"counting": len(self.bindings)})

    async def tell(self, binding: wp.TriggerBinding) -> None:
        source: Any = binding.source
        async for change in source.backend.changes(source.namespace):
            async with binding.workload.instance() as instance:
                await binding.handler(instance, change)

    async def drain(self) -> None:
        self.scope.cancel()


class Listener(wp.ExportAdapter):
    trigger, interface = "count", "acme:counter/listener@0.1.0"

    def adapt(self, export: wp.Export) -> Callable[..., Awaitable[Any]]:
        return lambda instance, change: instance.call(f"{export.name}#on-count", change.name, change.total)


class Plugin:
    @wp.hookimpl
    def wasmplex_backends(self) -> list[wp.BackendProvider[Any]]:
        return [TallyProvider(), LedgerProvider()]

    @wp.hookimpl
    def wasmplex_interfaces(self) -> list[wp.InterfaceProvider]:
        return [CounterInterface()]

    @wp.hookimpl
    def wasmplex_triggers(self) -> list[wp.Trigger]:
        return [CountTrigger()]

    @wp.hookimpl
    def wasmplex_export_adapters(self) -> list[wp.ExportAdapter]:
        return [Listener()]
