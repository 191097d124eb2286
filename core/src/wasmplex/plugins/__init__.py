"""Plugins: what they may provide (`contracts`), how they are found, loaded and asked for (`Registry`)."""

from __future__ import annotations

from wasmplex.plugins.identity import Group, PluginIdentity, PluginState, PluginStatus
from wasmplex.plugins.registry import Registry

__all__ = ["Group", "PluginIdentity", "PluginState", "PluginStatus", "Registry"]
