"""Which values of a table are secret, by the types in the models that read it, and a table without them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from typing import Any

from pydantic import BaseModel

from wasmplex.config.document import quoted
from wasmplex.config.fields import fields_at, parts_of
from wasmplex.config.model import EnvRef, FileRef, KeyPath, Table
from wasmplex.redaction import MASK, is_harmless_url, is_secret_type, is_url_type, masked_url, url_secrets

__all__ = ["Secrecy", "hidden", "redact", "secrecy"]


class Secrecy(Enum):
    """What of a value may be shown."""

    NONE = 0
    """All of it."""
    URL = 1
    """All but credentials and query."""
    ALL = 2
    """Nothing."""


def secrecy(model: type[BaseModel], path: KeyPath) -> Secrecy | None:
    """Return what the type of the field at `path` says, or of one that it stands in; None without a field."""
    found: Secrecy | None = None
    for depth in range(1, len(path) + 1):
        for field in fields_at(model, path[:depth]):
            types = [*parts_of(field.annotation)]
            url = any(is_url_type(type_) for type_ in types)
            # A URL may be secret as well; what is nothing else is secret as a whole.
            secret = any(is_secret_type(type_) and not is_url_type(type_) for type_ in types)
            found = max(found or Secrecy.NONE, _of(secret=secret, url=url), key=_strength)
    return found


def _of(*, secret: bool, url: bool) -> Secrecy:
    return Secrecy.ALL if secret else Secrecy.URL if url else Secrecy.NONE


def _strength(one: Secrecy) -> int:
    return one.value


def redact(table: Table, *models: type[BaseModel], plain: Collection[str] = ()) -> dict[str, Any]:
    """Return a table for printing: references as written, what the models declare secret masked.

    :param models: those that read it; a key that none of them has is masked, for nothing is known of it
    :param plain: keys that none of them has and that may be shown
    """

    def shown(value: Any, path: KeyPath) -> Any:
        match value:
            case EnvRef(name=variable):
                return f"{{ env = {quoted(variable)} }}"
            case FileRef(path=file):
                return f"{{ file = {quoted(str(file))} }}"
            case Mapping():
                return {key: shown(item, (*path, key)) for key, item in value.items()}
            case list():
                return [shown(item, (*path, number)) for number, item in enumerate(value)]
            case None | bool():
                return value
        if path[0] in plain:
            return value
        known = [found for model in models if (found := secrecy(model, path)) is not None]
        match max(known, key=_strength, default=Secrecy.ALL):
            case Secrecy.NONE:
                return value
            case Secrecy.URL if isinstance(value, str):
                return masked_url(value)
        return MASK

    return {key: shown(value, (key,)) for key, value in table.values.items()}


def hidden(
    table: Table, resolved: Mapping[str, Any], *models: type[BaseModel], accepted: bool = False
) -> frozenset[str]:
    """Return every text of a table that no message may hold: what references gave, and what is secret.

    :param resolved: its values, as `wasmplex.config.resolve` returns them
    :param accepted: whether the models have taken the values. Then a URL is one, and what is shown of it is
        shown though a reference gave it; before, it may be whatever stands in a wrong file
    """
    found = _hidden(table.values, resolved, (), models)
    return frozenset(text for text, url in found if text and not (accepted and url and is_harmless_url(text)))


def _hidden(
    written: Any, value: Any, path: KeyPath, models: Collection[type[BaseModel]]
) -> Iterator[tuple[str, bool]]:
    """Yield texts, and whether they are what a reference to a URL gave."""
    match written:
        case Mapping():
            for key, item in written.items():
                yield from _hidden(item, value[key], (*path, key), models)
        case list():
            for number, (item, inner) in enumerate(zip(written, value, strict=True)):
                yield from _hidden(item, inner, (*path, number), models)
        case _:
            if not isinstance(value, (str, int, float)) or isinstance(value, bool):
                return
            found = max((s for model in models if (s := secrecy(model, path))), key=_strength, default=None)
            if found is Secrecy.URL:
                yield from ((text, False) for text in url_secrets(str(value)))
            elif found is Secrecy.ALL:
                yield str(value), False
            if isinstance(written, (EnvRef, FileRef)):
                yield str(value), found is Secrecy.URL
