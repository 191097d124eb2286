"""Splits a binding's keys between the interface that it is for and the backend that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from wasmplex.config import validate
from wasmplex.config.document import quoted
from wasmplex.config.fields import names_at
from wasmplex.config.model import Table
from wasmplex.config.references import UNRESOLVED, attempt
from wasmplex.config.secrecy import hidden
from wasmplex.config.validation import is_missing, meant
from wasmplex.errors import Diagnostic, nearest
from wasmplex.settings import Settings

__all__ = ["OWN_KEYS", "SplitSettings", "split"]

OWN_KEYS = frozenset({"backend", "from", "interface", "interfaces", "version"})
"""Keys of a binding that the configuration has taken out of its settings already."""

_NAMESPACE = "namespace"


@dataclass(frozen=True)
class SplitSettings:
    """The settings in a binding.

    :ivar interface: those of the interface provider
    :ivar backend: those of the backend provider; a bare `Settings` without a backend
    :ivar namespace: the namespace it asks for, None if it leaves that to the host
    :ivar hidden: texts that must not be printed
    """

    interface: Settings = field(repr=False)
    backend: Settings = field(repr=False)
    namespace: str | None = None
    hidden: frozenset[str] = field(default=frozenset(), repr=False)


def split(
    table: Table,
    interface: type[Settings],
    backend: type[Settings] | None,
    base: Path,
    environ: Mapping[str, str],
) -> tuple[SplitSettings | None, list[Diagnostic]]:
    """Resolve and validate a binding's table.

    A key that both models have (``timeout``) goes to both; ``namespace`` is the binding's own, and goes to
    whichever model has it as well; a key that neither has is an error. None stands for settings that are
    not valid, and then there is at least one diagnostic.
    """
    resolved, problems = attempt(table, base, environ)
    common = frozenset({_NAMESPACE}) if backend is not None else frozenset()
    ours = names_at(interface, ())
    theirs = names_at(backend, ()) if backend is not None else set()
    problems += _unknown(table, resolved.keys() - ours - theirs - common, ours | theirs | common)
    first, found = _part(table, resolved, interface, ours)
    problems += found
    second: Settings | None = Settings()
    if backend is not None:
        second, found = _part(table, resolved, backend, theirs)
        problems += [problem for problem in found if problem not in problems]
        if str(table.where(_NAMESPACE)) not in {problem.where for problem in problems}:
            problems += _check_namespace(table, resolved)
    misspelt = {meant(key, table.spelt(ours | theirs)) for key in resolved.keys() - ours - theirs - common}
    place = str(table.location)
    problems = [d for d in problems if not any(is_missing(d, key, place) for key in misspelt)]
    if problems or first is None or second is None:
        return None, problems
    namespace = resolved.get(_NAMESPACE) if backend is not None else None
    models = [interface] if backend is None else [interface, backend]
    return SplitSettings(first, second, namespace, hidden(table, resolved, *models, accepted=True)), []


def _part(
    table: Table, resolved: Mapping[str, Any], model: type[Settings], keys: set[str]
) -> tuple[Settings | None, list[Diagnostic]]:
    written = {key: value for key, value in table.values.items() if key in keys}
    values = {key: value for key, value in resolved.items() if key in keys}
    return validate(replace(table, values=written), model, values)


def _unknown(table: Table, keys: set[str], known: set[str] | frozenset[str]) -> list[Diagnostic]:
    names = table.spelt(known | OWN_KEYS)
    return [
        Diagnostic(f"unknown key {quoted(key)}", str(table.where(key)), fix=_remedy(key, names, table))
        for key in sorted(keys)
    ]


def _remedy(key: str, names: set[str], table: Table) -> str:
    """Return what to do about an unknown key. In an entry that is a trigger's too, it may be one of that."""
    if table.words.keys() <= {word for word, _ in table.words.values()} and table.words:
        if close := get_close_matches(key, names, n=1, cutoff=0.75):
            return f"did you mean {close[0]!r}?"
        return 'if it is one of trigger.messaging, write a table of trigger.messaging in place of "handler"'
    return nearest(key, names)


def _check_namespace(table: Table, resolved: Mapping[str, Any]) -> list[Diagnostic]:
    value = resolved.get(_NAMESPACE)
    if value is None or value is UNRESOLVED or (isinstance(value, str) and value.strip()):
        return []
    place = str(table.where(_NAMESPACE))
    return [
        Diagnostic(
            "namespace is not valid", place, "it must be text that is not empty", 'namespace = "shared"'
        )
    ]
