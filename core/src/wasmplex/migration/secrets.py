"""Values that are not to be written into a configuration: the environment variables that stand for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from wasmplex.config.model import EnvRef
from wasmplex.migration.drafts import Imported
from wasmplex.redaction import url_secrets

__all__ = ["variable", "without_credentials"]


def variable(*parts: str) -> str:
    """Return the name of an environment variable made of some words: ``REDIS_CREDS_URL``."""
    words = [re.sub(r"[^A-Za-z0-9]+", "_", part).strip("_").upper() for part in parts]
    name = "_".join(filter(None, words)) or "VALUE"
    return name if name[0].isalpha() else f"_{name}"


def without_credentials(values: Mapping[str, Any], owner: str, result: Imported) -> dict[str, Any]:
    """Return values, a reference to an environment variable in the place of each URL with credentials.

    :param owner: what the names of the variables begin with
    """
    found = dict(values)
    for key, value in values.items():
        if isinstance(value, str) and "://" in value and url_secrets(value):
            found[key] = EnvRef(variable(owner, key))
            result.note(f"the URL {key} has credentials, which are not copied: export {found[key].name}=...")
    return found
