"""The last call with a message that was delivered too often without any outcome.

It may be what ends the host. Or it waited in hosts that ended, and nobody was called with it: a broker counts
deliveries, not calls. So the component is called with it once more. That is noted with the broker before:
hosts that come after this one look there. Notes are no dead letters, so whoever watches those sees none.
"""

from __future__ import annotations

from wasmplex.capabilities.messaging import Delivery, Message, MessagingBackend, Other
from wasmplex.logs import get_logger
from wasmplex.policy.deadline import within
from wasmplex.triggers.causes import in_one_line
from wasmplex.triggers.messaging.settings import DEAD_LETTERS

__all__ = ["LastCalls"]

logger = get_logger("wasmplex.messaging")

_NOTES = "wasmplex.lastcalls."
"""What the subjects of notes begin with; the workload's name and that of the message follow."""


class LastCalls:
    """Notes with a broker with which messages of a workload a last call was begun.

    :param seconds: what the broker may take for each thing that it is asked
    :param what: which messages these are, for the log: its records say whose
    """

    def __init__(
        self, backend: MessagingBackend, namespace: str, workload: str, seconds: float, what: str
    ) -> None:
        self._backend = backend
        self._namespace = namespace
        self._place = f"{_NOTES}{workload}."
        self._before = f"{DEAD_LETTERS}{workload}.begun."
        """Where hosts have put notes that were among the dead letters; one of those may have been here."""
        self._seconds = seconds
        self._what = what

    async def is_due(self, delivery: Delivery) -> bool:
        """Say whether there is to be a last call: no other was begun, as far as the broker knows.

        Not where it cannot know: where it has no name for messages, or keeps none.
        """
        if not self._possible(delivery):
            return False
        try:
            return not await within(self._seconds, self._notes(delivery))
        except Exception as error:  # noqa: BLE001  a dead letter can be sent again
            said = in_one_line(error)
            logger.warning("%s: no last call, for nobody knows whether it was: %s", self._what, said)
            return False

    async def begin(self, delivery: Delivery) -> None:
        """Note that the call begins.

        :raises wasmplex.capabilities.messaging.Other: if that is not possible: then it must not
        """
        note = f"a last call with a message to {delivery.message.subject} was begun".encode()
        try:
            keeping = self._backend.keep(self._namespace, Message(f"{self._place}{delivery.identity}", note))
            await within(self._seconds, keeping)
        except Exception as error:
            said = f"that it is called a last time cannot be noted: {in_one_line(error)}"
            raise Other(said) from error
        logger.warning(
            "%s: a message to %s has had no outcome in %d deliveries: the component is called a last time",
            self._what, delivery.message.subject, delivery.tries - 1, extra={"repeats": "last call"},
        )  # fmt: skip

    async def end(self, delivery: Delivery) -> None:
        """Remove the note, if there is one, for the message has its outcome. One that stays harms nobody."""
        if not self._possible(delivery):
            return
        try:
            await within(self._seconds, self._remove(delivery))
        except Exception as error:  # noqa: BLE001  see above
            logger.debug("%s: the note of a last call stays: %s", self._what, in_one_line(error))

    def _possible(self, delivery: Delivery) -> bool:
        return delivery.identity is not None and "dead-letters" in self._backend.features

    async def _remove(self, delivery: Delivery) -> None:
        for subject, token in await self._notes(delivery):
            await self._backend.remove(self._namespace, subject, token)

    async def _notes(self, delivery: Delivery) -> list[tuple[str, str]]:
        subjects = [f"{place}{delivery.identity}" for place in (self._place, self._before)]
        return [
            (subject, note.token)
            for subject in subjects
            async for note in self._backend.kept(self._namespace, subject)
        ]
