"""The trigger ``watch``: tells a component of the changes of a bucket.

.. code-block:: toml

    [workload.shop.trigger.watch]
    label = "store"
    bucket = "orders"
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from wasmplex.plugins.hooks import hookimpl
from wasmplex.triggers.watch.trigger import WatchSettings, WatchTrigger

if TYPE_CHECKING:
    from wasmplex.plugins.triggers import Trigger

__all__ = ["WatchSettings", "WatchTrigger", "wasmplex_triggers"]


@hookimpl
def wasmplex_triggers() -> Iterable[Trigger]:
    """Return the trigger."""
    return [WatchTrigger()]
