"""What the argument CONFIG means: a configuration, or a component, which is given one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from wasmplex.cli.files import about, read_component
from wasmplex.cli.logs import say
from wasmplex.cli.uncalled import component_uncalled

if TYPE_CHECKING:
    from wasmplex.config import HostConfig
    from wasmplex.plugins.registry import Registry
    from wasmplex.routing.drafting import Draft

__all__ = ["draft_for", "is_component", "load_host", "require_served"]

_MAGIC = b"\0asm"


def load_host(
    host: Path, registry: Registry, *, tell: bool = True, serve: bool = False, partial: bool = False
) -> HostConfig:
    """Read a configuration; a component gets the one that it needs, which is said.

    :param tell: whether to say so
    :param serve: whether something has to call it
    :param partial: whether it will be planned, which tells what else is wrong; see `wasmplex.config.load`
    :raises WasmplexError: if it cannot be read, or says what it should not
    """
    from wasmplex.config import load, loads

    if not is_component(host):
        return load(host, partial=partial)
    drafted = draft_for(host, host.name, registry)
    config = loads(drafted.text, host, name=f"the configuration made for {host.name}")
    if serve and not drafted.triggers:
        require_served(drafted, config, registry)
        raise component_uncalled(host, drafted.workload, drafted.shape, drafted.others)
    if tell:
        _tell(host, drafted)
    return config


def is_component(path: Path) -> bool:
    """Say whether a path is meant to be a component: by its name, or by how the file begins."""
    if path.suffix.lower() == ".wasm":
        return not path.is_dir()
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except (OSError, ValueError):
        return False


def draft_for(path: Path, component: str, registry: Registry) -> Draft:
    """Return the configuration that a component needs.

    :param component: its path, as the configuration is to have it
    :raises ComponentError: if it cannot be read, or is none
    """
    from wasmplex.component import read
    from wasmplex.routing.drafting import draft

    wasm = read_component(path)
    with about(path):
        shape = read(wasm)
    return draft(shape, component, registry)


def require_served(drafted: Draft, config: HostConfig, registry: Registry) -> None:
    """Have it said what a component imports that no configuration of it will have served.

    :param config: the drafted one, read
    :raises RoutingError: with all of it
    """
    from wasmplex.routing import plan

    for workload in config.workloads.values():
        plan(workload, drafted.shape, registry, os.environ, base=config.base)


def _tell(host: Path, drafted: Draft) -> None:
    say(f"{host} has no configuration; it gets the one that `wasmplex new host {host}` writes:")
    for line in drafted.text.splitlines():
        say(f"  {line}".rstrip())
    if kept := [label for label, backend in drafted.backends.items() if backend == "memory"]:
        keep = "keeps" if len(kept) == 1 else "keep"
        say(f"what {' and '.join(kept)} {keep} is in memory, and gone when this ends")
