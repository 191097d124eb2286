"""Requests that the client library does not make, signed as AWS wants it (Signature Version 4)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote

__all__ = ["Keys", "signed"]

_ALGORITHM = "AWS4-HMAC-SHA256"
_EMPTY = hashlib.sha256(b"").hexdigest()


class Keys(NamedTuple):
    """The credentials of a user."""

    access: str
    secret: str
    token: str | None

    def __repr__(self) -> str:
        return "Keys(...)"


class Request(NamedTuple):
    """A request without a body.

    :ivar target: path and query, as they stand in the request line
    """

    target: str
    headers: Mapping[str, str]


def signed(
    method: str,
    host: str,
    path: str,
    query: Mapping[str, str],
    *,
    keys: Keys | None,
    region: str,
    now: datetime,
) -> Request:
    """Return a request without a body, signed.

    :param path: not yet encoded
    :param keys: None for one that is not signed
    :param now: the time, in UTC
    """
    where = quote(path, safe="/-_.~")
    words = "&".join(f"{_word(name)}={_word(text)}" for name, text in sorted(query.items()))
    target = f"{where}?{words}" if words else where
    if keys is None:
        return Request(target, {"Host": host})
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": host, "x-amz-content-sha256": _EMPTY, "x-amz-date": stamp}
    if keys.token is not None:
        headers["x-amz-security-token"] = keys.token
    names = ";".join(headers)
    lines = "".join(f"{name}:{text}\n" for name, text in headers.items())
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(f"{method}\n{where}\n{words}\n{lines}\n{names}\n{_EMPTY}".encode()).hexdigest()
    signature = _signature(keys.secret, scope, f"{_ALGORITHM}\n{stamp}\n{scope}\n{digest}")
    credential = f"Credential={keys.access}/{scope}"
    authorization = f"{_ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}"
    return Request(target, {**headers, "Authorization": authorization})


def _signature(secret: str, scope: str, text: str) -> str:
    key = f"AWS4{secret}".encode()
    for word in (*scope.split("/"), text):
        key = hmac.digest(key, word.encode(), "sha256")
    return key.hex()


def _word(text: str) -> str:
    return quote(text, safe="-_.~")
