"""Everything a plugin author needs, in one place.

.. code-block:: python

    from wasmplex.plugin import BackendProvider, Settings, hookimpl
"""

from __future__ import annotations

from wasmplex.errors import BackendError, GuestExit
from wasmplex.plugins.contracts import (
    API_VERSION,
    Backend,
    BackendProvider,
    BoundInterfaces,
    ExportAdapter,
    Grants,
    GuestInstance,
    HostFunction,
    HostFunctions,
    ImportRequest,
    InterfaceProvider,
    OpenContext,
    Trigger,
    TriggerBinding,
    Workload,
    WorkloadContext,
)
from wasmplex.plugins.hooks import hookimpl
from wasmplex.settings import Duration, SecretStr, Settings, Size
from wasmplex.values import Err, Ok, Some, Variant

__all__ = [
    "API_VERSION", "Backend", "BackendError", "BackendProvider", "BoundInterfaces", "Duration", "Err",
    "ExportAdapter", "Grants", "GuestExit", "GuestInstance", "HostFunction", "HostFunctions", "ImportRequest",
    "InterfaceProvider", "Ok", "OpenContext", "SecretStr", "Settings", "Size", "Some", "Trigger",
    "TriggerBinding", "Variant", "Workload", "WorkloadContext", "hookimpl",
]  # fmt: skip
