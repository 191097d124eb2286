"""Finds out whose manifest a file is."""

from __future__ import annotations

from pathlib import Path

from wasmplex.config.source import read_all
from wasmplex.errors import ConfigError
from wasmplex.migration import spin, wasmcloud
from wasmplex.migration.drafts import Imported
from wasmplex.migration.shapes import Look

__all__ = ["read_manifest"]


def read_manifest(path: Path, look: Look, runtime_config: Path | None = None) -> Imported:
    """Read a ``WorkloadDeployment`` of wasmCloud or a ``spin.toml``.

    :param runtime_config: Spin's ``runtime-config.toml``, which has the backends of its stores
    :raises ConfigError: it cannot be read, or is neither
    """
    documents = read_all(path)
    if any(wasmcloud.is_manifest(document) for document in documents):
        return wasmcloud.imported(documents, path.name, look)
    if any(spin.is_manifest(document) for document in documents):
        stores = None if runtime_config is None else read_all(runtime_config)[0]
        return spin.imported(documents[0], path.name, look, stores)
    raise ConfigError(
        f"{path} is no manifest that can be imported",
        why="it is neither a WorkloadDeployment of wasmCloud nor a spin.toml",
        fix="wasmplex new host COMPONENT.wasm writes a configuration for a component",
    )
