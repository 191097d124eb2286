"""What of a running host is measured, and how: its workloads, its backends, the calls between them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final, Protocol

from wasmplex.backends import PoolStatistics as BackendStatistics
from wasmplex.errors import (
    CallCancelled,
    DeadlineExceeded,
    GuestError,
    GuestExit,
    LimitExceeded,
    LimitReached,
    Trap,
    exited_well,
)
from wasmplex.instances import PoolStatistics
from wasmplex.metrics import Calls, Family, Figures, Kind
from wasmplex.plugins.contracts import HostFunction, HostFunctions

__all__ = ["Measured", "cause_of", "metered", "of_backends", "of_workloads"]

_CAUSES: Final[tuple[tuple[type[GuestError], str], ...]] = (
    (LimitReached, "limit"),
    (Trap, "trap"),
    (DeadlineExceeded, "deadline"),
    (LimitExceeded, "busy"),
    (GuestExit, "exit"),
    (CallCancelled, "cancelled"),
)
_INSTANCES: Final[tuple[tuple[str, Kind, str, str], ...]] = (
    ("live", "gauge", "wasmplex_instances_live", "Instances that exist, idle or in a call."),
    ("idle", "gauge", "wasmplex_instances_idle", "Instances that wait for a call."),
    ("waiting", "gauge", "wasmplex_calls_waiting", "Calls that wait for an instance."),
    ("created", "counter", "wasmplex_instances_created", "Instances ever made."),
)
_BACKENDS: Final[tuple[tuple[str, Kind, str, str], ...]] = (
    ("open", "gauge", "wasmplex_backends_open", "Backends that are open."),
    ("down", "gauge", "wasmplex_backends_down", "Open backends that are known to be down."),
    ("bindings", "gauge", "wasmplex_backend_bindings", "Bindings that hold an open backend."),
    ("opened", "counter", "wasmplex_backends_opened", "Backends opened so far."),
    ("failed", "counter", "wasmplex_backend_failures", "Attempts to open a backend that failed."),
    ("outages", "counter", "wasmplex_backend_outages", "Times that a server was found to be down."),
)


class Measured(Protocol):
    """A running workload."""

    @property
    def name(self) -> str:
        """Its name in the configuration."""

    def statistics(self) -> PoolStatistics:
        """Return how many instances there are, and how many calls wait for one."""


def cause_of(error: BaseException) -> str:
    """Return what a call that ended with `error` is counted as; empty for what the guest itself said.

    It says by `exit` with 0 that all went well.
    """
    if exited_well(error):
        return ""
    if isinstance(error, LimitExceeded) and error.called:
        return "limit"
    return next((name for kind, name in _CAUSES if isinstance(error, kind)), "")


def of_workloads(workloads: Iterable[Measured]) -> list[Family]:
    """Return how many instances the workloads have, and how many calls wait for one."""
    families = [Family(name, kind, text, ("workload",)) for _, kind, name, text in _INSTANCES]
    for workload in workloads:
        statistics = workload.statistics()
        for family, (field, *_) in zip(families, _INSTANCES, strict=True):
            family.add((workload.name,), getattr(statistics, field))
    return families


def of_backends(statistics: BackendStatistics) -> list[Family]:
    """Return how the backends of each provider fare."""
    families = [Family(name, kind, text, ("backend",)) for _, kind, name, text in _BACKENDS]
    for provider, one in statistics.providers.items():
        for family, (field, *_) in zip(families, _BACKENDS, strict=True):
            family.add((provider,), getattr(one, field))
    return families


def metered(functions: HostFunctions, figures: Figures, workload: str, label: str) -> HostFunctions:
    """Return the functions of one import, each with its counter; decided once, when the import is linked."""
    return {
        name: _metered(function, figures.operation(workload, label, name))
        for name, function in functions.items()
    }


def _metered(function: HostFunction | Callable[..., Any], calls: Calls) -> HostFunction | Callable[..., Any]:
    if isinstance(function, HostFunction):
        return replace(function, call=_counting(function.call, calls))
    return _counting(function, calls)


def _counting(call: Callable[..., Any], calls: Calls) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(call):

        @functools.wraps(call)
        async def waiting(*args: Any) -> Any:
            calls.count += 1
            try:
                return await call(*args)
            except Exception:
                calls.errors += 1
                raise

        return waiting

    @functools.wraps(call)
    def plain(*args: Any) -> Any:
        calls.count += 1
        try:
            return call(*args)
        except Exception:
            calls.errors += 1
            raise

    return plain
