"""What a configuration says, as immutable values: the same for TOML and YAML.

Nothing here reads files or knows plugins. Tables that belong to a backend, an interface or a trigger are
kept as `Table`: raw values with their positions, validated later against the model of their owner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from wasmplex.errors import Diagnostic
from wasmplex.plugins.limits import Limits
from wasmplex.settings import Address

__all__ = [
    "AdminConfig", "BackendsConfig", "BindingConfig", "EngineConfig", "EnvRef", "FileRef", "HostConfig",
    "InstancesConfig", "KeyPath", "Location", "LogConfig", "Table", "WorkloadConfig",
]  # fmt: skip

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys from the outside in, and the index where an array is passed: ``("workload", "shop", "args", 0)``."""


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a configuration file."""

    file: str
    line: int
    path: str
    """The table path, ``workload.shop.import.cache``."""

    def __str__(self) -> str:
        if not self.line:  # it is no file
            return f"{self.file} ({self.path})"
        return f"{self.file}:{self.line} ({self.path})"


@dataclass(frozen=True, slots=True)
class EnvRef:
    """``{ env = "NAME" }``: the value of an environment variable. Its value is never printed."""

    name: str


@dataclass(frozen=True, slots=True)
class FileRef:
    """``{ file = "path" }``: the contents of a file, without its last newline. Never printed."""

    path: Path


@dataclass(frozen=True)
class Table:
    """A table whose model is not known yet.

    :ivar values: plain values, with `EnvRef` and `FileRef` where the file has them
    :ivar location: where the table stands
    :ivar locations: where each key stands, by its path within the table, ``("tls", "ca_file")``; the
        items of an array by their index, ``("servers", 0)``
    :ivar words: what the file says in place of a key: the word that it has for it, and the value there
    """

    values: Mapping[str, Any] = field(default_factory=dict, repr=False)  # a literal password may be in them
    location: Location = Location("", 0, "")
    locations: Mapping[KeyPath, Location] = field(default_factory=dict)
    words: Mapping[str, tuple[str, Any]] = field(default_factory=dict, repr=False)

    def spelt(self, keys: Iterable[str]) -> set[str]:
        """Return keys as the file spells them, and the words that it may have besides."""
        rest = {key for key in keys if key not in self.words}
        return rest | {word for word, _ in self.words.values()}

    def where(self, *path: str | int) -> Location:
        """Return the place of a key, or of the nearest enclosing table that has one."""
        while path:
            if path in self.locations:
                return self.locations[path]
            path = path[:-1]
        return self.location

    def sub(self, *path: str) -> Table:
        """Return the table below a key; an empty one if there is none."""
        values: Any = self.values
        for key in path:
            values = values.get(key) if isinstance(values, Mapping) else None
        depth = len(path)
        return Table(
            values=values if isinstance(values, Mapping) else {},
            location=self.where(*path),
            locations={at[depth:]: place for at, place in self.locations.items() if at[:depth] == path},
        )


@dataclass(frozen=True)
class BindingConfig:
    """One binding: ``import.<label>``, ``default."<package>"`` or an entry of ``host_interfaces``.

    :ivar label: the label it serves, None for the unlabelled default
    :ivar package: ``wasi:keyvalue``; for a labelled binding only if the configuration says so
    :ivar version: the version of the package, if the configuration names one
    :ivar interfaces: the interfaces it grants, None for all
    :ivar backend: the backend's name, ``redis`` or ``redis@host-plugin-redis``
    :ivar from_: the import that this label replaces, ``labels:kv/cache@0.1.0``
    :ivar settings: every other key. Its `Table.location` is the binding's own place, and `Table.where`
        knows the binding's own keys too (``backend``, ``version``)
    """

    label: str | None
    package: str | None
    version: str | None
    interfaces: frozenset[str] | None
    backend: str | None
    from_: str | None
    settings: Table


@dataclass(frozen=True, slots=True)
class InstancesConfig:
    """How instances are made.

    :ivar max: how many may live at once; one call runs in each
    :ivar reuse: how many calls one instance serves before it is dropped; 1 for a fresh one every time,
        None for as many as `wasmplex.workload.calls_served` says
    :ivar concurrency: how many calls one instance may be in at once; None for what the interface allows
    :ivar queue: how many calls may wait for an instance; more are refused at once
    """

    max: int = 64
    reuse: int | None = None
    concurrency: int | None = None
    queue: int = 256


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """``[engine]``.

    :ivar wasm_proposals: names as written, ``-name`` switches one off
    :ivar cache: directory of compiled components; None for the user's cache directory
    :ivar transport: how bytes cross the bridge, ``auto``, ``strings`` or ``memory``
    :ivar optimize: whether components are changed to be faster; a workload may say otherwise
    """

    wasm_proposals: tuple[str, ...] = ()
    cache: Path | None = None
    transport: str = "auto"
    optimize: bool = True


@dataclass(frozen=True, slots=True)
class BackendsConfig:
    """How backends are kept that no binding holds.

    :ivar idle_ttl: seconds that one stays open
    :ivar max_idle: how many of one provider stay open
    """

    idle_ttl: float = 0.0
    max_idle: int = 8


@dataclass(frozen=True, slots=True)
class LogConfig:
    """``[log]``: how ``wasmplex run`` logs.

    :ivar format: ``text`` or ``json``
    :ivar level: ``debug``, ``info``, ``warning`` or ``error``
    """

    format: str = "text"
    level: str = "info"


@dataclass(frozen=True, slots=True)
class AdminConfig:
    """``[admin]``: what ``wasmplex run`` tells of itself.

    :ivar listen: where; None for nowhere
    """

    listen: Address | None = None


@dataclass(frozen=True)
class WorkloadConfig:
    """``[workload.<name>]``.

    :ivar optimize: whether its component is changed to be faster; None for what the host says
    :ivar stdio: the descriptors of its standard streams; no file says it, ``invoke --stdio`` does
    :ivar whole: whether all its bindings could be read, so that it can be planned
    :ivar table: everything as written, with positions; ``table.sub("env")`` is what `resolve` takes to
        get the environment
    """

    name: str
    component: Path
    location: Location
    env: Mapping[str, Any] = field(default_factory=dict, repr=False)  # there may be secrets in it
    """Values are str, `EnvRef` or `FileRef`."""
    args: tuple[str, ...] = ()
    dirs: Mapping[str, Path] = field(default_factory=dict)
    network: str = "deny"
    allowed_hosts: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    instances: InstancesConfig = InstancesConfig()
    optimize: bool | None = None
    stdio: tuple[int, int, int] | None = None
    triggers: Mapping[str, tuple[Table, ...]] = field(default_factory=dict)
    """Each trigger has one table, or several: ``[[workload.<name>.trigger.<trigger>]]``."""
    middleware: tuple[WorkloadConfig, ...] = ()
    """What stands in front of it, outermost first: a component each, with what it may see of the world."""
    bindings: tuple[BindingConfig, ...] = ()
    table: Table = Table()
    whole: bool = True

    @property
    def is_middleware(self) -> bool:
        """Whether it stands in front of a workload; no name of a workload has a slash."""
        return "/" in self.name


@dataclass(frozen=True)
class HostConfig:
    """A whole configuration file.

    :ivar path: the file
    :ivar name: the host's name, for logs and metrics
    :ivar admin: None if there is no such table; nothing is counted then
    :ivar memory: bytes that all instances may have together; None for what suits the machine
    :ivar plugins: one-file plugins beside the configuration
    :ivar triggers: host-wide tables of triggers, ``[http]``
    :ivar problems: what is wrong with the file, where it was read nevertheless to find what else is:
        it can be planned then, and nothing else
    """

    path: Path
    name: str = "wasmplex"
    memory: int | None = None
    engine: EngineConfig = EngineConfig()
    backends: BackendsConfig = BackendsConfig()
    log: LogConfig = LogConfig()
    admin: AdminConfig | None = None
    plugins: tuple[Path, ...] = ()
    triggers: Mapping[str, Table] = field(default_factory=dict)
    workloads: Mapping[str, WorkloadConfig] = field(default_factory=dict)
    problems: tuple[Diagnostic, ...] = ()

    @property
    def base(self) -> Path:
        """The directory that relative paths start from."""
        return self.path.parent
