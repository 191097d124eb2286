"""How an object store looks in JetStream, as the tools of NATS make and read it (ADR-20).

::

    stream   OBJ_<bucket>
    chunks   $O.<bucket>.C.<nuid>                 all of one object, in order
    object   $O.<bucket>.M.<base64 of its name>   one message of JSON, the last counts

A container is a bucket, whose name is a digest; what it is a digest of is in the metadata of the stream.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, NamedTuple

__all__ = ["CHUNK", "Meta", "bucket", "name_of", "nuid", "owner", "parsed", "stored", "token"]

CHUNK = 128 << 10
_FIRST, _WRITTEN = "wasmplex-first", "wasmplex-written"
_EMPTY = "="
_OURS = "wasmplex"


class Meta(NamedTuple):
    """What is known of an object.

    :ivar nuid: the last token of its chunks' subject
    :ivar digest: ``SHA-256=`` and the base64 of the digest; empty if none is known
    :ivar written: when it was, in nanoseconds since 1970
    :ivar first: the sequence of its first chunk, 0 if that is not known
    """

    name: str
    nuid: str
    size: int
    chunks: int
    chunk_size: int
    digest: str
    written: int
    first: int


def bucket(prefix: str, namespace: str, container: str) -> str:
    """Return the name of a container's bucket."""
    place = json.dumps([namespace, container]).encode()
    return f"{prefix}-{blake2b(place, digest_size=20).hexdigest()}"


def token(name: str) -> str:
    """Return the last token of an object's subject."""
    return urlsafe_b64encode(name.encode()).decode() or _EMPTY


def name_of(token: str) -> str | None:
    """Return the name of an object, None if the token is none of `token`."""
    try:
        return "" if token == _EMPTY else urlsafe_b64decode(token.encode()).decode()
    except ValueError:
        return None


def nuid(instance: str, number: int) -> str:
    """Return a token for the chunks of the object that a connection writes."""
    return f"{_OURS}-{instance}-{number:x}"


def owner(nuid: str) -> str | None:
    """Return the connection that has written the chunks with that token, None if it was none of ours."""
    match nuid.split("-"):
        case [ours, instance, _] if ours == _OURS and instance:
            return instance
    return None


def stored(meta: Meta, bucket: str) -> bytes:
    """Return the message of an object."""
    return json.dumps(
        {
            "name": meta.name,
            "bucket": bucket,
            "nuid": meta.nuid,
            "size": meta.size,
            "chunks": meta.chunks,
            "digest": meta.digest,
            "mtime": "0001-01-01T00:00:00Z",
            "options": {"max_chunk_size": meta.chunk_size},
            "metadata": {_FIRST: str(meta.first), _WRITTEN: str(meta.written)},
        }
    ).encode()


def parsed(data: bytes | None) -> Meta | None:
    """Return what a message says of an object; None for a deleted one, for a link, and for other messages."""
    try:
        found = json.loads(data or b"null")
        if not isinstance(found, dict) or found.get("deleted"):
            return None
        options = found.get("options") or {}
        if options.get("link"):
            return None
        return _meta(found, options)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _meta(found: Mapping[str, Any], options: Mapping[str, Any]) -> Meta:
    metadata = found.get("metadata") or {}
    written = int(metadata.get(_WRITTEN, 0)) or _moment(str(found.get("mtime", "")))
    return Meta(
        name=str(found["name"]),
        nuid=str(found["nuid"]),
        size=int(found["size"]),
        chunks=int(found["chunks"]),
        chunk_size=int(options.get("max_chunk_size") or CHUNK),
        digest=str(found.get("digest") or ""),
        written=written,
        first=int(metadata.get(_FIRST, 0)),
    )


def _moment(text: str) -> int:
    with suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(text).astimezone(UTC).timestamp()
        return max(0, round(moment * 1_000_000) * 1000)
    return 0
