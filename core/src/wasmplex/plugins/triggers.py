"""What calls a component's exports: triggers, and what they have to be told of.

A `Trigger` is what a plugin registers. It plans: it says where its messages come from, which backend that
needs and what the backend has to be able to do, so that ``wasmplex check`` judges it and the host opens it
like any other. It holds nothing that runs: `Trigger.start` makes a `RunningTrigger` for each host.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from wasmplex.plugins.backends import Backend
from wasmplex.plugins.contracts import HostFunctions, Workload
from wasmplex.settings import Settings

if TYPE_CHECKING:
    import socket

    from anyio.abc import TaskStatus

    from wasmplex.component.shape import Export
    from wasmplex.errors import Diagnostic, WasmplexError

__all__ = [
    "ExportAdapter", "OwnBackend", "RunningTrigger", "Source", "Through", "Trigger", "TriggerBinding",
    "TriggerSource", "TriggerUse",
]  # fmt: skip


class ExportAdapter(ABC):
    """Turns what a trigger has to deliver into a call of an export.

    :cvar trigger: the trigger that uses it, ``"http"``
    :cvar interface: the exported interface it can drive, with the highest version,
        ``wasi:http/incoming-handler@0.2.12``
    :cvar shares_instances: whether one instance may be in several calls of it at once, and goes on after a
        call has returned until what that began has ended
    """

    trigger: ClassVar[str]
    interface: ClassVar[str]
    shares_instances: ClassVar[bool] = False

    @abstractmethod
    def adapt(self, export: Export) -> Callable[..., Awaitable[Any]]:
        """Return the handler for one export; its signature is the trigger's."""


# ---------------------------------------------------------------- where messages come from


@dataclass(frozen=True, slots=True)
class Through:
    """Messages come from the backend behind one of the component's imports, under that import's binding.

    :ivar interface: the import's interface without its version, ``wasi:keyvalue/store``
    :ivar label: its label; None for the import without one
    :ivar features: what the backend has to declare
    :ivar key: the setting that named the import, for messages
    :ivar opens: what is opened through it, a bucket say, which may have a backend of its own; None if that
        is no matter
    :ivar opens_key: the setting that named it, for messages
    """

    interface: str
    label: str | None = None
    features: frozenset[str] = frozenset()
    key: str = "label"
    opens: str | None = None
    opens_key: str = "bucket"


@dataclass(frozen=True, slots=True)
class OwnBackend:
    """Messages come from the backend that the trigger's own table names, as a binding would.

    :ivar features: what the backend has to declare
    :ivar otherwise: where they come from if the table names none; without it, one has to be named
    :ivar optional: none has to be named: then there is none
    """

    features: frozenset[str] = frozenset()
    otherwise: Through | None = None
    optional: bool = False


Source: TypeAlias = Through | OwnBackend


@dataclass(frozen=True, slots=True)
class TriggerSource:
    """Where the messages of one binding come from, open.

    :ivar backend: the backend
    :ivar functions: what serves the import, if they come `Through` one: under its policy and grants
    :ivar namespace: where the backend keeps what is the workload's
    :ivar plugin: who brought the backend, for the log
    :ivar shared: `WorkloadContext.shared`: what the providers keep that serve the workload's imports
    """

    backend: Backend
    functions: HostFunctions = field(default_factory=dict)
    namespace: str = ""
    plugin: str = ""
    shared: Mapping[Any, Any] = field(default_factory=dict, repr=False)


# ---------------------------------------------------------------- triggers


@dataclass(frozen=True, slots=True)
class TriggerUse:
    """One table of a trigger in a configuration, planned.

    :ivar workload: the workload's name
    :ivar settings: the table, validated by `Trigger.settings`
    :ivar where: where it stands
    :ivar backend: equal for tables whose messages come from one backend; None if they come from none
    :ivar namespace: where the backend has them
    :ivar features: what the backend declares
    """

    workload: str
    settings: Any
    where: str
    backend: object = None
    namespace: str = ""
    features: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TriggerBinding:
    """One workload's use of a trigger: one table of ``trigger.<name>``.

    :ivar settings: the table, validated by `Trigger.settings`
    :ivar handler: what the `ExportAdapter` for the workload's export returned
    :ivar where: where the table stands, for error messages
    :ivar source: what `Trigger.source` asked for, open; None if it asked for nothing
    :ivar report: to be called when something has been delivered, with how it ended, in a word of which there
        are few (``"200"``, ``"ack"``), and how many seconds it took; None if nobody counts
    """

    workload: Workload
    settings: Any
    handler: Callable[..., Awaitable[Any]]
    where: str = ""
    source: TriggerSource | None = None
    report: Callable[[str, float], None] | None = None


class RunningTrigger(ABC):
    """The triggers of one kind in one host, from `serve` to the end. Made by `Trigger.start`."""

    @abstractmethod
    async def serve(self, *, task_status: TaskStatus[Mapping[str, Any]]) -> None:
        """Serve all bindings until cancelled; report readiness (and addresses) through `task_status`.

        :raises wasmplex.errors.FailureError: if it cannot start, a port in use say
        """

    async def relieve(self) -> None:
        """Leave what is new to another one, which serves on the same sockets already.

        Returns when what is under way has ended. Unlike `drain`, it may leave who is connected the time to
        ask once more, for instead of being refused they can be told to connect again.
        """
        await self.drain()

    async def drain(self) -> None:  # noqa: B027  a trigger that holds nothing has nothing to drain
        """Take no new work and return when what is under way has ended. The caller brings the deadline."""


class Trigger(ABC):
    """Calls workloads' exports when something happens outside.

    :cvar name: ``trigger.<name>`` in a workload, and the top-level table of its host-wide settings
    :cvar settings: model of the workload's table, of which there may be several
    :cvar host_settings: model of the top-level table
    :cvar capability: the capability of backends that the workload's table may name as a binding does,
        ``backend = "nats"``; the keys that `settings` lacks are the backend's. None: it may not
    :cvar takes_over: whether what the calls of other triggers do may give it work, as messages do that they
        publish: it is started before them, and drained after them
    """

    name: ClassVar[str]
    settings: ClassVar[type[Settings]] = Settings
    host_settings: ClassVar[type[Settings]] = Settings
    capability: ClassVar[str | None] = None
    takes_over: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Say what has changed to the authors of triggers for 0.1."""
        super().__init_subclass__(**kwargs)
        if "serve" in vars(cls):
            raise TypeError(
                f"{cls.__name__}.serve: a Trigger no longer serves itself; write start(bindings, settings, "
                "sockets), which returns a RunningTrigger, and move serve and drain there"
            )

    def source(self, settings: Any, export: Export) -> Source | None:
        """Say where the messages of one table come from; None if no backend is concerned.

        :param settings: the table, validated
        :param export: what will be called
        :raises wasmplex.errors.ConfigError: if the table makes no sense
        """
        return None

    def conflicts(self, uses: Sequence[TriggerUse]) -> Iterable[Diagnostic]:
        """Return what is wrong between the tables of all workloads of a configuration."""
        return ()

    async def examine(self, bindings: Sequence[TriggerBinding]) -> Sequence[WasmplexError]:
        """Return what would keep each of the bindings from being served; nothing is changed for that.

        It is for ``wasmplex check --connect``: what is not found here is said when the host starts.
        """
        return ()

    @abstractmethod
    def start(
        self, bindings: Sequence[TriggerBinding], settings: Any, sockets: Sequence[socket.socket]
    ) -> RunningTrigger:
        """Return what serves the bindings of one host; nothing happens before `RunningTrigger.serve`.

        :param settings: the top-level table, validated by `host_settings`
        :param sockets: what `share` opened, to use and close instead of its own; none if it was not asked
        """

    async def share(self, settings: Any) -> Sequence[socket.socket] | None:
        """Take the addresses that the settings name: return sockets that are bound, and need not listen yet.

        ``wasmplex run`` calls it before anything is compiled, so that an address in use is said at once. The
        sockets outlive what serves there: they are handed to `start` in each of the workers of
        ``run --workers``, or for the host of a configuration that is read again, and closed when the host
        stops. None: nothing is shared. The first worker alone serves this trigger, because each of several
        would deliver the same; and when a configuration is read again, the new one starts to serve before the
        old one is told to drain. None at all in the sequence: every worker serves, for they share the work in
        another way.

        :param settings: those that `start` gets
        :raises wasmplex.errors.FailureError: if an address cannot be taken
        """
        return None

    def address(self, settings: Any) -> object:
        """Return what of the settings `share` depends on; its sockets are kept while that stays equal."""
        return settings
