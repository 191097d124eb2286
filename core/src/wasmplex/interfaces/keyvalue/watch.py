"""Exported ``watcher`` interfaces of the key-value packages, called by the trigger ``watch``."""

from __future__ import annotations

from functools import partial

from wasmplex.capabilities.keyvalue import Change
from wasmplex.capabilities.keyvalue.watch import Watched, WatchHandler
from wasmplex.component.shape import Export
from wasmplex.errors import ConfigError, FailureError
from wasmplex.interfaces.keyvalue.policy import GuardedBucket
from wasmplex.plugins.contracts import HostFunction, Workload
from wasmplex.plugins.triggers import ExportAdapter, TriggerBinding
from wasmplex.values import Err, Variant

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

        async def watch(binding: TriggerBinding) -> Watched:
            opened = await _open(binding)
            deliver = partial(_deliver, binding.workload, export.name, opened)
            return Watched(opened.bucket.watch, deliver, opened.store.settings.max_value)

        return watch


async def _deliver(workload: Workload, export: str, bucket: GuardedBucket, change: Change) -> None:
    async with workload.instance() as instance:
        if change.value is None:
            await instance.call(f"{export}#on-delete", bucket, change.key)
        else:
            await instance.call(f"{export}#on-set", bucket, change.key, change.value)


async def _open(binding: TriggerBinding) -> GuardedBucket:
    source, name = binding.source, binding.settings.bucket
    assert source is not None  # noqa: S101  the trigger asks for one
    function = source.functions["open"]
    try:
        opened = await (function.call if isinstance(function, HostFunction) else function)(name)
    except Err as error:
        case = error.value or Variant("other")
        text = f"the bucket {name!r} cannot be watched: {case.value or case.tag}"
        raise (FailureError if case.tag in _LATER else ConfigError)(text, where=binding.where) from error
    assert isinstance(opened, GuardedBucket)  # noqa: S101  it is our own store's
    backend = opened.store.backend
    if "watch" not in backend.features:  # the provider has it, and this server has not
        raise ConfigError(
            "the server of this bucket does not support watch, which trigger.watch needs",
            where=binding.where,
            why=f"with it, {source.plugin} has {', '.join(sorted(backend.features)) or 'no features'}",
            fix="choose a backend that supports it, or remove trigger.watch",
        )
    return opened
