"""Uploads in parts that nobody will finish: finding those of hosts that are gone, and aborting them.

The client library aborts its uploads itself, unless it is killed. It cannot list them, so that is done here.
"""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from html import unescape
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from host_plugin_s3 import S3Settings
from host_plugin_s3.connecting import endpoint
from host_plugin_s3.signing import Keys, signed

__all__ = ["Found", "Upload", "Uploads"]

_UPLOAD = re.compile(rb"<Upload>(.*?)</Upload>", re.DOTALL)
_LARGEST = 4 << 20
_PAGES = 20
_ENDED = (200, 204, 404)


class Upload(NamedTuple):
    """An upload in parts that is not finished."""

    key: str
    id: str


class Found(NamedTuple):
    """What a server tells of uploads that are not finished.

    :ivar now: the server's time
    """

    uploads: list[Upload]
    now: datetime


class Uploads:
    """The unfinished uploads of a bucket. Its methods block."""

    def __init__(self, settings: S3Settings, base: Path, keys: Keys | None) -> None:
        self._settings = settings
        self._keys = keys
        self._prefix = f"{settings.prefix}/" if settings.prefix else ""
        parts = urlsplit(endpoint(settings))
        self._bucket = "" if settings.virtual_host else f"/{settings.bucket}"
        self._host = f"{settings.bucket}.{parts.netloc}" if settings.virtual_host else parts.netloc
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._tls = ssl.create_default_context()
            if settings.tls_ca_file is not None:
                self._tls.load_verify_locations(base / settings.tls_ca_file)
            if not settings.tls_verify:
                self._tls.check_hostname = False
                self._tls.verify_mode = ssl.CERT_NONE

    def find(self) -> Found:
        """Return those there are, of this store.

        :raises OSError: if the server cannot be asked, or does not say
        """
        found: list[Upload] = []
        query = {"uploads": "", "prefix": self._prefix}
        for _ in range(_PAGES):
            status, now, body = self._ask("GET", self._bucket or "/", query)
            if status != 200:
                raise OSError(f"the server answers {status}")
            found += [one for text in _UPLOAD.findall(body) if (one := _parsed(text)) is not None]
            if _text(body, "IsTruncated") != "true":
                break
            query["key-marker"] = _text(body, "NextKeyMarker")
            query["upload-id-marker"] = _text(body, "NextUploadIdMarker")
        return Found([one for one in found if one.key.startswith(self._prefix)], now)

    def abort(self, upload: Upload) -> None:
        """Abort one; it may be gone.

        :raises OSError: if the server cannot be asked, or does not do it
        """
        status, _, _ = self._ask("DELETE", f"{self._bucket}/{upload.key}", {"uploadId": upload.id})
        if status not in _ENDED:
            raise OSError(f"the server answers {status}")

    def _ask(self, method: str, path: str, query: Mapping[str, str]) -> tuple[int, datetime, bytes]:
        now = datetime.now(UTC)
        request = signed(
            method, self._host, path, query, keys=self._keys, region=self._settings.region, now=now
        )
        patience = self._settings.timeout
        connection = (
            http.client.HTTPConnection(self._host, timeout=patience)
            if self._tls is None
            else http.client.HTTPSConnection(self._host, timeout=patience, context=self._tls)
        )
        try:
            connection.request(method, request.target, headers=dict(request.headers))
            answer = connection.getresponse()
            return answer.status, _moment(answer.headers.get("Date"), now), answer.read(_LARGEST)
        except http.client.HTTPException as error:
            raise OSError(type(error).__name__) from error
        finally:
            connection.close()


def _moment(text: str | None, otherwise: datetime) -> datetime:
    try:
        return parsedate_to_datetime(text or "").astimezone(UTC)
    except (ValueError, TypeError):
        return otherwise


def _text(body: bytes, name: str) -> str:
    found = re.search(rb"<%b>([^<]*)</%b>" % (name.encode(), name.encode()), body)
    return unescape(found[1].decode(errors="replace")) if found else ""


def _parsed(text: bytes) -> Upload | None:
    key, id_ = _text(text, "Key"), _text(text, "UploadId")
    return Upload(key, id_) if key and id_ else None
