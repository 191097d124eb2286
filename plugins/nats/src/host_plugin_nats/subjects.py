"""Where things are in JetStream: ``$KV.<bucket>.<namespace>.<guest's bucket>.<key>``.

Each part is one token. Letters, digits and ``-_/`` stand for themselves, other bytes of the UTF-8 are
``=XX``, the empty string is ``=``. A part that this makes longer than base64 would is ``==`` and its base64.
A command of a NATS client may have 4 KiB, so namespace and bucket that are long together are a digest: nobody
has to read them back.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b

__all__ = ["Subjects", "decode", "encode"]

_UNSAFE = re.compile(rb"[^A-Za-z0-9_/-]")
_ENCODED = re.compile(rb"=([0-9A-F]{2})")
_LONGEST_PLACE = 256


def encode(part: str) -> str:
    """Return a subject token for any text."""
    raw = part.encode()
    token = _UNSAFE.sub(lambda match: b"=%02X" % match[0][0], raw) or b"="
    if len(token) > 2 + (len(raw) * 4 + 2) // 3:
        token = b"==" + urlsafe_b64encode(raw).rstrip(b"=")
    return token.decode("ascii")


def decode(token: str) -> str:
    """Return the text of a token.

    :raises ValueError: if `encode` cannot have made it
    """
    if token == "=":  # noqa: S105  a subject token, no secret
        return ""
    if token.startswith("=="):
        return urlsafe_b64decode(token[2:] + "=" * (-len(token[2:]) % 4)).decode()
    return _ENCODED.sub(lambda match: bytes([int(match[1], 16)]), token.encode("ascii")).decode()


class Subjects:
    """The subjects of one guest's bucket.

    :ivar stem: what the subjects of all its keys start with
    """

    __slots__ = ("stem",)

    def __init__(self, prefix: str, namespace: str, bucket: str) -> None:
        place = f"{encode(namespace)}.{encode(bucket)}"
        if len(place) > _LONGEST_PLACE:
            digest = blake2b(place.encode(), digest_size=20).hexdigest()
            # An empty namespace is "=" too; no token that `encode` makes for a bucket starts with "=-".
            place = f"=.=-{digest}"
        self.stem = f"{prefix}{place}."

    @property
    def all(self) -> str:
        """The filter that all keys match."""
        return f"{self.stem}>"

    def of(self, key: str) -> str:
        """Return the subject of a key."""
        return self.stem + encode(key)

    def key(self, subject: str) -> str | None:
        """Return the key of a subject, None if it is none of ours."""
        try:
            return decode(subject[len(self.stem) :]) if subject.startswith(self.stem) else None
        except ValueError:
            return None
