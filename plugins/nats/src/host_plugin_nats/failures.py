"""What errors of NATS and JetStream mean: to whoever opens the store, and to the guest of an operation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from nats import errors
from wasmplex.capabilities.errors import CapabilityError, ErrorCases
from wasmplex.capabilities.keyvalue import CASES
from wasmplex.plugin import BackendError, why_unreachable

from host_plugin_nats.connecting import CREDENTIALS
from host_plugin_nats.rights import is_lacking

__all__ = [
    "FULL",
    "NOBODY",
    "NO_SERVER",
    "NO_STREAM",
    "NO_TLS",
    "UNREADY",
    "WRONG_SEQUENCE",
    "ApiError",
    "api_failed",
    "connecting_failed",
    "opening_failed",
    "refused",
]

WRONG_SEQUENCE = {10071, 10164}
"""What a publish is answered whose expected sequence is not the last one."""
NO_STREAM = 10059
FULL = {10023, 10028, 10047, 10054, 10077, 10122, 10167}
_DENIED = {10035, 10039}
_SEALED = 10109
NO_SERVER = "what answers there is no NATS server, or hangs up at once"
_NOT_NATS = ("expecting info", "info message")
NOBODY = "JetStream is not ready, or the bucket is gone"
NO_TLS = "the server has no TLS, and nothing is sent to it in the clear"
UNREADY = {10003, 10008, 10009, 10074, 10076}


class ApiError(Exception):
    """JetStream answered with an error.

    :ivar code: its ``err_code``
    """

    def __init__(self, error: Mapping[str, Any]) -> None:
        code = error.get("err_code") or error.get("code")  # anybody may have answered, with anything
        self.code = code if isinstance(code, int) else 0
        super().__init__(f"{error.get('description', 'error')} ({self.code})")


def api_failed(error: ApiError, cases: ErrorCases = CASES) -> CapabilityError:
    """Return what the guest is told.

    :param cases: the errors of the capability that it uses
    """
    text = str(error)
    if error.code in FULL or "maximum" in text or "no space left" in text or "resources" in text:
        return cases.exceeded("the server's store is full")
    if error.code in _DENIED:
        return cases.denied("the account has no JetStream")
    if error.code == _SEALED:
        return cases.denied("the stream is sealed: it takes nothing more, and gives up nothing")
    if error.code in UNREADY or error.code == NO_STREAM:
        return cases.unavailable("JetStream is not ready")
    return cases.other(f"JetStream reports error {error.code}")


def connecting_failed(
    reasons: Sequence[Exception], cases: ErrorCases, options: Collection[str]
) -> CapabilityError:
    """Return what whoever uses the connection is told.

    :param reasons: what the client library raised, and what it told of before
    :param cases: the errors of the capability that it is for
    :param options: which options the client library has
    """
    text = " ".join(str(reason) for reason in reasons).lower()
    if any(words in text for words in _NOT_NATS):  # as the libraries make it
        return cases.unavailable(NO_SERVER)
    if "authorization" in text or any(isinstance(reason, errors.AuthorizationError) for reason in reasons):
        return refused(cases, options)
    causes = [reason for reason in reasons if not isinstance(reason, errors.NoServersError)]
    cause = causes[-1] if causes else reasons[0]
    return cases.unavailable(why_unreachable(cause) or str(cause) or type(cause).__name__)


def refused(cases: ErrorCases, options: Collection[str]) -> CapabilityError:
    """Return the error for a server that lets nobody in like this; it says no more to who shows none."""
    if CREDENTIALS.isdisjoint(options):
        return cases.denied("the server wants credentials, and none are configured")
    return cases.denied("the server refuses the credentials")


def opening_failed(
    error: Exception,
    address: str,
    what: str = "store",
    cases: ErrorCases = CASES,
    needs: str = ", with JetStream (-js)",
) -> BackendError:
    """Return what the operator is told.

    :param what: what could not be opened
    :param cases: the errors of its capability
    :param needs: what its server needs
    """
    what = f"cannot open the NATS {what} at {address}"
    if isinstance(error, cases.denied) and is_lacking(error):
        return BackendError(
            what, why=str(error), fix="grant it to the user, in the configuration of the server"
        )
    if isinstance(error, cases.denied):
        return BackendError(what, why=str(error), fix="check user, password, token or creds")
    if str(error) == NO_SERVER:
        return BackendError(what, why=NO_SERVER, fix="check the host and the port in url")
    if str(error) == NO_TLS:
        fix = 'give the server a certificate; or url = "nats://...", without tls_ca_file and tls_cert_file'
        return BackendError(what, why=NO_TLS, fix=fix)
    if str(error) == NOBODY:
        return BackendError(
            what, why="the server has no JetStream, or it is not ready", fix="start it with -js"
        )
    if isinstance(error, (cases.unavailable, cases.timeout)):
        return BackendError(what, why=str(error), fix=f"check that the server runs{needs}")
    return BackendError(what, why=str(error))
