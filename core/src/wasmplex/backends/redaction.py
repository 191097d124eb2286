"""Keeps secrets out of what drivers say: they like to quote the URL that they could not connect to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, SecretBytes, SecretStr

from wasmplex.errors import Diagnostic

__all__ = ["scrub", "scrub_diagnostic", "secrets_in"]

_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#]*@")
_MASK = "***"


def secrets_in(settings: BaseModel) -> frozenset[str]:
    """Return the texts of every secret field of a settings model, however deep it stands."""
    return frozenset(text for text in _walk(settings) if text)


def _walk(value: Any) -> Iterator[str]:
    match value:
        case SecretStr():
            yield value.get_secret_value()
        case SecretBytes():
            yield value.get_secret_value().decode(errors="replace")
        case BaseModel():
            for name in type(value).model_fields:
                yield from _walk(getattr(value, name))
        case dict():
            for item in value.values():
                yield from _walk(item)
        case list() | tuple() | set() | frozenset():
            for item in value:
                yield from _walk(item)


def scrub(text: str, hidden: Iterable[str]) -> str:
    """Return `text` on one line, without the texts in `hidden` and without the userinfo of any URL."""
    for secret in sorted(hidden, key=len, reverse=True):
        text = text.replace(secret, _MASK)
    return " ".join(_USERINFO.sub(rf"\g<scheme>{_MASK}@", text).split())


def scrub_diagnostic(diagnostic: Diagnostic, hidden: Iterable[str]) -> Diagnostic:
    """Return a diagnostic with every part of it scrubbed."""
    parts = (diagnostic.what, diagnostic.where, diagnostic.why, diagnostic.fix)
    what, where, why, fix = (scrub(part, hidden) for part in parts)
    return replace(diagnostic, what=what, where=where, why=why, fix=fix)
