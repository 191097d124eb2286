"""Reaching a backend as a guest does: through a host, a component and ``wasi:keyvalue``.

The components (``guests/``, their sources in ``tests/guests``) do one operation a call, so a call made here
passes the guest's side of the canonical ABI, the import, the interface, the policy and the backend.
"""

# The methods of a bucket are those of `wasmplex.capabilities.keyvalue`, documented there.
# ruff: noqa: D102

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, ClassVar, Self, get_args

import anyio
from anyio.abc import TaskGroup, TaskStatus

from wasmplex.bridge import TransportName
from wasmplex.capabilities.keyvalue import Bucket, Entry, KeyValueBackend, KeyValueError, Page, Stale, Swapped
from wasmplex.config.model import BindingConfig, EngineConfig, HostConfig, Location, Table, WorkloadConfig
from wasmplex.host import Host
from wasmplex.interfaces.keyvalue_policy import KeyValueSettings, Scope
from wasmplex.plugins.contracts import Backend, BackendProvider, OpenContext
from wasmplex.settings import Settings
from wasmplex.testing.doubles import plugin
from wasmplex.testing.keyvalue.driver import Driver, Refused, Store
from wasmplex.values import Err, Variant

__all__ = ["GuestDriver", "GuestHandle", "LabelledGuestDriver", "by_transport"]


class GuestDriver(Driver):
    """Through a guest that imports store, atomics and batch without labels."""

    expresses = frozenset({"increment", "batch"})
    requires = frozenset({"increment"})  # it imports atomics, which a host binds to no lesser backend
    component: ClassVar[str] = "keyvalue.wasm"
    package: ClassVar[str] = "wasi:keyvalue"
    labels: ClassVar[tuple[str | None, ...]] = (None,)
    transport: ClassVar[str] = "auto"

    def __init__(self, backend: KeyValueBackend) -> None:
        super().__init__(backend)
        self._tasks: TaskGroup | None = None
        self._stores: dict[tuple[Scope, KeyValueSettings], Store] = {}

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close the hosts."""
        tasks, self._tasks = self._tasks, None
        assert tasks is not None
        tasks.cancel_scope.cancel()
        await tasks.__aexit__(None, None, None)

    async def store(self, scope: Scope, settings: KeyValueSettings) -> Store:
        """Return a guest with one binding, in a host of its own; the same for the same binding."""
        assert self._tasks is not None, "the driver is not open"
        if (scope, settings) not in self._stores:
            with as_file(files("wasmplex.testing") / "guests" / self.component) as component:
                config = self._config(component, scope, settings)
                host: Host = await self._tasks.start(self._run, config, _Opened(self.backend))
            self._stores[scope, settings] = _GuestStore(host, scope.workload, self.handle)
        return self._stores[scope, settings]

    @property
    def handle(self) -> type[GuestHandle]:
        """How a bucket of this guest is used."""
        return GuestHandle

    async def _run(self, config: HostConfig, provider: _Opened, *, task_status: TaskStatus[Host]) -> None:
        """Keep a host open in a task of its own: whoever asks for a store need not be there at its end."""
        async with Host(config, plugins=[plugin(provider)], environ={}) as host:
            task_status.started(host)
            await anyio.sleep_forever()

    def _config(self, component: Path, scope: Scope, settings: KeyValueSettings) -> HostConfig:
        table = settings.model_dump(exclude_unset=True) | {"namespace": scope.namespace}
        bindings = tuple(
            BindingConfig(
                label=label,
                package=self.package,
                version=None,
                interfaces=None,
                backend=_Opened.name,
                from_=None,
                settings=Table(table),
            )
            for label in self.labels
        )
        place = Location("kit.toml", 1, f"workload.{scope.workload}")
        workload = WorkloadConfig(scope.workload, component, place, bindings=bindings)
        engine = EngineConfig(transport=self.transport)
        return HostConfig(Path("kit.toml"), engine=engine, workloads={scope.workload: workload})


class LabelledGuestDriver(GuestDriver):
    """Through a guest that imports the store under a label; atomics and batch have buckets of their own."""

    expresses = frozenset()
    requires = frozenset()
    component = "keyvalue-labelled.wasm"
    labels = ("kit",)

    @property
    def handle(self) -> type[GuestHandle]:
        """How a bucket of this guest is used."""
        return _LabelledHandle


def by_transport(*drivers: type[GuestDriver]) -> tuple[type[GuestDriver], ...]:
    """Return each driver once for each way in which bytes cross to and from its guest."""
    return tuple(
        type(
            f"{driver.__name__.removesuffix('Driver')}By{transport.title()}Driver",
            (driver,),
            {"transport": transport},
        )
        for driver in drivers
        for transport in get_args(TransportName)
    )


class _Opened(BackendProvider[Settings]):
    """Gives the host a backend that is open already, and stays so."""

    name = "under-test"
    capability = "keyvalue"

    def __init__(self, backend: KeyValueBackend) -> None:
        self._backend = backend
        vars(self)["features"] = backend.features

    async def open(self, settings: Settings, context: OpenContext) -> Backend:
        return _Borrowed(self._backend)


class _Borrowed(KeyValueBackend):
    """A backend that somebody else closes."""

    def __init__(self, inner: KeyValueBackend) -> None:
        self.features = inner.features
        self.open_bucket = inner.open_bucket  # type: ignore[method-assign]
        self.has_bucket = inner.has_bucket  # type: ignore[method-assign]

    async def open_bucket(self, namespace: str, name: str) -> Bucket:
        raise NotImplementedError

    async def has_bucket(self, namespace: str, name: str) -> bool:
        raise NotImplementedError

    async def close(self) -> None:
        pass


class _GuestStore:
    """One guest, and through it one binding."""

    def __init__(self, host: Host, workload: str, handle: type[GuestHandle]) -> None:
        self._host = host
        self._workload = workload
        self._handle = handle

    async def open(self, identifier: str) -> GuestHandle:
        bucket = self._handle(self, identifier)
        await self.call("forward#open", identifier)
        return bucket

    async def call(self, function: str, *args: Any) -> Any:
        try:
            return await self._host.call(self._workload, f"tests:guests/{function}", *args)
        except Err as error:
            raise _refused(error.value) from error


def _refused(error: Any) -> Refused:
    """Read back what the draft says in words."""
    assert isinstance(error, Variant)
    text = error.value or ""
    for kind in KeyValueError.__subclasses__():
        if text.startswith(f"{kind.summary}: "):
            return Refused(kind.case, text.removeprefix(f"{kind.summary}: "))
    return Refused(error.tag, text)


class GuestHandle:
    """A bucket, which the guest opens anew for every operation."""

    def __init__(self, store: _GuestStore, name: str) -> None:
        self._store = store
        self._name = name

    async def _call(self, function: str, *args: Any) -> Any:
        return await self._store.call(function, self._name, *args)

    async def get(self, key: str) -> bytes | None:
        value: bytes | None = await self._call("forward#get", key)
        return value

    async def set(
        self, key: str, value: bytes, *, ttl_ms: int | None = None, if_not_exists: bool = False
    ) -> None:
        assert ttl_ms is None, "the draft has no words for it"
        assert not if_not_exists, "the draft has no words for it"
        await self._call("forward#set", key, value)

    async def delete(self, key: str) -> None:
        await self._call("forward#delete", key)

    async def exists(self, key: str) -> bool:
        return bool(await self._call("forward#exists", key))

    async def list_keys(self, prefix: str = "", cursor: str | None = None) -> Page:
        assert not prefix, "the draft has no words for it"
        page = await self._call("forward#list-keys", None if cursor is None else int(cursor))
        return Page(page["keys"], None if page["cursor"] is None else str(page["cursor"]))

    async def increment(self, key: str, delta: int) -> int:
        return int(await self._call("forward-more#increment", key, delta))

    async def current(self, key: str) -> Entry | None:
        raise AssertionError("the draft has no words for it")

    async def swap(
        self,
        key: str,
        value: bytes,
        *,
        require_version: str | None = None,
        require_value: bytes | None = None,
    ) -> Swapped | Stale:
        raise AssertionError("the draft has no words for it")

    async def get_many(self, keys: Sequence[str]) -> list[tuple[str, bytes] | None]:
        found: list[tuple[str, bytes] | None] = await self._call("forward-more#get-many", list(keys))
        return found

    async def set_many(self, items: Sequence[tuple[str, bytes]]) -> None:
        await self._call("forward-more#set-many", list(items))

    async def delete_many(self, keys: Sequence[str]) -> None:
        await self._call("forward-more#delete-many", list(keys))


class _LabelledHandle(GuestHandle):
    """A bucket of a guest without atomics and batch: several keys are one after the other."""

    async def get_many(self, keys: Sequence[str]) -> list[tuple[str, bytes] | None]:
        found = [(key, await self.get(key)) for key in keys]
        return [None if value is None else (key, value) for key, value in found]

    async def set_many(self, items: Sequence[tuple[str, bytes]]) -> None:
        for key, value in items:
            await self.set(key, value)

    async def delete_many(self, keys: Sequence[str]) -> None:
        for key in keys:
            await self.delete(key)
