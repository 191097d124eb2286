"""What ``trigger.messaging`` may say."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from wasmplex.capabilities.messaging import SubjectInvalid, Subscription
from wasmplex.capabilities.messaging.subjects import check_pattern, check_subject
from wasmplex.settings import Duration, Settings, Size

__all__ = ["DEAD_LETTERS", "MessagingTriggerSettings"]

DEAD_LETTERS = "wasmplex.dead."
"""What the subject of dead letters begins with if none is configured; the workload's name follows."""

_NAME = r"^[A-Za-z0-9_-]{1,200}$"


class MessagingTriggerSettings(Settings):
    """``trigger.messaging``: which messages a component is called with, and what becomes of them."""

    subjects: Annotated[tuple[str, ...], Field(min_length=1, examples=[["orders.>"]])]
    """Patterns of subjects: `*` is any token, `>` all that follow."""
    through: str | None = None
    """The label of the import they come through; the import without one if there is no `backend` either."""
    namespace: str | None = None
    """Where a backend of its own has its subjects, if it keeps namespaces apart."""
    queue_group: Annotated[str, Field(pattern=r"^[^\s*>]{1,200}$")] | None = None
    """Those of one group share the messages; the workload's name if absent, so that its hosts share them."""
    broadcast: bool = False
    """Whether every host gets every message, instead of sharing them."""
    max_in_flight: Annotated[int, Field(ge=1, le=1000)] = 32
    """How many messages the component may be called with at once in this host."""
    ordered: bool = False
    """Whether one message is done with before the next is taken, whatever `max_in_flight` says."""
    durable: bool | Annotated[str, Field(pattern=_NAME)] = False
    """Whether the broker keeps the messages while no host is there, under this name or the workload's."""
    start: Literal["new", "first"] = "new"
    """With which message a durable subscription begins when it is made."""
    ack_wait: Annotated[Duration, Field(ge=1)] = 30.0
    """How long a broker waits for a host that is gone, before it delivers a message to another."""
    max_deliver: Annotated[int, Field(ge=1)] = 5
    """How often a message is delivered that is not handled; then it is a dead letter."""
    backoff: Annotated[Duration, Field(gt=0)] = 1.0
    """How long it takes until the second delivery; each further one takes twice as long."""
    max_backoff: Annotated[Duration, Field(gt=0)] = 60.0
    """The longest that it takes."""
    dead_letter: str | Literal[False] | None = None
    """The subject of dead letters; `wasmplex.dead.<workload>` for a durable one if absent, else none.

    With `false` there are none."""
    max_body: Annotated[Size, Field(ge=1)] = 16 * 2**20
    """The largest body in bytes; a larger message is a dead letter."""

    @field_validator("subjects")
    @classmethod
    def _check_subjects(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                check_pattern(pattern)
            except SubjectInvalid as error:
                raise ValueError(f"{pattern!r} is no pattern of subjects: {error}") from None
        return patterns

    @field_validator("durable")
    @classmethod
    def _check_durable(cls, durable: bool | str) -> bool | str:
        if isinstance(durable, str) and durable.lower() in ("true", "false"):
            raise ValueError(f"in quotation marks it is a name: did you mean durable = {durable.lower()}?")
        return durable

    @field_validator("dead_letter")
    @classmethod
    def _check_dead_letter(cls, subject: str | Literal[False] | None) -> str | Literal[False] | None:
        if isinstance(subject, str):
            try:
                check_subject(subject)
            except SubjectInvalid as error:
                raise ValueError(f"{subject!r} is no subject: {error}") from None
        return subject

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.broadcast and self.queue_group is not None:
            raise ValueError("broadcast and queue_group exclude each other")
        if self.broadcast and self.durable:
            raise ValueError(
                "broadcast and durable exclude each other: a durable name is shared by its hosts"
            )
        if self.start == "first" and not self.durable:
            raise ValueError('start = "first" needs durable')
        return self

    @property
    def calls(self) -> int:
        """How many calls there may be at once."""
        return 1 if self.ordered else self.max_in_flight

    def subscription(self, workload: str) -> Subscription:
        """Return what to ask the broker for."""
        durable = workload if self.durable is True else self.durable or None
        group = None if self.broadcast else self.queue_group or workload
        return Subscription(
            workload,
            self.subjects,
            queue_group=group,
            durable=durable,
            start=self.start,
            max_in_flight=self.calls,
            ordered=self.ordered,
            ack_wait=self.ack_wait,
            dead_letters=self.dead_letters(workload),
        )

    def dead_letters(self, workload: str) -> str | None:
        """Return the subject of dead letters; None if they are logged and counted alone."""
        if self.dead_letter is None:
            return DEAD_LETTERS + workload if self.durable else None
        return self.dead_letter or None
