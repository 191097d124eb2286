"""The trigger ``cron``: runs a component at times that are written as crontab does.

.. code-block:: toml

    [[workload.report.trigger.cron]]
    schedule = "*/5 * * * *"
    export = "wasi:cli/run"
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from wasmplex.plugins.hooks import hookimpl
from wasmplex.triggers.cron.trigger import CronSettings, CronTrigger, RunCommand, RunCommand02

if TYPE_CHECKING:
    from wasmplex.plugins.triggers import ExportAdapter, Trigger

__all__ = ["CronSettings", "CronTrigger", "wasmplex_export_adapters", "wasmplex_triggers"]


@hookimpl
def wasmplex_triggers() -> Iterable[Trigger]:
    """Return the trigger."""
    return [CronTrigger()]


@hookimpl
def wasmplex_export_adapters() -> Iterable[ExportAdapter]:
    """Return what it calls."""
    return [RunCommand(), RunCommand02()]
