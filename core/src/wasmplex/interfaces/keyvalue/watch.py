"""Exported ``watcher`` interfaces of the key-value packages, called by the trigger ``watch``."""

from __future__ import annotations

from functools import partial

from wasmplex.capabilities.keyvalue import Change
from wasmplex.capabilities.keyvalue.watch import Watched, WatchHandler
from wasmplex.component.shape import Export, Import
from wasmplex.errors import ConfigError, FailureError, nearest
from wasmplex.interfaces.keyvalue.policy import GuardedBucket
from wasmplex.plugins.contracts import ExportAdapter, HostFunction, Workload
from wasmplex.values import Err, Variant
from wasmplex.wit.names import InterfaceId

__all__ = ["Watcher"]

_LATER = {"timeout", "store-unavailable"}
"""Errors of opening a bucket that may be gone the next time."""


class Watcher(ExportAdapter):
    """Tells a component of changes by ``on-set`` and ``on-delete``.

    Both packages have them with the same signatures. The bucket goes with each call: the component owns it.
    """

    trigger = "watch"

    def adapt(self, export: Export) -> WatchHandler:
        """Return what watches a bucket for the component."""
        package = InterfaceId.parse(self.interface).package_name

        async def watch(workload: Workload, label: str | None, bucket: str, where: str) -> Watched:
            store = _store(workload, package, label, where)
            opened = await _open(workload, store, bucket, where)
            return Watched(opened.bucket.watch, partial(_deliver, workload, export.name, opened))

        return watch


async def _deliver(workload: Workload, export: str, bucket: GuardedBucket, change: Change) -> None:
    async with workload.instance() as instance:
        if change.value is None:
            await instance.call(f"{export}#on-delete", bucket, change.key)
        else:
            await instance.call(f"{export}#on-set", bucket, change.key, change.value)


def _store(workload: Workload, package: str, label: str | None, where: str) -> Import:
    """Return the component's import that a label stands for."""
    stores = [item for item in workload.shape.imports if _is_store(item, package)]
    found = [item for item in stores if item.label == label]
    if found:
        return found[0]
    labels = [item.label for item in stores if item.label is not None]
    plain = [item for item in stores if item.label is None]
    if label is None:
        what = f"the component imports no {package}/store without a label"
        fix = f'label = "{labels[0]}"' if labels else ""
    else:
        what = f"the component imports no {package}/store under the label {label!r}"
        fix = nearest(label, labels) if labels else "leave label out" if plain else ""
    why = "the watched bucket is opened through an import of the component"
    raise ConfigError(what, where=where, why=why, fix=fix)


def _is_store(item: Import, package: str) -> bool:
    interface = InterfaceId.try_parse(item.interface)
    return interface is not None and (interface.package_name, interface.interface) == (package, "store")


async def _open(workload: Workload, store: Import, name: str, where: str) -> GuardedBucket:
    function = workload.imports[store.name]["open"]
    try:
        opened = await (function.call if isinstance(function, HostFunction) else function)(name)
    except Err as error:
        case = error.value or Variant("other")
        text = f"the bucket {name!r} of {store.name} cannot be watched: {case.value or case.tag}"
        raise (FailureError if case.tag in _LATER else ConfigError)(text, where=where) from error
    assert isinstance(opened, GuardedBucket)  # noqa: S101  it is our own store's
    backend = opened.store.backend
    if "watch" not in backend.features:
        has = ", ".join(sorted(backend.features)) or "no features"
        raise ConfigError(
            f"the backend of {store.name} does not support watch, which trigger.watch needs",
            where=where,
            why=f"it declares {has}",
            fix="choose a backend that supports it, or remove trigger.watch",
        )
    return opened
