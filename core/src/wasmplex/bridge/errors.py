"""Errors of the bridge."""

from __future__ import annotations

from wasmplex.errors import LinkError

__all__ = ["BridgeError"]


class BridgeError(LinkError):
    """Raised when no adapter can be generated for a function, naming the type that it cannot carry."""
