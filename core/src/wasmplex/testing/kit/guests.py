"""Reaching a backend as a guest does: through a host, a component and an interface.

The components do one operation a call, so a call made here passes the guest's side of the canonical ABI, the
import, the interface, the policy and the backend.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, get_args

import anyio
from anyio.abc import TaskGroup, TaskStatus

from wasmplex.bridge import TransportName
from wasmplex.config.model import BindingConfig, EngineConfig, HostConfig, Location, Table, WorkloadConfig
from wasmplex.host import Host
from wasmplex.plugins.backends import Backend, BackendProvider, OpenContext
from wasmplex.settings import Settings
from wasmplex.testing.doubles import plugin
from wasmplex.testing.kit.drivers import Driver, Refused
from wasmplex.testing.proxies import proxy
from wasmplex.values import Err

__all__ = ["Guest", "GuestDriver", "by_transport"]

B = TypeVar("B", bound=Backend)
G = TypeVar("G", bound="GuestDriver[Any]")


class Guest:
    """A component in a host of its own, with one binding, or one for each of its labels."""

    def __init__(self, host: Host, workload: str, driver: GuestDriver[Any]) -> None:
        self._host = host
        self._workload = workload
        self._driver = driver

    async def call(self, function: str, *args: Any) -> Any:
        """Call an export.

        :raises Refused: if it returned the err case of its result
        """
        try:
            return await self._host.call(self._workload, f"{self._driver.exports}/{function}", *args)
        except Err as error:
            raise self._driver.refusal(error.value) from error

    async def stream(self, function: str, *args: Any) -> AsyncIterator[Any]:
        """Call an export that returns a stream, and yield its chunks; the instance is kept until then.

        :raises Refused: if it returned the err case of its result
        """
        async with self._host.workload(self._workload).instance() as instance:
            try:
                chunks = await instance.call(f"{self._driver.exports}/{function}", *args)
            except Err as error:
                raise self._driver.refusal(error.value) from error
            async for chunk in chunks:
                yield chunk

    @asynccontextmanager
    async def calling(self) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
        """Keep one instance, and give what calls an export of it: for results with streams in them.

        What is given raises `Refused` if the function returned the err case of its result.
        """
        async with self._host.workload(self._workload).instance() as instance:

            async def call(function: str, *args: Any) -> Any:
                try:
                    return await instance.call(f"{self._driver.exports}/{function}", *args)
                except Err as error:
                    raise self._driver.refusal(error.value) from error

            yield call


class GuestDriver(Driver[B]):
    """Base of the drivers that go through a guest.

    :cvar component: the guest: a file of ``wasmplex/testing/guests``, or any path
    :cvar package: the WIT package that it imports
    :cvar labels: the labels under which it imports it; None for an import without
    :cvar exports: the WIT package whose interfaces it exports
    :cvar transport: how bytes cross to and from it, ``auto``, ``strings`` or ``memory``
    :cvar plugins: who serves its imports, where no installed plugin does
    """

    guest = True
    component: ClassVar[str | Path]
    package: ClassVar[str]
    labels: ClassVar[tuple[str | None, ...]] = (None,)
    exports: ClassVar[str] = "tests:guests"
    transport: ClassVar[str] = "auto"
    plugins: ClassVar[Sequence[object]] = ()

    def __init__(self, backend: B) -> None:
        super().__init__(backend)
        self._tasks: TaskGroup | None = None
        self._guests: dict[Hashable, Guest] = {}

    async def __aenter__(self) -> Self:
        """Begin to use the backend."""
        self._tasks = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close the hosts."""
        tasks, self._tasks = self._tasks, None
        assert tasks is not None
        tasks.cancel_scope.cancel()
        await tasks.__aexit__(None, None, None)

    def refusal(self, error: Any) -> Refused:
        """Return how a kit is told of an error that the guest returned."""
        raise NotImplementedError

    async def bound(self, key: Hashable, workload: str, binding: Mapping[str, Any]) -> Guest:
        """Return a guest with a binding, in a host of its own; the same one for the same key.

        :param workload: the name that its workload has
        :param binding: the binding's keys besides ``backend``
        """
        assert self._tasks is not None, "the driver is not open"
        if key not in self._guests:
            with _file(self.component) as component:
                config = self._config(component, workload, binding)
                host: Host = await self._tasks.start(self._run, config, _Opened(self.backend))
            self._guests[key] = Guest(host, workload, self)
        return self._guests[key]

    async def _run(self, config: HostConfig, provider: _Opened, *, task_status: TaskStatus[Host]) -> None:
        """Keep a host open in a task of its own: whoever asks for a guest need not be there at its end."""
        async with Host(config, plugins=[plugin(provider), *self.plugins], environ={}) as host:
            task_status.started(host)
            await anyio.sleep_forever()

    def _config(self, component: Path, workload: str, binding: Mapping[str, Any]) -> HostConfig:
        bindings = tuple(
            BindingConfig(
                label=label,
                package=self.package,
                version=None,
                interfaces=None,
                backend=_Opened.name,
                from_=None,
                settings=Table(binding),
            )
            for label in self.labels
        )
        place = Location("kit.toml", 1, f"workload.{workload}")
        planned = WorkloadConfig(workload, component, place, bindings=bindings)
        engine = EngineConfig(transport=self.transport)
        return HostConfig(Path("kit.toml"), engine=engine, workloads={workload: planned})


def _file(component: str | Path) -> AbstractContextManager[Path]:
    if isinstance(component, Path):
        return nullcontext(component)
    return as_file(files("wasmplex.testing") / "guests" / component)


def by_transport(*drivers: type[G]) -> tuple[type[G], ...]:
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
    """Gives the host a backend that is open already, and that somebody else closes."""

    name = "under-test"

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        vars(self).update(features=getattr(backend, "features", frozenset()), capability=backend.capability)

    async def open(self, settings: Settings, context: OpenContext) -> Backend:
        opened = proxy(self._backend, _nothing)
        vars(opened)["close"] = _closed
        return opened


async def _nothing(operation: str, args: tuple[Any, ...]) -> None:
    """Let it pass."""


async def _closed() -> None:
    """Leave it open."""
