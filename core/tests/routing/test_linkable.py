"""What cannot be linked, whoever serves it: said before anything is opened."""

from __future__ import annotations

from pathlib import Path

from wasmplex.component import read
from wasmplex.engine.text import assemble
from wasmplex.routing.linkable import unlinkable

from .worlds import config


def reasons(folder: Path, imports: str) -> list[str]:
    workload = config(folder, "").workloads["shop"]
    found = unlinkable(read(assemble(f"(component {imports})")), workload)
    assert all("host.toml:2" in diagnostic.where for diagnostic in found)
    return [diagnostic.why for diagnostic in found]


def test_functions_resources_and_types_can_be_linked(tmp_path: Path) -> None:
    assert not reasons(
        tmp_path,
        """(import "a:b/c" (instance (export "r" (type (sub resource)))
      (export "f" (func (param "s" (stream u8)) (result u32)))))""",
    )


def test_what_a_host_has_none_of_is_named(tmp_path: Path) -> None:
    [module, instance, error] = reasons(
        tmp_path,
        """(import "a:b/c" (instance
      (export "m" (core module)) (export "n" (instance (export "g" (func))))
      (export "f" (func (param "e" error-context)))))""",
    )
    assert "'m' in it is a core module" in module
    assert "'n' in it is an instance" in instance
    assert "function 'f'" in error
    assert "error-context" in error


def test_names_of_what_the_host_adds_are_its_own(tmp_path: Path) -> None:
    [import_, export] = reasons(
        tmp_path,
        """(import "wasmplex:bridge/exports" (instance $i (export "f" (func))))
      (export "wasmplex-call" (func $i "f"))""",
    )
    assert "'wasmplex:bridge/' are those of what the host adds" in import_
    assert "'wasmplex-' are those of what the host adds" in export
