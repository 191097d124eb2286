"""Everything a plugin author needs, in one place.

.. code-block:: python

    from wasmplex.plugin import BackendProvider, Settings, hookimpl
"""

from __future__ import annotations

from wasmplex.blocking import Threads
from wasmplex.component.shape import Export, Import, InstanceType, Shape
from wasmplex.errors import BackendError, ConfigError, Diagnostic, FailureError, GuestExit
from wasmplex.escaping import Escaped, escape
from wasmplex.logs import get_logger
from wasmplex.namedfiles import NamedFiles
from wasmplex.plugins.backends import Backend, BackendProvider, OpenContext
from wasmplex.plugins.contracts import (
    BoundInterfaces,
    Grants,
    GuestInstance,
    HostFunction,
    HostFunctions,
    ImportPart,
    ImportRequest,
    InterfaceProvider,
    Workload,
    WorkloadContext,
)
from wasmplex.plugins.hooks import hookimpl
from wasmplex.plugins.identity import API_VERSION
from wasmplex.plugins.limits import Limits
from wasmplex.plugins.plain_classes import wit_package
from wasmplex.plugins.tables import LazyProvider, Tables, methods
from wasmplex.plugins.triggers import (
    ExportAdapter,
    OwnBackend,
    RunningTrigger,
    Source,
    Through,
    Trigger,
    TriggerBinding,
    TriggerSource,
    TriggerUse,
)
from wasmplex.policy import Dialect, Guard, PolicySettings, Scope, operation, stream
from wasmplex.settings import Duration, OwnWords, SecretStr, SecretUrl, Settings, Size
from wasmplex.streams import ByteSource, IncomingStream, StreamAborted, StreamClosed, StreamWriter, channel
from wasmplex.tls import client_tls
from wasmplex.unreachable import why_unreachable
from wasmplex.values import Err, Ok, Some, Variant

__all__ = [
    "API_VERSION", "Backend", "BackendError", "BackendProvider", "BoundInterfaces", "ByteSource",
    "ConfigError",
    "Diagnostic", "Dialect", "Duration", "Err", "Escaped", "Export", "ExportAdapter",
    "FailureError", "Grants", "Guard", "GuestExit", "GuestInstance", "HostFunction",
    "HostFunctions", "Import", "ImportPart", "ImportRequest", "IncomingStream", "InstanceType",
    "InterfaceProvider", "LazyProvider", "Limits", "NamedFiles", "Ok", "OpenContext", "OwnBackend",
    "OwnWords",
    "PolicySettings", "RunningTrigger", "Scope", "SecretStr", "SecretUrl", "Settings", "Shape",
    "Size", "Some", "Source", "StreamAborted", "StreamClosed", "StreamWriter", "Tables", "Threads", "Through",
    "Trigger", "TriggerBinding", "TriggerSource", "TriggerUse", "Variant", "Workload", "WorkloadContext",
    "channel", "client_tls", "escape", "get_logger", "hookimpl", "methods", "operation", "stream",
    "why_unreachable", "wit_package",
]  # fmt: skip
