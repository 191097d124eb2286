"""A host for WebAssembly components that routes labelled imports to pluggable backends.

.. code-block:: python

    async with wasmplex.Host.from_config("host.toml") as host:
        print(await host.call("shop", "run", "key"))

    app = wasmplex.asgi("host.toml")    # for any ASGI server
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wasmplex.embedding import asgi as asgi
    from wasmplex.host import Host as Host

__all__ = ["Host", "__version__", "asgi"]

__version__ = "0.1.0"

_LAZY = {"Host": "wasmplex.host", "asgi": "wasmplex.embedding"}


def __getattr__(name: str) -> Any:
    """Import what is asked for: the engine takes time that ``wasmplex --help`` does not have."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
