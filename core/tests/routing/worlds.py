"""Shapes, providers and configurations to route with."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wasmplex.component.shape import Export, Import, InstanceType, NamedType, Shape
from wasmplex.config import HostConfig, load
from wasmplex.plugin import (
    Backend,
    BackendProvider,
    ExportAdapter,
    InterfaceProvider,
    OpenContext,
    SecretStr,
    Settings,
    Trigger,
    hookimpl,
)
from wasmplex.plugins import Registry
from wasmplex.routing import Plan, plan
from wasmplex.wit.types import Borrow, FuncType, Own, Param, Primitive, Record, Resource, ResultType

KV = "wasi:keyvalue"
STORE = f"{KV}/store@0.2.0-draft"
ATOMICS = f"{KV}/atomics@0.2.0-draft"
BATCH = f"{KV}/batch@0.2.0-draft"
CLOUD = "wasmcloud:keyvalue"
TEXT = Primitive("string")


def resource(number: int, owner: str = "") -> Resource:
    return Resource(number, "bucket", owner)


def store(bucket: Resource) -> InstanceType:
    """`open` hands a bucket out, its methods borrow it."""
    return InstanceType({
        "bucket": bucket,
        "open": FuncType((Param("identifier", TEXT),), ResultType(Own(bucket), TEXT)),
        "[method]bucket.get": FuncType((Param("self", Borrow(bucket)), Param("key", TEXT)), TEXT),
    })  # fmt: skip


def opening(bucket: Resource) -> InstanceType:
    """`open` alone: the bucket's methods are elsewhere."""
    return InstanceType({"open": FuncType((Param("identifier", TEXT),), ResultType(Own(bucket), TEXT))})


def taking(bucket: Resource, name: str = "increment") -> InstanceType:
    """One function that borrows a bucket."""
    return InstanceType({name: FuncType((Param("bucket", Borrow(bucket)), Param("key", TEXT)), TEXT)})


def plain(name: str = "now") -> InstanceType:
    return InstanceType({name: FuncType((), TEXT)})


def types_only() -> InstanceType:
    return InstanceType({"entry": NamedType(Record(())), "bucket": resource(99)})


def shape(*imports: Import, exports: tuple[str, ...] = ()) -> Shape:
    return Shape(imports, tuple(Export(name, plain("handle")) for name in exports))


def labelled(label: str, number: int = 0, interface: str = STORE) -> Import:
    return Import(label, store(resource(number, label)), implements=interface)


def unlabelled(name: str = STORE, number: int = 50) -> Import:
    return Import(name, store(resource(number, name)))


class Kv(InterfaceProvider):
    package = KV
    version = "0.2.0-draft"
    interfaces = frozenset({"store", "atomics", "batch"})
    capability = "keyvalue"
    routes_by_resource = frozenset({"atomics", "batch"})
    backends_in: str | None = "buckets"  # type: ignore[misc]

    class settings(Settings):  # noqa: N801
        buckets: tuple[str, ...] | None = None
        timeout: float = 5.0

    def features(self, interface: str, type: InstanceType) -> frozenset[str]:
        return frozenset({"increment"}) if interface == "atomics" else frozenset()

    def bind(self, workload: Any) -> Any:
        raise NotImplementedError


class CloudKv(Kv):
    package = CLOUD
    version = "0.2.6"
    interfaces = frozenset({"types", "store", "atomics", "cas", "batch"})
    routes_by_resource = frozenset({"types", "atomics", "cas", "batch"})

    def features(self, interface: str, type: InstanceType) -> frozenset[str]:
        return frozenset({interface}) if interface == "cas" else frozenset()


class Clocks(Kv):
    package = "wasi:clocks"
    version = "0.2.12"
    interfaces = frozenset({"wall-clock"})
    capability = None  # type: ignore[assignment]  # the base has one
    settings = Settings  # type: ignore[assignment]
    routes_by_resource = frozenset()


class Geo(Clocks):
    package = "acme:geo"
    version = "1.4.0"
    interfaces = frozenset({"lookup"})

    class settings(Settings):  # noqa: N801
        token: SecretStr
        zoom: int = 3


class Memory(BackendProvider[Any]):
    name = "memory"
    capability = "keyvalue"
    features = frozenset({"increment", "cas", "ttl"})

    async def open(self, settings: Any, context: OpenContext) -> Backend:
        raise NotImplementedError


class RedisSettings(Settings):
    url: str
    timeout: float = 1.0


class Redis(Memory):
    name = "redis"
    settings = RedisSettings
    features = frozenset({"ttl"})


class Files(Memory):
    name = "files"
    capability = "blobstore"


class Http(ExportAdapter):
    trigger = "http"
    interface = "wasi:http/incoming-handler@0.2.12"

    def adapt(self, export: Export) -> Any:
        raise NotImplementedError


class HttpTrigger(Trigger):
    name = "http"

    class settings(Settings):  # noqa: N801
        path: str = "/"

    def start(self, bindings: Any, settings: Any, sockets: Any) -> Any:
        raise NotImplementedError


class Opened(Backend):
    """A backend that does nothing."""

    async def close(self) -> None:
        pass


class Everything:
    """One plugin with all of the above."""

    @hookimpl
    def wasmplex_backends(self) -> list[BackendProvider[Any]]:
        return [Memory(), Redis(), Files()]

    @hookimpl
    def wasmplex_interfaces(self) -> list[InterfaceProvider]:
        return [Kv(), CloudKv(), Clocks(), Geo()]

    @hookimpl
    def wasmplex_export_adapters(self) -> list[ExportAdapter]:
        return [Http()]

    @hookimpl
    def wasmplex_triggers(self) -> list[Trigger]:
        return [HttpTrigger()]


def registry() -> Registry:
    found = Registry(path=[], disable="")
    found.add(Everything(), "everything")
    return found


def config(folder: Path, text: str) -> HostConfig:
    """Write ``host.toml`` with a workload `shop` and load it."""
    (folder / "app.wasm").write_bytes(b"")
    path = folder / "host.toml"
    path.write_text('[workload.shop]\ncomponent = "app.wasm"\n' + textwrap.dedent(text))
    return load(path, {}, triggers=None)


def route(folder: Path, text: str, shape_: Shape, environ: Mapping[str, str] | None = None) -> Plan:
    """Route the workload that `text` configures."""
    workload = config(folder, text).workloads["shop"]
    return plan(workload, shape_, registry(), environ or {})
