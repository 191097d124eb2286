"""What the trigger ``messaging`` and the exports that it calls have in common.

The trigger knows when a message is delivered and what becomes of it; a handler knows how the component is
called, and what its answer means.
"""

from __future__ import annotations

from typing import Protocol

from wasmplex.capabilities.messaging.contract import Message
from wasmplex.plugins.contracts import GuestInstance
from wasmplex.plugins.triggers import TriggerBinding

__all__ = ["Handle", "HandlerFailed", "HandlerRejected", "MessageHandler"]


class HandlerFailed(Exception):
    """The component returned an error: the message is to be delivered again."""


class HandlerRejected(Exception):
    """The component returned ``reject``: the message is not to be delivered again."""


class Handle(Protocol):
    """Calls the component with the messages of one table of the trigger."""

    async def __call__(self, instance: GuestInstance, message: Message) -> None:
        """Call the component.

        :raises HandlerFailed: if the message is to be tried again
        :raises HandlerRejected: if it is not
        :raises wasmplex.errors.WasmplexError: if the call failed
        """


class MessageHandler(Protocol):
    """What an `ExportAdapter` for the trigger ``messaging`` returns."""

    async def __call__(self, binding: TriggerBinding) -> Handle:
        """Return what handles the messages of one table of the trigger."""
