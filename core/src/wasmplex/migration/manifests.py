"""What models of foreign manifests have in common: they keep what they do not know, and can name it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from wasmplex.config import validate
from wasmplex.config.document import Document, spell
from wasmplex.config.model import KeyPath, Table
from wasmplex.errors import ConfigError
from wasmplex.settings import Settings

__all__ = ["Manifest", "parsed", "unknown"]

M = TypeVar("M", bound=Settings)


class Manifest(Settings):
    """A table of somebody else's: keys that are not known here are kept."""

    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)


def parsed(document: Document, path: KeyPath, model: type[M]) -> M:
    """Return what stands at a place of a manifest.

    :raises ConfigError: it is not what such manifests have there
    """
    values = document.value(path)
    place = document.location(path)
    if not isinstance(values, Mapping):
        raise ConfigError(f"{spell(path) or 'the file'} is not a table", where=str(place))
    table = Table(values, place, document.table(path).locations)
    found, problems = validate(table, model, values)
    if found is None:
        raise ConfigError(problems)
    return found


def unknown(value: Any, path: str = "") -> Iterator[str]:
    """Yield the keys that no model has, each as it is written: ``components[0].resources``."""
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from unknown(getattr(value, name), _below(path, field.alias or name))
        yield from (_below(path, spell((key,))) for key in value.model_extra or ())
    elif isinstance(value, tuple):
        for number, item in enumerate(value):
            yield from unknown(item, f"{path}[{number}]")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from unknown(item, _below(path, spell((key,))))


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
