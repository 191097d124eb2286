"""What of a backend's settings no message may hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from wasmplex.plugins.backends import BackendProvider
from wasmplex.redaction import secrets_in
from wasmplex.settings import Settings

__all__ = ["secrets_of"]


def secrets_of(
    provider: BackendProvider[Any], settings: Settings, hidden: Iterable[str] = ()
) -> frozenset[str]:
    """Return the texts that are to be taken out of what is said of a backend.

    A password that is the name of the backend or of a key hides nothing where that name is meant: to take it
    out would make every message unreadable, and say what the password is.

    :param hidden: texts of its table, besides what is secret in `settings`
    """
    names = {provider.name, provider.capability, *type(settings).model_fields}
    words = {name.casefold() for name in names}
    return frozenset(text for text in {*secrets_in(settings), *hidden} if text.casefold() not in words)
