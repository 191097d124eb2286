"""What a plugin may provide. All of it is reached by authors through `wasmplex.plugin`.

A plugin is a module (or object) with hook implementations (`wasmplex.plugins.hooks`) that return
instances of these classes. Hooks are synchronous and only register; the asynchronous contracts are
here, where a type checker sees them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from wasmplex.plugins.backends import Backend
from wasmplex.plugins.limits import Limits
from wasmplex.settings import Settings
from wasmplex.wit.source import WitPackage

if TYPE_CHECKING:
    from wasmplex.component.shape import InstanceType, Shape
    from wasmplex.scopes import TaskScope

__all__ = [
    "Borrowing", "BoundInterfaces", "Grants", "GuestInstance", "HostFunction", "HostFunctions", "ImportPart",
    "ImportRequest", "InterfaceProvider", "Workload", "WorkloadContext",
]  # fmt: skip

# ---------------------------------------------------------------- host functions and guests


@dataclass(frozen=True, slots=True)
class HostFunction:
    """A Python callable that serves one imported function.

    :ivar call: ``def`` for what never waits, ``async def`` for what may. It receives the WIT
        parameters in order, as `wasmplex.values` describes, and returns the result, or raises
        `wasmplex.values.Err` for the err case
    :ivar context: True to be given the calling `GuestInstance` as first argument
    """

    call: Callable[..., Any]
    context: bool = False


HostFunctions = Mapping[str, "HostFunction | Callable[..., Any]"]
"""The functions of one imported instance by their full WIT names (``open``, ``[method]bucket.get``).

Resources need no entry: any Python object may be returned where the WIT says ``own<r>``, it comes back
where the WIT says ``borrow<r>`` or ``own<r>``, and if it has a method ``drop()`` that is called, once,
when the guest drops its handle or the instance ends. If it has a method ``returned()`` that is called when
an exported function returns it through the bridge, before whoever has called the function goes on.
"""


class GuestInstance(Protocol):
    """One live instance of a component, with its own memory and resource table."""

    @property
    def workload(self) -> str:
        """Name of the workload it belongs to."""

    @property
    def state(self) -> dict[Any, Any]:
        """Room for what host functions keep per instance; gone with the instance."""

    async def call(self, export: str, *args: Any) -> Any:
        """Call an export: ``"run"``, or ``"wasi:http/incoming-handler@0.2.2#handle"``.

        :raises wasmplex.values.Err: if the function returned the err case of its result
        :raises wasmplex.errors.GuestError: if it trapped or outlived its deadline
        """

    def calls_each(self, export: str) -> bool:
        """Say whether `call_each` makes several calls of an export."""

    async def call_each(
        self,
        export: str,
        calls: Sequence[tuple[Any, ...]],
        results: list[Any],
        paused: Callable[[], None],
    ) -> None:
        """Call an export several times, one after the other, and at least once.

        That costs little more than one call, for functions that are not async and deal in no handles: others
        are called once. No further call is begun once the guest has waited, or returned a lot.

        If this raises, or is cancelled, it is for the call that follows those that have a result.

        :param calls: the arguments of each
        :param results: what each call returned is appended, or the `wasmplex.values.Err`, for as many calls
            as were made; also if this raises
        :param paused: called once if the guest waits, or takes long in one call. It is in the call after
            those that have a result then; those after that one will not be made
        :raises wasmplex.errors.GuestError: if the guest trapped or outlived its deadline
        """

    def calls_made(self) -> int:
        """Return how many calls `call_each` has made so far, for host functions that the next one calls."""


# ---------------------------------------------------------------- interfaces


@dataclass(frozen=True, slots=True)
class Grants:
    """What the configuration lets a workload see of the world; nothing unless it says so.

    :ivar env: environment variables
    :ivar args: command-line arguments
    :ivar dirs: guest path to host directory; read-write
    :ivar network: whether sockets may be opened
    :ivar allowed_hosts: ``host``, ``host:port`` or ``*.domain`` that outgoing HTTP may reach; ``*`` is all
    :ivar stdio: the descriptors of its standard streams; None if these are nothing and the log
    """

    env: Mapping[str, str] = field(default_factory=dict, repr=False)  # there may be secrets in it
    args: Sequence[str] = ()
    dirs: Mapping[str, Path] = field(default_factory=dict)
    network: Literal["deny", "allow"] = "deny"
    allowed_hosts: Sequence[str] = ()
    stdio: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class WorkloadContext:
    """The workload that interfaces are bound for.

    :ivar name: the workload's name
    :ivar grants: what it may see of the world
    :ivar shared: room for providers that serve several packages from one state; one dict a workload
    :ivar limits: what its guests may take; a provider keeps those that are about what it hands out
    """

    name: str
    grants: Grants = Grants()
    shared: dict[Any, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class ImportPart:
    """What stands behind one name that guests open, where the binding has a backend for each.

    :ivar settings: the provider's own part of the binding, with what it says of this name
    :ivar namespace: as in `ImportRequest`
    :ivar plugin: who brought the backend, for the log
    """

    backend: Backend
    settings: Settings
    namespace: str
    plugin: str = ""


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """One import that an interface provider is to serve.

    :ivar interface: the interface id as the component names it, ``wasi:keyvalue/store@0.2.0-draft``
    :ivar label: its label, None for an unlabelled import
    :ivar type: the instance type that the component wants
    :ivar backend: the backend that the binding names, None for an interface without a capability
    :ivar settings: the provider's own part of the binding, validated by `InterfaceProvider.settings`
    :ivar namespace: the default namespace of the binding, ``<workload>/<label>`` unless configured
    :ivar granted: the interfaces that the binding grants, None for all; a resource handed out here must
        not work through an interface routed by resource that is not among them
    :ivar plugin: who brought the backend, for the log; empty without one
    :ivar parts: where the binding has a backend for each name instead of one: what stands behind each;
        `backend` is None then, and no other name is to be opened. See `InterfaceProvider.backends_in`
    :ivar base: the directory of the configuration file; relative paths in settings start here
    """

    interface: str
    label: str | None
    type: InstanceType
    backend: Backend | None = None
    settings: Settings = field(default_factory=Settings)
    namespace: str = ""
    granted: frozenset[str] | None = None
    plugin: str = ""
    parts: Mapping[str, ImportPart] = field(default_factory=dict)
    base: Path = Path()

    def of_parts(self) -> dict[str, ImportRequest]:
        """Return what each name would be asked for if a binding were for it alone."""
        return {
            name: replace(self, backend=part.backend, settings=part.settings, namespace=part.namespace,
                          plugin=part.plugin, parts={})
            for name, part in self.parts.items()
        }  # fmt: skip

    @property
    def name(self) -> str:
        """The interface's bare name, ``store``."""
        return self.interface.partition("@")[0].rpartition("/")[2]


class BoundInterfaces(ABC):
    """The interfaces of one package, bound for one workload."""

    @abstractmethod
    def serve(self, request: ImportRequest) -> HostFunctions:
        """Return the functions for one import. Extra functions are ignored, missing ones are a LinkError."""


class InterfaceProvider(ABC):
    """Serves the interfaces of one WIT package.

    :cvar package: ``"wasi:keyvalue"``
    :cvar version: the highest version served; it also serves what the component model counts to the
        same track (0.2.12 serves every 0.2.x, a pre-release only itself); empty for a package without
    :cvar interfaces: the names of the interfaces served
    :cvar capability: the capability that a binding must bring a backend for; None if none is needed
    :cvar settings: the keys that a binding may have besides those of its backend
    :cvar linked_directly: whether its functions are linked without an adapter in between wherever their types
        allow that, also those that move bytes: for interfaces whose resources come with exports that the host
        calls directly, as those of WASI 0.2 do
    :cvar routes_by_resource: those of `interfaces` whose functions only take resources that another
        import hands out (``atomics`` with its ``borrow<bucket>``): unlabelled, they need no binding,
        because each resource remembers the backend it came from. `ImportRequest.backend` is None there
    :cvar backends_in: the key of `settings` that may be a table with a backend for each name that guests
        open (``buckets``), in the place of one backend for all; `ImportRequest.parts` has them then.
        None if one backend serves everything
    """

    package: ClassVar[str]
    version: ClassVar[str]
    interfaces: ClassVar[frozenset[str]]
    capability: ClassVar[str | None] = None
    settings: ClassVar[type[Settings]] = Settings
    linked_directly: ClassVar[bool] = False
    routes_by_resource: ClassVar[frozenset[str]] = frozenset()
    backends_in: ClassVar[str | None] = None

    def features(self, interface: str, type: InstanceType) -> frozenset[str]:
        """Return the backend features that this import cannot do without."""
        return frozenset()

    def wit(self) -> WitPackage | None:
        """Return the package as WIT; imports are compared with it before anything runs. None without."""
        return None

    @abstractmethod
    def bind(self, workload: WorkloadContext) -> AbstractAsyncContextManager[BoundInterfaces]:
        """Bind the package for one workload; the context ends when the workload does."""


# ---------------------------------------------------------------- workloads


class Borrowing(Protocol):
    """The context that `Workload.instance` returns: ``async with borrowing as instance``."""

    async def __aenter__(self) -> GuestInstance:
        """Wait for an instance."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Give it back."""

    def cancel(self) -> None:
        """Cancel what is awaited inside the context, or on entering it: nobody wants the answer any more.

        The context then raises `wasmplex.errors.CallCancelled`.
        """

    @property
    def calls_left(self) -> int:
        """How many calls the instance may serve yet; known inside the context."""

    def note_calls(self, count: int) -> None:
        """Note how many calls the instance has served in the context; it is one if nobody says."""


class Workload(Protocol):
    """A running workload, as triggers see it."""

    @property
    def name(self) -> str:
        """Its name in the configuration."""

    @property
    def shape(self) -> Shape:
        """What its component imports and exports."""

    @property
    def imports(self) -> Mapping[str, HostFunctions]:
        """The functions that serve each import, by its name: triggers may use what the component uses."""

    @property
    def timeout(self) -> float:
        """Seconds that one call may take."""

    @property
    def max_body(self) -> int:
        """Bytes that the body of a request may have."""

    def instance(self, within: TaskScope | None = None) -> Borrowing:
        """Borrow an instance for one call; it is made, reused or dropped as the workload is set up.

        The deadline of the workload runs inside the context. See `Borrowing.cancel` for ending it earlier.

        :param within: what cancels the calls of the current task, where it makes many and has entered one
        :raises wasmplex.errors.LimitExceeded: on entering, if all instances are taken; in
            a call, with `called` true, if it passes more than the host takes at once
        :raises wasmplex.errors.DeadlineExceeded: on leaving, if the deadline passed
        """
