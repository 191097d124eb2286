"""What is said where nothing would call a component: which trigger could, and what to write for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wasmplex.errors import UsageError

if TYPE_CHECKING:
    from wasmplex.assembly import Assembly
    from wasmplex.component.shape import Shape
    from wasmplex.plugins.registry import Registry
    from wasmplex.routing.callers import Caller

__all__ = ["component_uncalled", "workloads_uncalled"]


def component_uncalled(host: Path, workload: str, shape: Shape, found: Sequence[Caller]) -> UsageError:
    """Return the error for a component that nothing calls, or that what calls it has to be told more.

    :param host: the component
    :param workload: what it is called in the configuration made for it
    :param found: the triggers that could call it
    """
    once = _invocation(host, workload, shape)
    if found:
        why = "; ".join(
            f"trigger.{c.trigger} calls {c.export}, but needs {', '.join(c.needs)}" for c in found
        )
        names = " or ".join(f"trigger.{caller.trigger}" for caller in found)
        fix = f"wasmplex new host {host}, then uncomment {names} in the host.toml"
        return UsageError(
            f"nothing would call {host} yet", why=why, fix=f"{fix}; {once} calls it once" if once else fix
        )
    exports = ", ".join(export.name for export in shape.exports)
    return UsageError(
        f"nothing would ever call {host}",
        why=f"no trigger calls what it exports: {exports}" if exports else "it exports nothing",
        fix=once or "build it with an export that a trigger calls, such as wasi:http/incoming-handler",
    )


def workloads_uncalled(assembly: Assembly, registry: Registry) -> UsageError:
    """Return the error for a configuration in which no workload has a trigger."""
    from wasmplex.routing.callers import callers

    file = assembly.config.path
    why, fix = "", ""
    for planned in assembly.workloads:
        name = planned.config.name
        if found := callers(planned.shape, registry):
            why = f"the component of {name} exports {found[0].export}, which trigger.{found[0].trigger} calls"
            fix = f"{found[0].line(file.name)} in [workload.{name}]"
            break
        fix = fix or _invocation(file, name, planned.shape)
    return UsageError(
        "no workload has a trigger, so nothing would ever happen",
        where=str(file),
        why=why or "no component exports anything that a trigger calls",
        fix=fix,
    )


_OF_TOOLCHAINS = frozenset({"init"})
"""Functions that toolchains export for themselves: componentize-py, componentize-qjs."""


def _invocation(config: Path, workload: str, shape: Shape) -> str:
    """Return the command that calls a component once; empty if nothing can be called as it is."""
    from wasmplex.component import InstanceType

    for export in shape.exports:
        if not isinstance(export.type, InstanceType) and export.name not in _OF_TOOLCHAINS:
            return f"wasmplex invoke {config} {workload} {export.name}"
    for export in shape.exports:
        for name, function in export.type.functions.items() if isinstance(export.type, InstanceType) else ():
            if not function.params:
                return f"wasmplex invoke {config} {workload} {name}"
    return ""
