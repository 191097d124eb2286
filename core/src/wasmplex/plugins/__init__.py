"""Plugins: what they may provide (`contracts`), how they are found, loaded and asked for (`Registry`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wasmplex.plugins.identity import Group, PluginIdentity, PluginState, PluginStatus

if TYPE_CHECKING:
    from wasmplex.plugins.registry import Registry

__all__ = ["Group", "PluginIdentity", "PluginState", "PluginStatus", "Registry"]


def __getattr__(name: str) -> Any:
    """Import the registry when it is asked for: the command line reads metadata without it."""
    if name != "Registry":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from wasmplex.plugins.registry import Registry

    return Registry
