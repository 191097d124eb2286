"""``wasmplex import``: the configuration for what another host's manifest describes."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wasmplex.cli.command import Command
from wasmplex.cli.files import write_file
from wasmplex.cli.logs import say
from wasmplex.cli.output import echo, echo_lines
from wasmplex.errors import ComponentError, UsageError

if TYPE_CHECKING:
    from wasmplex.component.shape import Shape
    from wasmplex.migration import Imported

__all__ = ["command"]

_MAX_COMPONENT = 2**30


@click.command(
    "import",
    cls=Command,
    examples=[
        "wasmplex import workload.yaml -o host.toml",
        "wasmplex import spin.toml --runtime-config runtime-config.toml",
    ],
)
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write, which must not be there; standard output if absent.",
)  # fmt: skip
@click.option(
    "--runtime-config", type=click.Path(path_type=Path, dir_okay=False),
    help="Spin's runtime configuration, which has the backends of its stores.",
)  # fmt: skip
def command(manifest: Path, output: Path | None, runtime_config: Path | None) -> None:
    """Write the host.toml for a manifest of another host.

    MANIFEST is a WorkloadDeployment of wasmCloud, in YAML, or a spin.toml. What has no counterpart is said on
    standard error, and in the file. A component that is where the manifest has it is looked at, and what it
    does not need is left out.
    """
    from wasmplex.migration import read_manifest

    if output is not None and os.path.lexists(output):
        raise UsageError(f"{output} exists already", fix="choose another --output")
    folder = manifest.parent
    found = read_manifest(manifest, lambda name: _shape(folder / name), runtime_config)
    _move(found, folder, Path() if output is None else output.parent)
    for note in found.notes:
        say(f"note: {note}")
    if output is None:
        echo_lines(found.text())
        return
    write_file(output, found.text().encode())
    echo(f"made {output}. Next:")
    echo(f"  wasmplex check {shlex.quote(str(output))}")


def _shape(path: Path) -> Shape | None:
    """Return the shape of a component; None if there is none that can be read, which `check` says."""
    from wasmplex.component import read

    try:
        return read(path.read_bytes()) if path.stat().st_size <= _MAX_COMPONENT else None
    except (OSError, ValueError, ComponentError):
        return None


def _move(found: Imported, old: Path, new: Path) -> None:
    """Have paths start where the configuration will be."""

    def moved(path: str) -> str:
        return path if Path(path).is_absolute() else os.path.relpath(old / path, new)

    for workload in found.workloads:
        workload.component = moved(workload.component)
        if "dirs" in workload.keys:
            workload.keys["dirs"] = {at: moved(path) for at, path in workload.keys["dirs"].items()}
