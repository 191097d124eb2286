"""WASI 0.2 and 0.3 in Python: io, cli, clocks, random, filesystem, sockets, http.

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
    from host_plugin_wasi.packages import PROVIDERS, PROVIDERS_3

    return [provider() for provider in (*PROVIDERS, *PROVIDERS_3)]


@hookimpl
def wasmplex_export_adapters() -> Iterable[ExportAdapter]:
    """Return what the trigger ``http`` calls ``handler`` of 0.3 and ``incoming-handler`` of 0.2 by."""
    from host_plugin_wasi.http.handler import IncomingHandler
    from host_plugin_wasi.p3.handler import Handler

    return [Handler(), IncomingHandler()]
