"""WASI 0.2 in Python: io, cli, clocks, random, filesystem, sockets, http.

Importing this module imports none of the implementations: each package's is imported when a workload
that needs it is bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasmplex.plugin import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wasmplex.plugin import ExportAdapter, InterfaceProvider

__all__ = ["wasmplex_export_adapters", "wasmplex_interfaces"]


@hookimpl
def wasmplex_interfaces() -> Iterable[InterfaceProvider]:
    """Return one provider per WIT package."""
    from host_plugin_wasi.packages import PROVIDERS

    return [provider() for provider in PROVIDERS]


@hookimpl
def wasmplex_export_adapters() -> Iterable[ExportAdapter]:
    """Return the adapter by which the trigger ``http`` calls ``wasi:http/incoming-handler``."""
    from host_plugin_wasi.http.handler import IncomingHandler

    return [IncomingHandler()]
