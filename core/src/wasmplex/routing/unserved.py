"""Imports that nobody serves: what they have in common is said once."""

from __future__ import annotations

from dataclasses import dataclass, field

from wasmplex.errors import Diagnostic
from wasmplex.wit.served import served

__all__ = ["Unserved", "plugin_for"]


def plugin_for(package: str) -> str:
    """Return the plugin of the project that serves a WIT package; empty if none does, or the host itself."""
    return "host-plugin-wasi" if package.startswith("wasi:") and served(package) is not None else ""


@dataclass
class Unserved:
    """Collects what is wrong with single imports."""

    _found: dict[tuple[str, str, str], list[tuple[str, Diagnostic]]] = field(default_factory=dict)

    def add(self, package: str, problem: Diagnostic) -> None:
        """Add what is to be said of an import of a package."""
        self._found.setdefault((problem.where, problem.why, problem.fix), []).append((package, problem))

    @property
    def remedies(self) -> frozenset[str]:
        """What is advised against all of this."""
        return frozenset(fix for _, _, fix in self._found if fix)

    def problems(self) -> list[Diagnostic]:
        """Return one diagnostic for each cause."""
        found = []
        for (where, why, fix), members in self._found.items():
            packages = ", ".join(sorted({package for package, _ in members}))
            what = f"nobody serves {len(members)} of the component's imports, those of {packages}"
            found.append(members[0][1] if len(members) == 1 else Diagnostic(what, where, why, fix))
        return found
