"""Configuration: host.toml or host.yaml to `HostConfig`, every error with its file, line and remedy."""

from __future__ import annotations

from wasmplex.config.loading import load, loads, unknown_triggers
from wasmplex.config.model import (
    BackendsConfig,
    BindingConfig,
    EngineConfig,
    EnvRef,
    FileRef,
    HostConfig,
    InstancesConfig,
    KeyPath,
    Location,
    Table,
    WorkloadConfig,
)
from wasmplex.config.references import resolve
from wasmplex.config.secrecy import redact
from wasmplex.config.validation import validate

__all__ = [
    "BackendsConfig",
    "BindingConfig",
    "EngineConfig",
    "EnvRef",
    "FileRef",
    "HostConfig",
    "InstancesConfig",
    "KeyPath",
    "Location",
    "Table",
    "WorkloadConfig",
    "load",
    "loads",
    "redact",
    "resolve",
    "unknown_triggers",
    "validate",
]
