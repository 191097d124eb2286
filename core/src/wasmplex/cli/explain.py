"""``wasmplex explain``: the way from one import to whoever serves it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wasmplex.cli.command import Command
from wasmplex.cli.eventloop import in_event_loop
from wasmplex.cli.hostfile import load_host
from wasmplex.cli.options import as_json, config_argument, registry
from wasmplex.cli.output import echo
from wasmplex.cli.table import echo_json, echo_pairs
from wasmplex.errors import UsageError, nearest

if TYPE_CHECKING:
    from wasmplex.assembly import Assembly, PlannedWorkload
    from wasmplex.config import BindingConfig
    from wasmplex.routing import BackendRoute, Route

__all__ = ["command"]


@click.command(
    "explain",
    cls=Command,
    examples=[
        "wasmplex explain host.toml cache",
        "wasmplex explain host.toml shop/cache --json",
    ],
)
@config_argument(required=True)
@click.argument("label")
@as_json
@click.pass_context
def command(ctx: click.Context, host: Path, label: str, as_json: bool) -> None:
    """Show how an import gets to the backend that serves it.

    LABEL is a label or an interface id, with WORKLOAD/ before it if several workloads have it and only one is
    meant. Nothing is opened; secrets are shown as they are written in the configuration.
    """
    from wasmplex.assembly import assemble

    config = load_host(host, registry(ctx), tell=False)
    assembly = in_event_loop(assemble, config, registry(ctx), os.environ)
    found = [_explain(planned, route) for planned, route in _matches(assembly, label)]
    if as_json:
        echo_json(found)
        return
    for number, explained in enumerate(found):
        if number:
            echo()
        _echo(explained)


def _matches(assembly: Assembly, label: str) -> list[tuple[PlannedWorkload, Route]]:
    every = {
        (planned.config.name, route.import_.name): (planned, route)
        for planned in assembly.components
        for route in planned.plan.routes
    }
    found = [match for (workload, name), match in every.items() if label in (name, f"{workload}/{name}")]
    if not found:
        raise UsageError(
            f"no workload imports {label!r}",
            where=str(assembly.config.path),
            fix=nearest(label, [name for _, name in every]),
        )
    return found


def _explain(planned: PlannedWorkload, route: Route) -> dict[str, Any]:
    """Return the steps from the import to the endpoint; those that it does not have are None."""
    provider, backend = route.provider, route.backend
    return {
        "workload": planned.config.name,
        "component": str(planned.config.component),
        "import": route.import_.name,
        "interface": route.import_.interface,
        "renamed_from": _renamed_from(planned, route),
        "served_by": route.kind.value,
        "binding": str(route.where) if route.where else None,
        "granted": None if route.granted is None else sorted(route.granted),
        "interface_provider": None
        if provider is None or route.plugin is None
        else {
            "package": "@".join(filter(None, (provider.package, provider.version))),
            "plugin": route.plugin.name,
            "distribution": route.plugin.requirement,
        },
        "backend": None if backend is None else _backend(backend),
        "namespace": route.namespace if backend is not None else None,
        "settings": _settings(planned, route),
        "backends": _parts(planned, route),
    }


def _backend(backend: BackendRoute) -> dict[str, Any]:
    return {
        "name": backend.provider.name,
        "capability": backend.provider.capability,
        "plugin": backend.plugin.name,
        "distribution": backend.plugin.requirement,
        "features": sorted(backend.provider.features),
        "durability": backend.provider.durability,
    }


def _parts(planned: PlannedWorkload, route: Route) -> dict[str, Any] | None:
    """Return what serves each name that guests open, where each has a backend of its own."""
    from wasmplex.config import redact

    binding, provider = _binding(planned, route), route.provider
    if not route.parts or binding is None or provider is None or provider.backends_in is None:
        return None
    found = {}
    for name, part in route.parts.items():
        table, models = binding.settings.sub(provider.backends_in, name), part.backend.provider.settings
        own = replace(table, values={key: value for key, value in table.values.items() if key != "backend"})
        found[name] = {
            **_backend(part.backend),
            "namespace": part.namespace,
            "binding": str(part.backend.where),
            "settings": redact(own, models, provider.settings, plain={"namespace"}),
        }
    return found


def _renamed_from(planned: PlannedWorkload, route: Route) -> str | None:
    for old, (label, _) in planned.plan.relabels.items():
        if label == route.import_.name:
            return old
    return None


def _binding(planned: PlannedWorkload, route: Route) -> BindingConfig | None:
    found = (b for b in planned.config.bindings if b.settings.location == route.where)
    return next(found, None) if route.backends else None


def _settings(planned: PlannedWorkload, route: Route) -> dict[str, Any] | None:
    from wasmplex.config import redact

    binding, provider = _binding(planned, route), route.provider
    if binding is None:
        return None
    models = [] if route.backend is None else [route.backend.provider.settings]
    left_out = None
    if provider is not None:
        models.append(provider.settings)
        left_out = provider.backends_in if route.parts else None
    values = {key: value for key, value in binding.settings.values.items() if key != left_out}
    return redact(replace(binding.settings, values=values), *models, plain={"namespace"})


def _echo(explained: dict[str, Any]) -> None:
    provider = explained["interface_provider"] or {}
    renamed, granted = explained["renamed_from"], explained["granted"] or ()
    echo_pairs(
        [
            ("workload", f"{explained['workload']}  ({explained['component']})"),
            ("import", explained["import"] + (f"  (in the file: {renamed})" if renamed else "")),
            ("interface", explained["interface"]),
            ("binding", explained["binding"] or ""),
            ("granted", ", ".join(granted)),
            ("served by", _SERVED_BY.get(explained["served_by"], explained["served_by"])),
            ("provider", f"{provider['package']}  from {provider['distribution']}" if provider else ""),
            *_backend_lines(explained["backend"] or {}, explained["namespace"]),
        ]
    )
    _echo_settings(explained["settings"])
    for name, part in (explained["backends"] or {}).items():
        echo()
        lines = _backend_lines(part, part["namespace"])
        echo_pairs([("opened as", name), ("binding", part["binding"]), *lines])
        _echo_settings(part["settings"])


def _backend_lines(backend: dict[str, Any], namespace: str | None) -> list[tuple[str, str]]:
    return [
        ("backend", f"{backend['name']}  from {backend['distribution']}" if backend else ""),
        ("features", ", ".join(backend.get("features", ()))),
        ("durability", backend.get("durability", "")),
        ("namespace", namespace or ""),
    ]


def _echo_settings(settings: dict[str, Any] | None) -> None:
    for name, value in (settings or {}).items():
        if name == "namespace":  # it has a line of its own, also where it is not configured
            continue
        echo(f"  {name} = {value if isinstance(value, str) else _text(value)}")


_SERVED_BY = {
    "binding": "the binding",
    "host": "the host; it needs no binding",
    "resource": "the backend that each resource came from",
    "types": "nobody: it has types alone",
}


def _text(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, default=str)
