"""Runs a table through a settings model and turns what pydantic says into diagnostics with a place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType

from wasmplex.config.document import assignment, show, spell
from wasmplex.config.fields import example, fields_at, key_of, misplaced, names_at
from wasmplex.config.model import KeyPath, Table
from wasmplex.config.reasons import KIND, reason
from wasmplex.config.references import UNRESOLVED, describe
from wasmplex.config.secrecy import Secrecy, hidden, secrecy
from wasmplex.errors import Diagnostic, nearest
from wasmplex.escaping import escape
from wasmplex.redaction import Redactor
from wasmplex.settings import OwnWords, Settings

__all__ = ["is_missing", "likely", "meant", "validate"]

S = TypeVar("S", bound=Settings)

_EXPECTED = re.compile(r"'([^']*)'")
_REFERENCES = ("env", "file")
_FIXED = frozenset(get_args(ErrorType)) - {"value_error", "assertion_error", "union_tag_invalid"}
"""The errors whose messages repeat nothing of the value."""


def validate(
    table: Table, model: type[S], resolved: Mapping[str, Any], *, known: Iterable[str] = ()
) -> tuple[S | None, list[Diagnostic]]:
    """Make an instance of `model` from a table, or say everything that is wrong with it.

    :param table: the table as written: it knows the places and which values are secret
    :param resolved: its values, as `wasmplex.config.resolve` returns them
    :param known: keys that are allowed beside the model's, for ``did you mean``; they are not in `resolved`
    :returns: the instance, or None and at least one diagnostic. No diagnostic holds a secret's value
    """
    report = _Report(table, model, resolved, frozenset(known))
    try:
        instance = model.model_validate(resolved)
    except ValidationError as error:
        return None, report.diagnostics(error.errors(include_url=False))
    except Exception as error:  # noqa: BLE001  a validator of a plugin that fails is no reason to end the host
        return None, [report.failed(error)]
    if problems := list(report.truth_values_for_numbers(instance, ())):
        return None, problems
    return instance, []


def meant(key: str, known: Iterable[str]) -> str:
    """Return which of the `known` keys an unknown one is taken for, empty if it is like none."""
    guess = nearest(key, known)
    return guess.split("'")[1] if guess.startswith("did you") else ""


def likely(default: S, resolved: Mapping[str, Any]) -> S:
    """Return what a table that is refused most likely means: for finding out what else is wrong.

    A key that is unknown is taken for the one that it is like; values that are refused are left out.

    :param default: what it is where nothing of it can be read
    """
    model = type(default)
    known = names_at(model, ())
    values = {key: value for key, value in resolved.items() if key in known}
    for key in resolved.keys() - known:
        values.setdefault(meant(key, known), resolved[key])
    try:
        return model.model_validate({key: value for key, value in values.items() if key})
    except ValidationError as error:
        refused = {details["loc"][0] for details in error.errors() if details["loc"]}
    try:
        return model.model_validate({key: value for key, value in values.items() if key not in refused})
    except ValidationError:
        return default


def is_missing(diagnostic: Diagnostic, key: str, where: str) -> bool:
    """Say whether a diagnostic is about a key that is missing in the table at `where`."""
    return diagnostic.what == _missing(key) and diagnostic.where == where


def _missing(key: str) -> str:
    return f"the key {show(key)} is missing"


class _Report:
    def __init__(
        self, table: Table, model: type[Settings], resolved: Mapping[str, Any], known: frozenset[str]
    ) -> None:
        self._table = table
        self._model = model
        self._resolved = resolved
        self._known = known
        self._translated = {(key,) for key in table.words}
        self._redactor = Redactor(hidden(table, resolved, model))

    def diagnostics(self, errors: list[ErrorDetails]) -> list[Diagnostic]:
        """Return one diagnostic a place; the branches of a union are reported together."""
        found: dict[tuple[str, str], Diagnostic] = {}
        for error in sorted(errors, key=self._line_of):
            if error["input"] is UNRESOLVED:
                continue
            new = self._diagnostic(error)
            old = found.get((new.what, new.where))
            if old and new.why and new.why not in old.why:
                new = Diagnostic(new.what, new.where, f"{old.why}, or {new.why}", old.fix or new.fix)
            found[new.what, new.where] = new
        misspelt = {
            (self._where(error["loc"][:-1]), self._meant(error["loc"]))
            for error in errors
            if error["type"] == "extra_forbidden"
        }
        return [d for d in found.values() if not any(is_missing(d, key, place) for place, key in misspelt)]

    def _line_of(self, error: ErrorDetails) -> int:
        return self._table.where(*error["loc"]).line

    def _meant(self, path: KeyPath) -> str:
        """Return the key that an unknown one stands for, empty if it is like none."""
        return meant(str(path[-1]), self._names(path))

    def failed(self, error: Exception) -> Diagnostic:
        """Report a validator that raised what validators do not raise."""
        why = self._redactor.text(f"{self._model.__qualname__} failed with {type(error).__name__}: {error}")
        return Diagnostic("the table cannot be checked", self._where(()), escape(why))

    def _diagnostic(self, error: ErrorDetails) -> Diagnostic:
        match error["type"]:
            case "extra_forbidden":
                return self._unknown(error["loc"])
            case "missing":
                return self._missing(error["loc"])
            case _:
                return self._refused(error)

    def _where(self, path: KeyPath) -> str:
        place = self._table.where(*path)
        return str(place) if place.file else spell(path)

    def _unknown(self, path: KeyPath) -> Diagnostic:
        names = self._names(path) | (self._known if len(path) == 1 else frozenset())
        what, name = f"unknown key {show(path[-1])}", str(path[-1])
        if inside := misplaced(self._model, path[:-1], name):
            return Diagnostic(what, self._where(path), fix=f"did you mean {inside!r}?")
        return Diagnostic(what, self._where(path), fix=nearest(name, names))

    def _names(self, path: KeyPath) -> set[str]:
        """Return the keys that there may be beside the one at `path`, as the file spells them."""
        names = set(names_at(self._model, path[:-1]))
        return self._table.spelt(names) if len(path) == 1 else names

    def _spelt(self, path: KeyPath) -> KeyPath:
        """Return a path as the file spells it."""
        return (self._table.words[str(path[0])][0], *path[1:]) if path[:1] in self._translated else path

    def _missing(self, path: KeyPath) -> Diagnostic:
        file, spelt = self._table.location.file, self._spelt(path)
        line = example(self._model, path, file)
        if spelt != path:  # in text, where the host has an array
            line = assignment(
                str(spelt[-1]), line.removeprefix(assignment(str(path[-1]), "", file)).strip("[]"), file
            )
        return Diagnostic(_missing(str(spelt[-1])), self._where(path[:-1]), fix=line)

    def _refused(self, error: ErrorDetails) -> Diagnostic:
        path = self._existing(error["loc"])
        written = _at(self._table.values, path)
        why = reason(error, fields_at(self._model, path))
        if error["type"] not in _FIXED and not isinstance(error.get("ctx", {}).get("error"), OwnWords):
            why = self._redactor.text(why)
        fix = self._fix(error, path, written)
        return Diagnostic(self._sentence(path, written), self._where(path), escape(why), fix)

    def _fix(self, error: ErrorDetails, path: KeyPath, written: Any) -> str:
        """Return what to write instead; empty where nothing says what was meant."""
        wanted = KIND.get(error["type"])
        if isinstance(written, Mapping) and wanted == "text" and len(written) == 1:
            hint = nearest(str(next(iter(written))), _REFERENCES)
            return f"did you mean {{ {hint.split(chr(39))[1]} = ... }}?" if hint.startswith("did you") else ""
        if isinstance(written, (int, float)) and wanted == "text":
            return self._line(path, '"..."')
        if not isinstance(written, str) or self._is_secret(path):
            return ""
        if wanted == "an array":
            return self._line(path, f"[{show(written)}]")
        hint = nearest(written, _EXPECTED.findall(str(error.get("ctx", {}).get("expected", ""))))
        return hint if hint.startswith("did you") else ""

    def _line(self, path: KeyPath, value: str) -> str:
        """Return what sets a key to a value; the value alone, of an entry of an array."""
        key = self._spelt(path)[-1]
        return value if isinstance(key, int) else assignment(key, value, self._table.location.file)

    def _sentence(self, path: KeyPath, written: Any) -> str:
        if not path:
            return "the table is not valid"
        if len(path) == 1 and path in self._translated:
            written = self._table.words[str(path[0])][1]
        return f"{describe(self._spelt(path), written, secret=self._is_secret(path))} is not valid"

    def _is_secret(self, path: KeyPath) -> bool:
        return secrecy(self._model, path) in {Secrecy.ALL, Secrecy.URL}

    def _existing(self, path: KeyPath) -> KeyPath:
        """Return the part of a pydantic location that is in the table: without the branches of unions."""
        value: Any = self._resolved
        for depth, key in enumerate(path):
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                return path[:depth]
        return path

    def truth_values_for_numbers(self, instance: BaseModel, path: KeyPath) -> Iterator[Diagnostic]:
        """Yield a diagnostic for each ``true`` that pydantic took for the number 1, and ``false`` for 0."""
        for name, field in type(instance).model_fields.items():
            value = getattr(instance, name)
            at = (*path, key_of(name, field))
            written = _at(self._resolved, at)
            if isinstance(value, BaseModel) and isinstance(written, Mapping):
                yield from self.truth_values_for_numbers(value, at)
            elif isinstance(written, bool) and type(value) in {int, float}:
                yield Diagnostic(self._sentence(at, written), self._where(at), "must be a number")


def _at(values: Any, path: KeyPath) -> Any:
    for key in path:
        try:
            values = values[key]
        except (KeyError, IndexError, TypeError):
            return None
    return values
