"""What errors of S3 mean: to whoever opens the store, and to the guest of an operation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from wasmplex.capabilities.blobstore import (
    AccessDenied,
    BlobStoreError,
    Other,
    QuotaExceeded,
    StoreUnavailable,
    Timeout,
)
from wasmplex.plugin import BackendError

__all__ = ["Answer", "Failure", "NoServer", "answer", "failed", "opening_failed"]

Failure = (BaseError, OSError)
"""What the library raises: `FileNotFoundError` for what is not found, its own errors for all else."""


_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_ELSEWHERE = "redirect without LOCATION"
"""In the library's text where a server says 301 and not where else, as Amazon does for another region."""
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")


class NoServer(OSError):
    """What answers is another server: it has an object that cannot be."""


class Answer(NamedTuple):
    """What a server answered, as far as it did.

    :ivar status: of HTTP, 0 if there was no answer
    :ivar code: the code of S3, ``NoSuchBucket``; empty if there is none
    """

    status: int
    code: str


def answer(error: BaseException) -> Answer:
    """Return what the library's text of an error tells of the answer."""
    text = str(error)
    if _ELSEWHERE in text:
        return Answer(301, "PermanentRedirect")
    status, code = _STATUS.search(text), _CODE.search(text)
    return Answer(int(status[1]) if status else 0, code[1] if code else "")


_FULL = {
    "EntityTooLarge", "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "SlowDown",
    "ServiceUnavailableSlowDown", "TooManyRequests", "InsufficientStorage", "StorageFull",
}  # fmt: skip
_DENIED = (PermissionDeniedError, UnauthenticatedError)


def failed(error: BaseError | OSError) -> BlobStoreError:
    """Return what the guest is told. The library's texts hold addresses, and are for the operator only."""
    status, code = answer(error)
    text = str(error)
    if code in _FULL or status in (413, 429, 507):
        return QuotaExceeded(code or "the server takes no more")
    if isinstance(error, _DENIED) or status in (401, 403):
        return AccessDenied(_WHY.get(code, _Why("the server refuses the credentials", "")).text)
    if isinstance(error, (AlreadyExistsError, PreconditionError)):
        return Other("it was changed by somebody else at the same time")
    if isinstance(error, NotSupportedError):
        return Other("the server does not support this")
    if code == "NoSuchBucket":
        return StoreUnavailable("the bucket does not exist")
    if status == 0 and ("timed out" in text or "TimedOut" in text):
        return Timeout("no answer from the server")
    if status == 0 or status >= 500:
        return StoreUnavailable(f"the server answers {status}" if status else "no connection to the server")
    return Other(f"the server answers {status} {code}".rstrip())


# ---------------------------------------------------------------- opening


class _Why(NamedTuple):
    text: str
    fix: str


_WHY: Mapping[str, _Why] = {
    "NoSuchBucket": _Why("the bucket does not exist", "aws s3 mb s3://{bucket}{options}, or bucket = ..."),
    "InvalidAccessKeyId": _Why("the server does not know the access key", "access_key_id = ..."),
    "SignatureDoesNotMatch": _Why("the secret key is wrong", "secret_access_key = ..."),
    "InvalidToken": _Why("the session token is wrong", "session_token = ..."),
    "ExpiredToken": _Why("the session token has expired", "session_token = ..."),
    "RequestTimeTooSkewed": _Why("the clock of this machine is wrong", "timedatectl set-ntp true"),
    "AccessDenied": _Why("the user may not use this bucket", "allow it s3:ListBucket and s3:*Object"),
    "AuthorizationHeaderMalformed": _Why("the bucket is in another region", 'region = "..."'),
    "IllegalLocationConstraintException": _Why("the bucket is in another region", 'region = "..."'),
    "PermanentRedirect": _Why("the bucket is in another region", 'region = "..."'),
    "InvalidBucketName": _Why("the server does not take the name of the bucket", "bucket = ..."),
    "AllAccessDisabled": _Why("the bucket is closed", "bucket = ..."),
}
_EXPECTED = re.compile(r"<Region>([A-Za-z0-9-]{1,64})</Region>|expecting '([A-Za-z0-9-]{1,64})'")


def opening_failed(error: Exception, bucket: str, address: str, endpoint: str | None) -> BackendError:
    """Return what the operator is told."""
    what = f"cannot open the S3 bucket {bucket!r} at {address}"
    why, fix = _explained(error)
    options = f" --endpoint-url {endpoint}" if endpoint else ""
    return BackendError(what, why=why, fix=fix.format(bucket=bucket, options=options))


def _explained(error: Exception) -> _Why:
    status, code = answer(error)
    text = str(error).partition("Debug source")[0]
    if region := _EXPECTED.search(text):
        return _Why("the bucket is in another region", f'region = "{region[1] or region[2]}"')
    if code in _WHY:
        return _WHY[code]
    if status in (301, 307):
        return _WHY["PermanentRedirect"]
    if status in (401, 403):
        return _Why("the server refuses the credentials", "check access_key_id and secret_access_key")
    if status:
        return _Why(f"the server answers {status} {code}".rstrip(), "check that the endpoint is that of S3")
    details = str(error).lower()
    if "certificate" in details or "tls" in text.lower():
        return _Why("the server's certificate cannot be verified", 'tls_ca_file = "..."')
    if isinstance(error, NoServer) or "invalid list response" in text.lower() or "xml" in text.lower():
        return _Why("what answers there is no S3 server", "check the endpoint")
    if "dns error" in details or "failed to lookup" in details:
        return _Why("there is no host of that name", "check the endpoint and the region")
    if "credential" in details or "metadata" in details:
        return _Why("the environment has no credentials", "export AWS_ACCESS_KEY_ID=... and the secret key")
    if "connection refused" in details or "connect" in details:
        return _Why("no connection to the server", "check the endpoint, and that the server runs")
    return _Why("the server does not answer as S3 does", "check the endpoint")
