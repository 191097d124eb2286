"""Asking backends whether they would answer now, each under a deadline, whatever they raise."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import anyio

from wasmplex.backends.pool import BackendPool
from wasmplex.errors import BackendError, Diagnostic, WasmplexError
from wasmplex.plugins.backends import Backend, BackendProvider
from wasmplex.plugins.secrecy import secrets_of
from wasmplex.redaction import Redactor
from wasmplex.settings import Settings

__all__ = ["PROBE_TIMEOUT", "Probed", "probe"]

PROBE_TIMEOUT = 5.0
"""Seconds that one answer may take."""


class Probed(NamedTuple):
    """How one backend answered.

    :ivar seconds: how long opening it and asking it took
    :ivar problem: what is wrong, None if it answered
    """

    backend: str
    plugin: str
    where: str
    seconds: float
    problem: Diagnostic | None


async def probe(
    pool: BackendPool,
    provider: BackendProvider[Settings],
    settings: Settings,
    *,
    plugin: str,
    where: str,
    hidden: Collection[str] = (),
    patience: float = PROBE_TIMEOUT,
) -> Probed:
    """Open a backend, or join those who have it open, and ask it; never raises what a backend does.

    :param patience: seconds that the answer may take, once it is open
    """
    started, redactor = anyio.current_time(), Redactor(secrets_of(provider, settings, hidden))
    problem: Diagnostic | None = None
    try:
        async with pool.lease(provider, settings, where=where, plugin=plugin, hidden=hidden) as backend:
            problem = await _ask(backend, provider.name, f"{where}; {plugin}", redactor, patience)
    except BackendError as error:
        problem = error.diagnostics[0]
    return Probed(provider.name, plugin, where, anyio.current_time() - started, problem)


async def _ask(
    backend: Backend, name: str, place: str, redactor: Redactor, patience: float
) -> Diagnostic | None:
    what = f"backend {name!r} does not answer"
    fix = "check that it is up and its settings are right"
    with anyio.move_on_after(patience):
        try:
            await backend.probe()
        except WasmplexError as error:
            found = redactor.diagnostic(error.diagnostics[0])
            return Diagnostic(found.what, found.where or place, found.why, found.fix or fix)
        except Exception as error:  # noqa: BLE001  drivers raise whatever they like
            why = redactor.error(error)
            return Diagnostic(what, place, why, fix)
        return None
    return Diagnostic(what, place, f"no answer within {patience:g} s", fix)
