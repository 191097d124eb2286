"""What goes wrong between the host and a server, in the cases of ``error-code``."""

from __future__ import annotations

import errno
import socket
import ssl

from wasmplex.plugin import Variant, why_unreachable

from host_plugin_wasi.http.errors import HttpError, dns_error, internal

__all__ = ["failure", "unresolved"]

_ERRNO = {
    errno.ECONNREFUSED: "connection-refused",
    errno.ECONNRESET: "connection-terminated",
    errno.ECONNABORTED: "connection-terminated",
    errno.EPIPE: "connection-terminated",
    errno.ETIMEDOUT: "connection-timeout",
    errno.ENETUNREACH: "destination-IP-unroutable",
    errno.EHOSTUNREACH: "destination-IP-unroutable",
    errno.EADDRNOTAVAIL: "destination-IP-unroutable",
    errno.EACCES: "destination-IP-prohibited",
    errno.EPERM: "destination-IP-prohibited",
    errno.EMFILE: "connection-limit-reached",
    errno.ENFILE: "connection-limit-reached",
}
_RESOLVER = {
    socket.EAI_NONAME: "NXDOMAIN",
    getattr(socket, "EAI_NODATA", None): "NXDOMAIN",
    socket.EAI_AGAIN: "SERVFAIL",
}
_VERSIONS = frozenset({"SSLV3", "TLSV1", "TLSV13"})
_ALERTS = {alert.name.removeprefix("ALERT_DESCRIPTION_"): alert.value for alert in ssl.AlertDescription}
_ALERTS |= {"CERTIFICATE_REQUIRED": 116, "NO_APPLICATION_PROTOCOL": 120}
"""The alerts of RFC 8446 section 6 by the names that OpenSSL gives them."""


def failure(error: Exception) -> HttpError:
    """Return the error of the guest for what became of a connection."""
    if isinstance(error, HttpError):
        return error
    if isinstance(error, ssl.SSLCertVerificationError):
        return HttpError(Variant("TLS-certificate-error"), error.verify_message)
    if isinstance(error, ssl.SSLEOFError):
        return HttpError(Variant("connection-terminated"), "the server closed the connection within TLS")
    if isinstance(error, ssl.SSLError):
        return _tls_failure(error)
    if isinstance(error, ConnectionError) and not error.errno:
        return HttpError(Variant("connection-terminated"), str(error) or "the server closed the connection")
    if isinstance(error, OSError):
        case = _ERRNO.get(error.errno or 0, "destination-unavailable")
        return HttpError(Variant(case), why_unreachable(error))
    return HttpError(internal(type(error).__name__), str(error))


def _tls_failure(error: ssl.SSLError) -> HttpError:
    """Tell an alert of the server's from everything else that TLS may trip over."""
    reason = error.reason or ""
    version, _, name = reason.partition("_")
    name = name.removeprefix("ALERT_")
    if version not in _VERSIONS or name not in _ALERTS:
        return HttpError(Variant("TLS-protocol-error"), reason)
    text = name.lower()
    payload = {"alert-id": _ALERTS[name], "alert-message": text}
    return HttpError(Variant("TLS-alert-received", payload), f"the server says {text}")


def unresolved(error: socket.gaierror) -> HttpError:
    """Return the error for a name that has no address."""
    rcode = _RESOLVER.get(error.errno) or error.strerror or "SERVFAIL"
    return HttpError(dns_error(rcode), f"the name cannot be resolved: {rcode}")
