"""What the trigger ``messaging`` and the exports that it calls have in common.

The trigger knows when a message is delivered and what becomes of it; a handler knows how the component is
called, and what its answer means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from wasmplex.capabilities.messaging.contract import Message
from wasmplex.plugins.contracts import GuestInstance
from wasmplex.plugins.triggers import TriggerBinding

__all__ = ["Handle", "HandleEach", "HandlerFailed", "HandlerRejected", "MessageHandler", "Outcome"]

Outcome: TypeAlias = Exception | None
"""What handling a message has raised; None if it was handled."""


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


@runtime_checkable
class HandleEach(Handle, Protocol):
    """Calls the component with several messages in one go, where that costs less."""

    def several(self, instance: GuestInstance) -> bool:
        """Say whether `each` calls the component with more than one message."""

    async def each(
        self,
        instance: GuestInstance,
        messages: Sequence[Message],
        outcomes: list[Outcome],
        paused: Callable[[], None],
    ) -> None:
        """Call the component with messages, one after the other; see `GuestInstance.call_each`.

        :param outcomes: what became of each message that was handled to its end is appended; may be taken out
            when `paused` is called
        :raises wasmplex.errors.WasmplexError: if the call failed with the message after those
        """


class MessageHandler(Protocol):
    """What an `ExportAdapter` for the trigger ``messaging`` returns."""

    async def __call__(self, binding: TriggerBinding) -> Handle:
        """Return what handles the messages of one table of the trigger."""
