"""The one function of routing: a workload, a component's shape and the plugins in, a plan out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

from wasmplex.component.shape import DefinedType, Import, NamedType, Shape
from wasmplex.config.model import Table, WorkloadConfig
from wasmplex.config.references import attempt
from wasmplex.errors import Diagnostic, RoutingError
from wasmplex.escaping import escape
from wasmplex.plugins.contracts import Grants
from wasmplex.plugins.registry import Registry
from wasmplex.routing.exports import Triggers
from wasmplex.routing.features import check_features
from wasmplex.routing.linkable import unlinkable
from wasmplex.routing.lookalikes import stand_ins
from wasmplex.routing.matching import Matches, match
from wasmplex.routing.plan import Plan, Route
from wasmplex.routing.relabelling import relabel
from wasmplex.routing.serving import Server

__all__ = ["plan"]


def plan(
    workload: WorkloadConfig,
    shape: Shape,
    registry: Registry,
    environ: Mapping[str, str],
    *,
    base: Path | None = None,
) -> Plan:
    """Decide who serves each import of a component, and what each trigger calls. Opens nothing.

    :param environ: what ``{ env = ... }`` refers to
    :param base: where relative paths of ``{ file = ... }`` start; None for the configuration's directory
    :raises RoutingError: with everything that does not fit together, in the order of the configuration
    """
    base = Path(workload.location.file).parent if base is None else base
    relabelled = relabel(shape, workload.bindings, registry)
    forgotten = stand_ins(relabelled.shape, workload, registry)
    reported = relabelled.broken | forgotten.names
    imports = [i for i in relabelled.shape.imports if i.name not in reported]
    bindings = [b for b in workload.bindings if b.label is None or b.label not in reported]
    matches = match(imports, shape.exports, bindings)
    server = Server(workload, registry, base, environ)
    routes = _routes(server, imports, matches)
    called = Triggers(workload.name, relabelled.shape, registry, routes, base, environ)
    triggers = called.route(workload.triggers)
    grants, grant_problems = _grants(workload, base, environ)
    problems = [
        *relabelled.problems,
        *forgotten.problems,
        *matches.problems,
        *server.all_problems(),
        *unlinkable(relabelled.shape, workload),
        *check_features(routes),
        *server.without_causes(called.problems),
        *grant_problems,
    ]
    made = Plan(workload, relabelled.shape, relabelled.renames, tuple(routes), tuple(triggers), grants)
    if not called.problems:
        problems += _alone(made)
    if problems:
        raise RoutingError(list(dict.fromkeys(problems)))
    return made


def _routes(server: Server, imports: Sequence[Import], matches: Matches) -> list[Route]:
    """Decide who serves each import that asks for functions; what nobody serves `server` remembers."""
    served = (
        server.serve(import_, matches.bindings.get(import_.name))
        for import_ in imports
        if not isinstance(import_.type, (NamedType, DefinedType)) and import_.name not in matches.mismatched
    )
    return [route for route in served if route is not None]


def _alone(made: Plan) -> list[Diagnostic]:
    """Say so where instances are to be in several calls at once, and cannot be."""
    wanted = made.workload.instances.concurrency
    if wanted in (None, 1) or made.shares_instances:
        return []
    return [
        Diagnostic(
            f"concurrency = {wanted}, and an instance of this component can be in one call only",
            str(made.workload.table.where("instances")),
            "no trigger calls an asynchronous interface of it, such as wasi:http/handler@0.3",
            "leave concurrency out; instances.max says how many calls run at once",
        )
    ]


def _grants(
    workload: WorkloadConfig, base: Path, environ: Mapping[str, str]
) -> tuple[Grants, list[Diagnostic]]:
    written: Table = replace(workload.table.sub("env"), values=workload.env)
    if not written.location.file:
        written = replace(written, location=workload.location)
    env, problems = attempt(written, base, environ)
    for name, value in env.items():
        if "\0" in str(value):
            what = f"the value of {escape(name)} must not hold a NUL character"
            problems.append(Diagnostic(what, str(written.where(name)), why="a guest's text would end there"))
    network = cast(Literal["deny", "allow"], workload.network)
    grants = Grants(
        {key: str(value) for key, value in env.items()},
        workload.args,
        workload.dirs,
        network,
        workload.allowed_hosts,
        workload.stdio,
    )
    return grants, problems
