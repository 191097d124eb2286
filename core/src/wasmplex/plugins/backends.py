"""What a plugin provides that brings backends: a provider, and the backends that it opens.

Authors reach all of it through `wasmplex.plugin`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from wasmplex.plugins.circuit import Circuit
from wasmplex.settings import Settings

__all__ = ["Backend", "BackendProvider", "OpenContext"]

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True, slots=True)
class OpenContext:
    """What a backend may know about where it is opened.

    :ivar base: the directory of the configuration file; relative paths start here
    :ivar provider: the name of the backend provider
    :ivar reread: see `settings_now`
    """

    base: Path
    provider: str = ""
    reread: Callable[[], Awaitable[Any]] | None = field(default=None, compare=False, repr=False)

    async def settings_now(self, settings: S) -> S:
        """Return the settings as the configuration's references to files say now, for a server that refuses.

        Whoever rotates a password writes it to the file and tells the server, in whatever order. A backend
        asks for this when it is refused, and tries again if what it gets differs from what it has. It may be
        asked for as often as one likes: files are not read more often than once a second.

        :param settings: what `BackendProvider.open` was given
        """
        fresh: S = settings if self.reread is None else await self.reread()
        return fresh


class Backend(ABC):
    """An open backend. Each capability derives its own contract from it (`wasmplex.capabilities`).

    :cvar capability: what it is for, ``"keyvalue"``; each capability's contract says it
    :ivar circuit: whether its server is known to be down; the host's, None where nobody watches over it
    """

    capability: ClassVar[str] = ""
    circuit: Circuit | None = None

    @abstractmethod
    async def close(self) -> None:
        """Release everything. Called once; operations under way may fail."""

    async def probe(self) -> None:  # noqa: B027  a backend without a server has nothing to ask
        """Ask the backend whether it would answer now; raise its error if not."""


class BackendProvider(ABC, Generic[S]):
    """Opens backends of one kind, ``redis`` say, for one capability.

    :cvar name: what a binding writes as ``backend = "..."``; the entry point has the same name
    :cvar capability: ``"keyvalue"``, ``"blobstore"``, ``"postgres"`` or ``"messaging"``
    :cvar settings: the model of the binding's other keys
    :cvar features: which optional parts of the contract it honours; a workload that needs another
        one is refused when it is bound
    :cvar durability: what an acknowledged write survives, in a few words
    :cvar in_process: whether what is written can be read in no other process. The workers of
        ``wasmplex run --workers`` would each have data of their own: they take such a backend only where
        the setting `per_worker` is true
    :cvar per_worker: the name of the setting, true or false, by which a binding says that each worker may
        have data of its own; None if there is none
    """

    name: ClassVar[str]
    capability: ClassVar[str]
    settings: ClassVar[type[Settings]] = Settings
    features: ClassVar[frozenset[str]] = frozenset()
    durability: ClassVar[str] = ""
    in_process: ClassVar[bool] = False
    per_worker: ClassVar[str | None] = None

    @abstractmethod
    async def open(self, settings: S, context: OpenContext) -> Backend:
        """Open a backend. Client libraries are imported here, not when the plugin is.

        :raises wasmplex.errors.BackendError: if it cannot be opened
        """
