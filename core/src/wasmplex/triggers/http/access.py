"""The access log: a record for each request, when it is over."""

from __future__ import annotations

from logging import INFO
from time import perf_counter

from wasmplex.logs import get_logger, log_text
from wasmplex.triggers.http.exchange import Exchange
from wasmplex.triggers.http.wire import Wire

__all__ = ["CLIENT_GONE", "GIVEN_UP", "log_access", "log_refusal", "status_of"]

CLIENT_GONE = 499
"""The status that is logged when the client went away before anything of an answer left, as nginx has it."""
GIVEN_UP = 444
"""The status that is logged when the host gave a request up without an answer: it was told to stop."""

_log = get_logger("wasmplex.http.access")


def status_of(exchange: Exchange) -> int:
    """Return the status of a request that is over: its answer's, or what stands for none."""
    if exchange.started:
        return exchange.status
    return CLIENT_GONE if exchange.disconnected else GIVEN_UP


def log_access(wire: Wire, exchange: Exchange, begun: float) -> None:
    """Log a request.

    The path is logged as it was sent, percent-encoded and without the query, which may hold what is nobody's
    business. ``(cut off)`` stands behind the status of an answer that did not get to its end.

    :param begun: when it began, by `time.perf_counter`
    """
    took = (perf_counter() - begun) * 1e3
    client, method, path, complete = wire.client or "-", wire.method, exchange.path, exchange.complete
    status, cut = status_of(exchange), "" if complete or not exchange.started else " (cut off)"
    log_text(
        _log, INFO, f"{client} {method} {path} {status}{cut} {took:.1f}ms",
        client=client, method=method, path=path, status=status,
        milliseconds=round(took, 3), complete=complete,
    )  # fmt: skip


def log_refusal(client: str, status: int, reason: str) -> None:
    """Log what was refused before it was a request: it has neither method nor path, nor an id."""
    client = client or "-"
    log_text(_log, INFO, f"{client} - - {status} ({reason})", client=client, status=status, reason=reason)
