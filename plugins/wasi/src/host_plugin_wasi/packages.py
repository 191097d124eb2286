"""The WIT packages served: names, versions and interfaces, and where the implementation of each is."""

from __future__ import annotations

from wasmplex.plugin import InterfaceProvider, LazyProvider

from host_plugin_wasi.http_settings import OutgoingSettings

__all__ = ["PROVIDERS", "PROVIDERS_3", "VERSION", "VERSION_3", "IoProvider"]

VERSION = "0.2.12"
"""The highest version served. Later 0.2.x add functions only, so it serves every guest of the track."""


VERSION_3 = "0.3"
"""The canonical version, which serves every 0.3.x; what a later one has besides is refused by its name."""


class _Provider(LazyProvider):
    """One package of WASI 0.2."""

    version = VERSION
    linked_directly = True


class IoProvider(_Provider):
    """``wasi:io``."""

    package = "wasi:io"
    interfaces = frozenset({"error", "poll", "streams"})
    module = "host_plugin_wasi.io_interfaces"


class ClocksProvider(_Provider):
    """``wasi:clocks``."""

    package = "wasi:clocks"
    interfaces = frozenset({"monotonic-clock", "timezone", "wall-clock"})
    module = "host_plugin_wasi.clocks"


class RandomProvider(_Provider):
    """``wasi:random``."""

    package = "wasi:random"
    interfaces = frozenset({"insecure", "insecure-seed", "random"})
    module = "host_plugin_wasi.random"


class CliProvider(_Provider):
    """``wasi:cli``."""

    package = "wasi:cli"
    interfaces = frozenset({
        "environment", "exit", "stderr", "stdin", "stdout", "terminal-input", "terminal-output",
        "terminal-stderr", "terminal-stdin", "terminal-stdout",
    })  # fmt: skip
    module = "host_plugin_wasi.cli"


class FilesystemProvider(_Provider):
    """``wasi:filesystem``."""

    package = "wasi:filesystem"
    interfaces = frozenset({"preopens", "types"})
    module = "host_plugin_wasi.filesystem"


class SocketsProvider(_Provider):
    """``wasi:sockets``."""

    package = "wasi:sockets"
    interfaces = frozenset({
        "instance-network", "ip-name-lookup", "network", "tcp", "tcp-create-socket", "udp",
        "udp-create-socket",
    })  # fmt: skip
    module = "host_plugin_wasi.sockets"


class HttpProvider(_Provider):
    """``wasi:http``."""

    package = "wasi:http"
    interfaces = frozenset({"outgoing-handler", "types"})
    settings = OutgoingSettings
    module = "host_plugin_wasi.http"


class _Provider3(LazyProvider):
    """One package of WASI 0.3."""

    version = VERSION_3


class Clocks3Provider(_Provider3):
    """``wasi:clocks@0.3``."""

    package = "wasi:clocks"
    interfaces = frozenset({"monotonic-clock", "system-clock", "timezone", "types"})
    module = "host_plugin_wasi.p3.clocks"


class Random3Provider(_Provider3):
    """``wasi:random@0.3``."""

    package = "wasi:random"
    interfaces = RandomProvider.interfaces
    module = "host_plugin_wasi.p3.random"


class Cli3Provider(_Provider3):
    """``wasi:cli@0.3``."""

    package = "wasi:cli"
    interfaces = CliProvider.interfaces | {"types"}
    module = "host_plugin_wasi.p3.cli"


class Filesystem3Provider(_Provider3):
    """``wasi:filesystem@0.3``."""

    package = "wasi:filesystem"
    interfaces = frozenset({"preopens", "types"})
    module = "host_plugin_wasi.p3.filesystem"


class Sockets3Provider(_Provider3):
    """``wasi:sockets@0.3``."""

    package = "wasi:sockets"
    interfaces = frozenset({"ip-name-lookup", "types"})
    module = "host_plugin_wasi.p3.sockets"


class Http3Provider(_Provider3):
    """``wasi:http@0.3``."""

    package = "wasi:http"
    interfaces = frozenset({"client", "types"})
    settings = OutgoingSettings
    module = "host_plugin_wasi.p3.http"


PROVIDERS: tuple[type[InterfaceProvider], ...] = (
    IoProvider, ClocksProvider, RandomProvider, CliProvider, FilesystemProvider, SocketsProvider,
    HttpProvider,
)  # fmt: skip
"""Those of 0.2."""

PROVIDERS_3: tuple[type[InterfaceProvider], ...] = (
    Clocks3Provider, Random3Provider, Cli3Provider, Filesystem3Provider, Sockets3Provider, Http3Provider,
)  # fmt: skip
"""Those of 0.3."""
