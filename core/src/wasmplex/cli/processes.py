"""What of a configuration several processes cannot serve together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from wasmplex.errors import Diagnostic

if TYPE_CHECKING:
    from wasmplex.assembly import Assembly

__all__ = ["nothing_shared", "separate_backends", "shares_nothing"]


def separate_backends(assembly: Assembly, workers: int) -> Iterator[Diagnostic]:
    """Say which bindings would have data of their own in each worker, and have not been allowed to."""
    for planned in assembly.components:
        for route in planned.plan.backends:
            allowed = route.provider.per_worker
            if not route.provider.in_process or (allowed and getattr(route.settings, allowed)):
                continue
            users = [" ".join(user) for user in planned.plan.users(route)]
            fix = "use a backend that processes share, or run one worker"
            if allowed:
                fix = f"{allowed} = true if each may have its own; else {fix}"
            done = "sent" if route.provider.capability == "messaging" else "written"
            yield Diagnostic(
                f"backend {route.provider.name!r} of {', '.join(users)} is in the memory of one process",
                where=str(route.where),
                why=f"each of {workers} workers would have its own, with what it alone has {done}",
                fix=fix,
            )


def shares_nothing(assembly: Assembly) -> bool:
    """Say whether no trigger can be shared, whatever its settings are; others are asked when they start."""
    from wasmplex.plugins.triggers import Trigger

    routes = [route for planned in assembly.workloads for route in planned.plan.triggers]
    return all(type(route.trigger).share is Trigger.share for route in routes)


def nothing_shared(assembly: Assembly) -> Diagnostic:
    """Return what to say where nothing is served that workers could share."""
    names = {route.name for planned in assembly.workloads for route in planned.plan.triggers}
    told = f": trigger {', '.join(sorted(names))}" if names else ": there is no trigger"
    return Diagnostic(
        f"nothing is served that workers could share{told}",
        where=str(assembly.config.path),
        why="one worker alone would run it" if names else "",
        fix="wasmplex run without --workers",
    )
