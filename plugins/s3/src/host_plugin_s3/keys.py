"""Where things are in the bucket: ``<prefix>/<namespace>/<container>/<object>``.

Names are encoded (`wasmplex.capabilities.naming`). A key has at most 1,024 bytes, and so a name whose
encoding is long is a digest, ``%=...``, with the name in the metadata of the object. Namespace and container
that are long together are a digest too: nobody has to read them back.
"""

from __future__ import annotations

from hashlib import blake2b

from wasmplex.capabilities.naming import decode, encode

__all__ = ["NAME", "Keys"]

NAME = "wasmplex-name"
"""The metadata that holds the encoded name of an object whose key does not."""
_MARKER = "!container"
_DIGEST = "%="
_LONGEST = 240
"""Bytes of a part of a key. There are servers that keep the parts as names of files, of at most 255."""


class Keys:
    """The keys of one container.

    :ivar stem: what all of them begin with, with a slash at the end
    :ivar marker: the object that makes the container exist; in order, it is before all others
    """

    __slots__ = ("marker", "stem")

    def __init__(self, prefix: str, namespace: str, container: str) -> None:
        parts = encode(namespace), encode(container)
        place = "/".join(parts)
        if max(map(len, parts)) > _LONGEST:
            place = f"{_DIGEST}/{_digest(place)}"
        self.stem = f"{prefix}/{place}/" if prefix else f"{place}/"
        self.marker = self.stem + _MARKER

    def of(self, name: str) -> str:
        """Return the key of an object."""
        text = encode(name)
        return self.stem + (text if len(text) <= _LONGEST else _DIGEST + _digest(text))

    def is_digest(self, key: str) -> bool:
        """Return whether the name of the object is in its metadata."""
        return key.startswith(_DIGEST, len(self.stem))

    def metadata(self, name: str) -> dict[str, str] | None:
        """Return what has to be stored with an object so that its name can be told; None for most."""
        text = encode(name)
        return {NAME: text} if len(text) > _LONGEST else None

    def name(self, key: str) -> str | None:
        """Return the name of the object with this key, None if it is none of ours."""
        try:
            return decode(key[len(self.stem) :]) if key.startswith(self.stem) else None
        except ValueError:
            return None


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=20).hexdigest()
