"""Everything a plugin author needs, in one place.

.. code-block:: python

    from wasmplex.plugin import BackendProvider, Settings, hookimpl
"""

from __future__ import annotations

from wasmplex.component.shape import Export, Import, InstanceType, Shape
from wasmplex.errors import BackendError, ConfigError, Diagnostic, FailureError, GuestExit
from wasmplex.escaping import Escaped, escape
from wasmplex.logs import get_logger
from wasmplex.plugins.contracts import (
    API_VERSION,
    Backend,
    BackendProvider,
    BoundInterfaces,
    Grants,
    GuestInstance,
    HostFunction,
    HostFunctions,
    ImportRequest,
    InterfaceProvider,
    Limits,
    OpenContext,
    Workload,
    WorkloadContext,
)
from wasmplex.plugins.hooks import hookimpl
from wasmplex.plugins.plain_classes import wit_package
from wasmplex.plugins.triggers import (
    ExportAdapter,
    OwnBackend,
    RunningTrigger,
    Source,
    Through,
    Trigger,
    TriggerBinding,
    TriggerSource,
)
from wasmplex.settings import Duration, SecretStr, SecretUrl, Settings, Size
from wasmplex.values import Err, Ok, Some, Variant

__all__ = [
    "API_VERSION", "Backend", "BackendError", "BackendProvider", "BoundInterfaces", "ConfigError",
    "Diagnostic", "Duration", "Err", "Escaped", "Export", "ExportAdapter", "FailureError", "Grants",
    "GuestExit", "GuestInstance", "HostFunction", "HostFunctions", "Import", "ImportRequest",
    "InstanceType", "InterfaceProvider", "Limits", "Ok", "OpenContext", "OwnBackend", "RunningTrigger",
    "SecretStr", "SecretUrl", "Settings", "Shape", "Size", "Some", "Source", "Through", "Trigger",
    "TriggerBinding", "TriggerSource", "Variant", "Workload", "WorkloadContext", "escape", "get_logger",
    "hookimpl", "wit_package",
]  # fmt: skip
