"""``spin.toml`` of Spin, manifest version 2, and the stores in its ``runtime-config.toml``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from wasmplex.component.shape import Shape
from wasmplex.config.document import Document
from wasmplex.config.model import EnvRef
from wasmplex.errors import ConfigError
from wasmplex.migration.drafts import FRESH, Imported, WorkloadDraft, workload_name
from wasmplex.migration.manifests import Manifest, parsed, unknown
from wasmplex.migration.outbound import allowed_hosts
from wasmplex.migration.secrets import variable, without_credentials
from wasmplex.migration.shapes import Look, imports_of

__all__ = ["imported", "is_manifest"]

_VERSION = "spin_manifest_version"
_STORE = "wasi:keyvalue/store"
_VARIABLE = re.compile(r"\{\{\s*([a-z][a-z0-9_]*)\s*\}\}")
_NO_MATTER = frozenset({"version", "authors", "description", "build", "exclude_files", "tool"})
"""What describes an application, and how it is built."""


class _Variable(Manifest):
    default: str | None = None
    required: bool = False
    secret: bool = False
    description: str = ""


class _Application(Manifest):
    name: str


class _Component(Manifest):
    source: str | dict[str, Any]
    files: tuple[str | dict[str, Any], ...] = ()
    allowed_outbound_hosts: tuple[str, ...] = ()
    allowed_http_hosts: tuple[str, ...] = ()
    key_value_stores: tuple[str, ...] = ()
    environment: dict[str, str] = Field(default_factory=dict)
    variables: dict[str, str] = Field(default_factory=dict)


class _Route(Manifest):
    route: str | dict[str, Any] = "/..."
    component: str | _Component


class _Manifest(Manifest):
    spin_manifest_version: int
    application: _Application
    variables: dict[str, _Variable] = Field(default_factory=dict)
    trigger: dict[str, Any] = Field(default_factory=dict)
    component: dict[str, _Component] = Field(default_factory=dict)


class _Http(Manifest):
    http: tuple[_Route, ...] = ()


class _Store(Manifest):
    type: str
    path: str = ""
    url: str = ""


class _Runtime(Manifest):
    key_value_store: dict[str, _Store] = Field(default_factory=dict)


def is_manifest(document: Document) -> bool:
    """Return whether a document is a manifest of Spin."""
    return _VERSION in document.values


def imported(document: Document, source: str, look: Look, runtime: Document | None = None) -> Imported:
    """Return what the components of an application become.

    :param runtime: the backends of its stores; Spin's own default without it
    :raises ConfigError: it is not what such manifests are
    """
    version = document.value((_VERSION,))
    if str(version) != "2":
        raise ConfigError(
            f"{_VERSION} is {version}: only version 2 is read",
            where=str(document.location((_VERSION,))),
            fix="spin doctor brings a manifest to version 2",
        )
    return _Reading(document, Imported(source), look, runtime).read()


class _Reading:
    """One application on its way to workloads, one for each of its components."""

    def __init__(self, document: Document, result: Imported, look: Look, runtime: Document | None) -> None:
        self.manifest = parsed(document, (), _Manifest)
        self.routes = parsed(document, ("trigger",), _Http).http if self.manifest.trigger else ()
        self.stores = {} if runtime is None else parsed(runtime, (), _Runtime).key_value_store
        self.result, self.look = result, look

    def read(self) -> Imported:
        """Return all of it."""
        components = dict(self.manifest.component)
        for number, route in enumerate(self.routes):
            if isinstance(route.component, _Component):
                components[f"{self.manifest.application.name}-{number + 1}"] = route.component
            elif route.component not in components:
                raise ConfigError(f"trigger.http names the component {route.component!r}, which there is not")
        for name, component in components.items():
            self._component(name, component)
        for kind in self.manifest.trigger.keys() - {"http"}:
            self.result.note(f"trigger.{kind} has no counterpart: nothing calls its components")
        routes = [key for n, route in enumerate(self.routes) for key in unknown(route, f"trigger.http[{n}]")]
        for key in [*routes, *unknown(self.manifest)]:
            if key.rpartition(".")[2] not in _NO_MATTER and not re.search(r"\.build\b", key):
                self.result.note(f"{key} has no counterpart")
        return self.result

    def _component(self, name: str, component: _Component) -> None:
        taken = [workload.name for workload in self.result.workloads]
        draft = WorkloadDraft(workload_name(name, taken), self._file(name, component))
        self.result.workloads.append(draft)
        if routes := self._routes(name, component):
            draft.triggers["http"] = routes
        else:
            self.result.note(f"no trigger.http calls {name}")
        draft.keys["instances"] = {"reuse": 1}
        self.result.note(FRESH)
        if hosts := allowed_hosts(
            component.allowed_outbound_hosts, component.allowed_http_hosts, self.result
        ):
            draft.keys["allowed_hosts"] = hosts
        if env := component.environment | self._variables(component):
            draft.keys["env"] = without_credentials(env, draft.name, self.result)
        if dirs := self._dirs(component):
            draft.keys["dirs"] = dirs
        shape = self.look(draft.component)
        if component.key_value_stores:
            self._add_stores(component, draft, shape)
        if shape is not None:
            self._foreign(draft, shape)

    def _file(self, name: str, component: _Component) -> str:
        if isinstance(component.source, str):
            return component.source
        where = component.source.get("url") or component.source.get("package") or "its registry"
        self.result.note(f"the source of {name} is not a file: fetch {name}.wasm from {where}")
        return f"{name}.wasm"

    def _routes(self, name: str, component: _Component) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for route in self.routes:
            if route.component != name and route.component is not component:
                continue
            if not isinstance(route.route, str):
                self.result.note(f"the private route of {name} has no counterpart")
                continue
            path = self._path(route.route)
            if {"path": path} not in found:
                found.append({"path": path})
        return found

    def _path(self, route: str) -> str:
        """Return the prefix that a route stands for."""
        kept = route.removesuffix("...").rstrip("/") or "/"
        if (cut := kept.find("/:")) >= 0:
            kept = kept[:cut] or "/"
            self.result.note(f"route {route} is {kept} and what is below: the component sees the path itself")
        elif not route.endswith("..."):
            self.result.note(f"route {route} takes what is below it, too")
        return kept

    def _variables(self, component: _Component) -> dict[str, Any]:
        """Return the component's variables as variables of its environment."""
        found: dict[str, Any] = {}
        for name, text in component.variables.items():
            found[variable(name)] = self._resolved(text)
        if found:
            self.result.note(
                f"variables are in the environment here: {', '.join(found)}; the interface that Spin has for "
                "them is not served"
            )
        return found

    def _resolved(self, text: str) -> Any:
        whole = _VARIABLE.fullmatch(text.strip())
        said = self.manifest.variables.get(whole[1]) if whole else None
        if whole and (said is None or said.default is None or said.secret):
            return EnvRef(f"SPIN_VARIABLE_{whole[1].upper()}")

        def default(found: re.Match[str]) -> str:
            known = self.manifest.variables.get(found[1])
            if known is None or known.default is None or known.secret:
                self.result.note(f"{found[0]} inside of a text has no counterpart: put it in by hand")
                return found[0]
            return known.default

        return _VARIABLE.sub(default, text)

    def _dirs(self, component: _Component) -> dict[str, str]:
        found: dict[str, str] = {}
        for item in component.files:
            if isinstance(item, Mapping) and {"source", "destination"} <= item.keys():
                found[str(item["destination"])] = str(item["source"])
            else:
                self.result.note(f"files {item} has no counterpart: dirs has whole directories")
        if found:
            self.result.note("what is in dirs can be written to; Spin's files cannot")
        return found

    # ------------------------------------------------------------ stores

    def _add_stores(self, component: _Component, draft: WorkloadDraft, shape: Shape | None) -> None:
        if shape is not None and _STORE not in imports_of(shape):
            self.result.note(f"{draft.component} does not import {_STORE}: its stores are left out")
            return
        stores = {name: self._store(name) for name in component.key_value_stores}
        # Components of an application that name one store share it.
        table = {"namespace": self.manifest.application.name, "buckets": stores}
        draft.tables["default", _STORE.partition("/")[0]] = table

    def _store(self, name: str) -> dict[str, Any]:
        said = self.stores.get(name)
        if said is None or said.type == "spin":
            self.result.note("stores that were files of Spin's begin empty: the format is another")
            return {"backend": "sqlite", "path": said.path if said and said.path else "keyvalue.db"}
        if said.type == "redis":
            url = without_credentials({"url": said.url}, f"spin_store_{name}", self.result)
            return {"backend": "redis", **url}
        self.result.note(f"the store {name} of type {said.type} has no counterpart: it is memory here")
        return {"backend": "memory"}

    def _foreign(self, draft: WorkloadDraft, shape: Shape) -> None:
        foreign = sorted({item.name for item in shape.imports if item.name.startswith(("fermyon:", "spin:"))})
        if foreign:
            self.result.note(
                f"{draft.component} imports {', '.join(foreign)}, which only Spin serves: build it against "
                "the interfaces of WASI"
            )
