"""The variant ``error-code``: its values, and the statuses that answer for them."""

from __future__ import annotations

from typing import Any

from wasmplex.plugin import Err, Variant, get_logger

from host_plugin_wasi.io import Error, failed

__all__ = [
    "DOMAIN", "HttpError", "LimitReached", "code_of", "dns_error", "internal", "protocol_error", "report",
    "status_of", "stream_failed",
]  # fmt: skip

DOMAIN = "http"
"""Marks the `Error` objects whose code is an ``error-code`` of this package."""

_log = get_logger("wasmplex.http.client")
_SAYS_ALL = ("DNS-", "connection-", "destination-", "internal-error")
_STATUS = {
    "HTTP-request-denied": 403,
    "HTTP-request-length-required": 411,
    "HTTP-request-body-size": 413,
    "HTTP-request-URI-too-long": 414,
    "HTTP-request-header-section-size": 431,
    "HTTP-request-header-size": 431,
    "connection-timeout": 504,
    "connection-read-timeout": 504,
    "connection-write-timeout": 504,
    "DNS-timeout": 504,
    "HTTP-response-timeout": 504,
    "connection-limit-reached": 503,
    "loop-detected": 508,
}


class HttpError(Exception):
    """Something went wrong with a message; `code` is the guest's view of it."""

    def __init__(self, code: Variant, message: str = "") -> None:
        super().__init__(message or code.tag)
        self.code = code
        self.message = message or code.tag

    def fresh(self) -> HttpError:
        """Return the same error, not raised yet.

        What has been raised refers to the frames that it went through, and they to whoever keeps it: such
        circles are found by garbage collections alone, and full ones are seldom.
        """
        return type(self)(self.code, self.message)


class LimitReached(HttpError):
    """There may be no more of something; the message names the key that says how many."""


def internal(message: str) -> Variant:
    """Return ``internal-error`` with a text."""
    return Variant("internal-error", message)


def dns_error(rcode: str) -> Variant:
    """Return ``DNS-error`` with the resolver's own words."""
    return Variant("DNS-error", {"rcode": rcode, "info-code": None})


def protocol_error(message: str) -> HttpError:
    """Return the error for a message that HTTP/1.1 does not allow."""
    return HttpError(Variant("HTTP-protocol-error"), message)


def status_of(code: Variant) -> int:
    """Return the status that a client gets for a guest that answered with an error."""
    return _STATUS.get(code.tag, 502)


def report(authority: str | None, error: HttpError) -> None:
    """Log why a request of a guest failed, if the case that the guest gets says less than the message."""
    tag = error.code.tag
    if isinstance(error, LimitReached) or not tag.startswith(_SAYS_ALL):
        more = {"repeats": tag}
        _log.warning("a request to %s failed: %s: %s", authority or "nobody", tag, error.message, extra=more)


def stream_failed(error: HttpError) -> Err[Any]:
    """Return the stream error for an error, so that ``http-error-code`` finds the code in it."""
    return failed(error.message, DOMAIN, error.code)


def code_of(error: Error) -> Variant | None:
    """``http-error-code``: return the code if the error is one of HTTP's, else None."""
    code: Variant | None = error.code_of(DOMAIN)
    return code
