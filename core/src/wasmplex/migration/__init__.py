"""Manifests of other hosts, read as they are, and what a ``host.toml`` says in their place.

Nothing is opened but the manifest; a component that is where the manifest has it tells which of its words are
needed. What has no counterpart is said, never left out in silence.
"""

from __future__ import annotations

from wasmplex.migration.drafts import Imported
from wasmplex.migration.reading import read_manifest
from wasmplex.migration.shapes import Look

__all__ = ["Imported", "Look", "read_manifest"]
