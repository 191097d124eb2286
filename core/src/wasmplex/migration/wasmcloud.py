"""``WorkloadDeployment`` of wasmCloud: the custom resource of ``runtime.wasmcloud.dev/v1alpha1``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from wasmplex.component.shape import Shape
from wasmplex.config.document import Document
from wasmplex.config.model import EnvRef
from wasmplex.errors import ConfigError
from wasmplex.migration.drafts import FRESH, Imported, WorkloadDraft, workload_name
from wasmplex.migration.entries import Entry, add_entry, is_binding, is_needed
from wasmplex.migration.manifests import Manifest, parsed, unknown
from wasmplex.migration.secrets import variable, without_credentials
from wasmplex.migration.shapes import Look, imports_of, labels_of

__all__ = ["imported", "is_manifest"]

_API = "runtime.wasmcloud.dev/"
_KINDS = {
    "WorkloadDeployment": ("spec", "template", "spec"),
    "WorkloadReplicaSet": ("spec", "template", "spec"),
    "Workload": ("spec",),
}
"""Where each kind has what runs."""
_NO_MATTER = frozenset(
    {"hostSelector", "hostId", "environment", "imagePullPolicy", "imagePullSecret", "kubernetes"}
)
"""What says where in a cluster it runs, and how it gets there."""


class _Model(Manifest):
    model_config = ConfigDict(alias_generator=to_camel)


class _Named(_Model):
    name: str = ""


class _Config(_Model):
    config: dict[str, Any] = Field(default_factory=dict)
    config_from: tuple[_Named, ...] = ()
    secret_from: tuple[_Named, ...] = ()


class _Interface(_Config):
    namespace: str
    package: str
    interfaces: tuple[str, ...] = ()
    version: str = ""
    name: str = ""


class _Mount(_Model):
    name: str
    mount_path: str
    read_only: bool = False


class _Resources(_Model):
    config: dict[str, Any] = Field(default_factory=dict)
    environment: _Config = _Config()
    allowed_hosts: tuple[str, ...] = ()
    volume_mounts: tuple[_Mount, ...] = ()


class _Component(_Model):
    name: str
    image: str
    local_resources: _Resources = _Resources()
    pool_size: int = 0
    max_invocations: int = 0


class _HostPath(_Model):
    path: str


class _Volume(_Model):
    name: str
    host_path: _HostPath | None = None


class _Spec(_Model):
    components: tuple[_Component, ...] = ()
    host_interfaces: tuple[_Interface, ...] = ()
    volumes: tuple[_Volume, ...] = ()


class _Data(_Model):
    """A ConfigMap or a Secret that stands in the same file."""

    metadata: _Named = _Named()
    data: dict[str, Any] = Field(default_factory=dict)
    string_data: dict[str, Any] = Field(default_factory=dict)


def is_manifest(document: Document) -> bool:
    """Return whether a document is a workload of wasmCloud."""
    version = document.values.get("apiVersion")
    return isinstance(version, str) and version.startswith(_API) and document.values.get("kind") in _KINDS


def imported(documents: Iterable[Document], source: str, look: Look) -> Imported:
    """Return what the workloads of a file become.

    :raises ConfigError: one of them is not what such manifests are
    """
    documents, result = [*documents], Imported(source)
    known = _Known(documents)
    for document in documents:
        if is_manifest(document):
            _Reading(document, known, result, look).read()
    if not result.workloads:
        raise ConfigError(f"{source} has no components", fix="spec.template.spec.components")
    return result


class _Known:
    """The ConfigMaps and Secrets of a file."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self.configs: dict[str, dict[str, Any]] = {}
        self.secrets: dict[str, list[str]] = {}
        for document in documents:
            if document.values.get("kind") == "ConfigMap":
                data = parsed(document, (), _Data)
                self.configs[data.metadata.name] = data.data
            elif document.values.get("kind") == "Secret":
                data = parsed(document, (), _Data)
                self.secrets[data.metadata.name] = [*data.data, *data.string_data]


class _Reading:
    """One workload of wasmCloud on its way to workloads here, one for each of its components."""

    def __init__(self, document: Document, known: _Known, result: Imported, look: Look) -> None:
        self.document, self.known, self.result, self.look = document, known, result, look
        path = _KINDS[document.values["kind"]]
        self.spec = parsed(document, path, _Spec)
        self.name = parsed(document, (), _Data).metadata.name
        self.place = ".".join(path)

    def read(self) -> None:
        """Add the workloads."""
        components = self.spec.components
        for component in components:
            self._component(component, alone=len(components) == 1)
        if len(components) > 1:
            self.result.note(
                f"the {len(components)} components of {self.name} are workloads of their own here: where one "
                "imports what another exports, compose them first (wac plug)"
            )
        replicas = self.document.value(("spec", "replicas"))
        if isinstance(replicas, int) and replicas > 1:
            self.result.note(f"replicas: {replicas} is `wasmplex run --workers {replicas}`")
        for key in unknown(self.spec):
            if key.rpartition(".")[2] not in _NO_MATTER:
                self.result.note(f"{self.place}.{key} has no counterpart")

    def _component(self, component: _Component, *, alone: bool) -> None:
        taken = [workload.name for workload in self.result.workloads]
        file = self._file(component)
        draft = WorkloadDraft(
            workload_name(self.name if alone and self.name else component.name, taken), file
        )
        self.result.workloads.append(draft)
        self._instances(component, draft)
        resources = component.local_resources
        if resources.allowed_hosts:
            draft.keys["allowed_hosts"] = [*resources.allowed_hosts]
        if env := self._values(resources.environment, draft.name):
            draft.keys["env"] = without_credentials(env, draft.name, self.result)
        if dirs := self._dirs(component):
            draft.keys["dirs"] = dirs
        config = dict(resources.config)
        self._entries(draft, self.look(file), config)
        rest = [key for key in config if not any(map(_is_messaging, self.spec.host_interfaces))]
        if rest:
            self.result.note(
                f"the config of {component.name} ({', '.join(rest)}) was read by wasi:config, which is not "
                "served here: give the component what it needs as env"
            )

    def _entries(self, draft: WorkloadDraft, shape: Shape | None, config: dict[str, Any]) -> None:
        """Add what the component needs of ``hostInterfaces``; of the rest, not even Secrets are spoken of."""
        left_out: list[str] = []
        fitting = False
        for interface in self.spec.host_interfaces:
            entry = Entry(
                f"{interface.namespace}:{interface.package}", interface.interfaces, interface.version,
                interface.name, config if _is_messaging(interface) else {},
            )  # fmt: skip
            if is_needed(entry, shape):
                fitting = fitting or is_binding(entry)
                values = {**entry.config, **self._values(interface, draft.name)}
                add_entry(entry._replace(config=values), draft, shape, self.result)
            elif is_binding(entry):
                left_out.append(entry.name or entry.package)
        if left_out and shape is not None:
            self.result.note(_left_out(draft.component, shape, left_out, fitting=fitting))

    def _file(self, component: _Component) -> str:
        image = component.image
        if image.endswith(".wasm") and ":" not in image.removeprefix("file://"):
            return image.removeprefix("file://")
        file = image.rpartition("/")[2].partition("@")[0].partition(":")[0] or component.name
        file = f"{file.removesuffix('.wasm')}.wasm"
        self.result.note(f"{file} is the image {image}: wash oci pull {image} {file}")
        return file

    def _instances(self, component: _Component, draft: WorkloadDraft) -> None:
        if not component.pool_size:
            draft.keys["instances"] = {"reuse": 1}
            self.result.note(FRESH)
            return
        draft.keys["instances"] = {"max": component.pool_size}
        if component.max_invocations:
            draft.keys["instances"]["reuse"] = component.max_invocations

    def _values(self, config: _Config, workload: str) -> dict[str, Any]:
        """Return configuration: what stands there, then ConfigMaps, then Secrets; the last one wins."""
        values = dict(config.config)
        for reference in config.config_from:
            if reference.name in self.known.configs:
                values |= self.known.configs[reference.name]
            else:
                self.result.note(
                    f"the ConfigMap {reference.name} is not in this file: its values are missing"
                )
        for reference in config.secret_from:
            keys = self.known.secrets.get(reference.name)
            # Without the Secret, the one key that every server has stands for all of them.
            for key in keys if keys is not None else ["url"] * isinstance(config, _Interface):
                values[key] = EnvRef(variable(reference.name, key))
            self.result.note(
                f"the Secret {reference.name}: its values are taken from environment variables, "
                f"{variable(reference.name, 'KEY')}; a file will do as well: {{ file = ... }}"
            )
        return values

    def _dirs(self, component: _Component) -> dict[str, str]:
        hosted = {volume.name: volume.host_path for volume in self.spec.volumes}
        found = {}
        for mount in component.local_resources.volume_mounts:
            path = hosted.get(mount.name)
            if path is None:
                what = f"the volume {mount.name} is not a hostPath"
                self.result.note(f"{what}: choose a directory for {mount.mount_path}")
            else:
                found[mount.mount_path] = path.path
            if mount.read_only:
                self.result.note(f"{mount.mount_path} is read-only there; a directory here can be written to")
        return found


def _left_out(file: str, shape: Shape, names: Sequence[str], *, fitting: bool) -> str:
    """Return what to say of entries that a component does not import."""
    imports = sorted(labels_of(shape)) or sorted({name.partition("/")[0] for name in imports_of(shape)})
    has = f"; it imports {', '.join(imports)}" if imports else ""
    entries = "its entry is" if len(names) == 1 else "their entries are"
    ask = "" if fitting else ". Is it the right file?"
    return f"{file} does not import {', '.join(names)}: {entries} left out{has}{ask}"


def _is_messaging(interface: _Interface) -> bool:
    return (interface.namespace, interface.package) == ("wasmcloud", "messaging")
