"""Questions about settings models: which field a key path leads to, and what may be written there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from wasmplex.config.document import assignment
from wasmplex.config.model import KeyPath
from wasmplex.redaction import is_secret_type

__all__ = ["example", "fields_at", "key_of", "misplaced", "names_at", "parts_of"]

_ALIKE = 0.75
"""How like a key a word has to be to be taken for it, where it stands in another table."""
_CONTAINERS = {Union, UnionType, Annotated, list, tuple, dict, set, frozenset}


def key_of(name: str, field: FieldInfo) -> str:
    """Return the key that a file writes for a field."""
    return field.alias or name


def fields_at(model: type[BaseModel], path: KeyPath) -> list[FieldInfo]:
    """Return the fields that `path` may lead to; several where a union leaves it open."""
    if not path:
        return []
    return [
        field
        for owner in _owners(model, path[:-1])
        for name, field in owner.model_fields.items()
        if path[-1] in {name, field.alias}
    ]


def names_at(model: type[BaseModel], path: KeyPath) -> set[str]:
    """Return the keys that the table at `path` may have."""
    return {
        key_of(name, field) for owner in _owners(model, path) for name, field in owner.model_fields.items()
    }


def misplaced(model: type[BaseModel], path: KeyPath, name: str) -> str:
    """Return the key of a table in the table at `path` that `name` is more like than any key beside it."""
    beside = names_at(model, path)
    inside = {
        key: f"{table}.{key}" for table in sorted(beside) for key in sorted(names_at(model, (*path, table)))
    }
    best = get_close_matches(name, [*beside, *inside], n=1, cutoff=_ALIKE)
    return inside[best[0]] if best and best[0] not in beside else ""


def example(model: type[BaseModel], path: KeyPath, file: str) -> str:
    """Return a line that sets the key at `path` in `file`: the field's own example, or one by its type."""
    for field in fields_at(model, path):
        is_text = any(part in (str, Path) or is_secret_type(part) for part in parts_of(field.annotation))
        value = json.dumps(field.examples[0]) if field.examples else '"..."' if is_text else "..."
        return assignment(str(path[-1]), value, file)
    return ""


def _owners(model: type[BaseModel], path: KeyPath) -> list[type[BaseModel]]:
    """Return the models of the tables at `path`."""
    models = [model]
    for depth, _ in enumerate(path):
        fields = [
            field
            for owner in models
            for name, field in owner.model_fields.items()
            if path[depth] in {name, field.alias}
        ]
        if fields:  # the index of an array or the key of a dict leads to no other model
            models = [inner for field in fields for inner in _models(field.annotation)]
    return models


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in _CONTAINERS:
        for part in get_args(annotation):
            yield from _models(part)


def parts_of(annotation: Any) -> Iterator[Any]:
    """Yield an annotation and all that it is made of, as far as it can be hashed."""
    if annotation.__hash__ is not None:
        yield annotation
    for part in get_args(annotation):
        yield from parts_of(part)
