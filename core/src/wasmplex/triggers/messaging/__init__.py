"""The trigger ``messaging``: calls a component with the messages of some subjects.

.. code-block:: toml

    [workload.shop.trigger.messaging]
    backend = "nats"
    subjects = ["orders.>"]
    durable = true
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from wasmplex.plugins.hooks import hookimpl
from wasmplex.triggers.messaging.settings import MessagingTriggerSettings
from wasmplex.triggers.messaging.trigger import MessagingTrigger

if TYPE_CHECKING:
    from wasmplex.plugins.triggers import Trigger

__all__ = ["MessagingTrigger", "MessagingTriggerSettings", "wasmplex_triggers"]


@hookimpl
def wasmplex_triggers() -> Iterable[Trigger]:
    """Return the trigger."""
    return [MessagingTrigger()]
