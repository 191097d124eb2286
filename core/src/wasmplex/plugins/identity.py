"""Who a plugin is and how it fares: what `wasmplex plugins` and `wasmplex explain` show of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["API_VERSION", "Group", "PluginIdentity", "PluginState", "PluginStatus"]

API_VERSION = 1
"""The plugin API of this host. It grows by one when a plugin written for the old one would break."""


class Group(StrEnum):
    """The entry-point groups; the name of an entry says what the plugin offers under it."""

    BACKENDS = "wasmplex.plugins"
    """Names of backends, ``redis``."""
    INTERFACES = "wasmplex.interfaces"
    """WIT packages, ``wasi:io`` (or ``wasi.io``, for build tools that refuse the colon)."""
    TRIGGERS = "wasmplex.triggers"
    """Names of triggers, ``http``."""
    COMMANDS = "wasmplex.commands"
    """Names of commands, ``check``."""

    @property
    def noun(self) -> str:
        """What a message calls one name of this group."""
        return _NOUNS[self.value]


_NOUNS = {
    "wasmplex.plugins": "backend",
    "wasmplex.interfaces": "interface package",
    "wasmplex.triggers": "trigger",
    "wasmplex.commands": "command",
}


class PluginState(StrEnum):
    """Where a plugin stands."""

    READY = "ready"
    """Imported and registered."""
    AVAILABLE = "available"
    """Installed; nothing has asked for it yet, so it has not been imported."""
    DISABLED = "disabled"
    """Switched off; it is never imported."""
    INCOMPATIBLE = "incompatible"
    """Made for another version of wasmplex; it is never imported."""
    FAILED = "failed"
    """Its metadata, its import or one of its hooks is broken."""


@dataclass(frozen=True, slots=True)
class PluginIdentity:
    """Which plugin something came from.

    :ivar name: the plugin's name, in general that of its backend
    :ivar distribution: what pip calls it; a path for a one-file plugin; ``in process`` for an object
    :ivar version: the version of the distribution, empty where there is none
    """

    name: str
    distribution: str
    version: str = ""

    @property
    def requirement(self) -> str:
        """``host-plugin-redis==1.2``."""
        return f"{self.distribution}=={self.version}" if self.version else self.distribution

    def __str__(self) -> str:
        return f"plugin {self.name} ({self.requirement})"


@dataclass(frozen=True, slots=True)
class PluginStatus:
    """One row of ``wasmplex plugins list``.

    :ivar identity: name, distribution, version
    :ivar state: see `PluginState`
    :ivar cause: one line that says why it is disabled, incompatible or failed
    :ivar module: the entry point's value, ``host_plugin_redis``
    :ivar offers: what its entry points announce
    :ivar provides: what it registered, a line for each piece; empty until it is loaded
    :ivar requires: the versions of wasmplex that its distribution asks for, ``>=0.1,<0.2``
    :ivar builtin: True for what the distribution `wasmplex` brings itself
    :ivar import_seconds: how long the import took, None until it is loaded
    :ivar detail: the traceback of a failure, for the plugin's author
    :ivar capabilities: what each of its backends is for; empty until it is loaded
    """

    identity: PluginIdentity
    state: PluginState
    cause: str = ""
    module: str = ""
    offers: Mapping[Group, tuple[str, ...]] | None = None
    provides: tuple[str, ...] = ()
    requires: str = ""
    builtin: bool = False
    import_seconds: float | None = None
    detail: str = ""
    capabilities: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
