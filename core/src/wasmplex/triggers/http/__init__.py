"""The trigger ``http``: serves workloads' HTTP exports over HTTP/1.1, as an ASGI application.

Importing it imports no web server; `http_application` and `RunningHttp.serve` do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from wasmplex.plugins.hooks import hookimpl
from wasmplex.triggers.http.settings import HttpSettings, RouteSettings
from wasmplex.triggers.http.trigger import HttpTrigger

if TYPE_CHECKING:
    from wasmplex.plugins.triggers import Trigger, TriggerBinding
    from wasmplex.triggers.http.application import HttpApplication

__all__ = ["HttpSettings", "HttpTrigger", "RouteSettings", "http_application", "wasmplex_triggers"]


@hookimpl
def wasmplex_triggers() -> Iterable[Trigger]:
    """Return the trigger."""
    return [HttpTrigger()]


def http_application(bindings: Sequence[TriggerBinding], *, access_log: bool = False) -> HttpApplication:
    """Return an ASGI application for `bindings`, to be mounted under any ASGI server.

    :raises wasmplex.errors.ConfigError: if two workloads want the same requests
    """
    from wasmplex.triggers.http.application import HttpApplication

    return HttpApplication(bindings, access_log=access_log)
