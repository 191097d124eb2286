"""What stands between guests and every backend: deadlines, grants, typed errors, names, cursors."""

from __future__ import annotations

from wasmplex.policy.guard import (
    Dialect,
    Guard,
    Guarded,
    PolicySettings,
    Scope,
    operation,
    steps,
    stream,
    typed,
)

__all__ = ["Dialect", "Guard", "Guarded", "PolicySettings", "Scope", "operation", "steps", "stream", "typed"]
