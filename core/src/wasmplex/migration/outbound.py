"""What a component of Spin may reach: its ``allowed_outbound_hosts`` as ``allowed_hosts``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from wasmplex.migration.drafts import Imported

__all__ = ["allowed_hosts"]

_ENTRY = re.compile(
    r"(?P<scheme>\*|[a-z][a-z0-9+.-]*)://(?P<host>\[[0-9a-fA-F:]+\]|[^:/{}]+)(?::(?P<port>\*|[0-9]+))?/?"
)
_PORTS = {"http": "80", "https": "443"}
_ALL = "insecure:allow-all"


def allowed_hosts(outbound: Iterable[str], legacy: Iterable[str], result: Imported) -> list[str]:
    """Return what outgoing HTTP may reach.

    :param legacy: ``allowed_http_hosts`` of older manifests: hosts without a scheme
    """
    found = [entry for text in outbound if (entry := _entry(text, result))]
    found += ["*" if text == _ALL else text for text in legacy]
    return [*dict.fromkeys(found)]


def _entry(text: str, result: Imported) -> str:
    match = _ENTRY.fullmatch(text)
    if text == _ALL:
        return "*"
    if match is None or match["host"] == "self" or match["host"].endswith(".spin.internal"):
        result.note(f"allowed_outbound_hosts {text} has no counterpart")
        return ""
    scheme, host, port = match["scheme"], match["host"], match["port"]
    if scheme not in {"*", *_PORTS}:
        result.note(f"allowed_outbound_hosts {text} has no counterpart: only HTTP goes out by allowed_hosts")
        return ""
    port = port or _PORTS.get(scheme)
    if host == "*":
        if port not in {None, "*"}:
            result.note(f"allowed_outbound_hosts {text} is every host at every port")
        return "*"
    return host if port in {None, "*"} else f"{host}:{port}"
