"""What every message broker gets for free: checked subjects, grants, limits, deadlines, typed errors."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Annotated, Any

from pydantic import Field, field_validator

from wasmplex.capabilities.messaging import (
    CASES,
    AccessDenied,
    Message,
    MessageTooLarge,
    MessagingBackend,
    SubjectInvalid,
    Unsupported,
)
from wasmplex.capabilities.messaging.subjects import check_pattern, check_subject, matcher
from wasmplex.errors import ConfigError, PluginError
from wasmplex.interfaces.messaging.replies import SYSTEM, Origin, ReplyRoutes
from wasmplex.plugins.contracts import ImportRequest
from wasmplex.policy import Dialect, Guard, PolicySettings, Scope, operation
from wasmplex.policy.deadline import within
from wasmplex.settings import Size
from wasmplex.streams import IncomingStream

__all__ = ["MAX_BODY", "REQUEST_TIMEOUT", "GuardedBroker", "MessagingSettings"]

MAX_BODY = 64 * 2**20
"""Bytes that ``max_body`` may be set to."""
REQUEST_TIMEOUT = 10.0
"""Seconds that an answer is waited for, if the guest does not say how long."""
LONGEST_REQUEST = 600.0
"""Seconds that an answer is waited for at most."""


class MessagingSettings(PolicySettings):
    """What a messaging binding may say besides the settings of its backend."""

    publish: tuple[str, ...] | None = None
    """Patterns of the subjects that may be published to; any that does not start with `$` if absent."""
    max_body: Annotated[Size, Field(ge=1, le=MAX_BODY)] = 16 * 2**20
    """The largest body in bytes, at most 64 MiB."""

    @field_validator("publish")
    @classmethod
    def _check_publish(cls, patterns: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for pattern in patterns or ():
            try:
                check_pattern(pattern)
            except SubjectInvalid as error:
                raise ValueError(f"{pattern!r} is no pattern of subjects: {error}") from None
        return patterns


class _NotGranted(AccessDenied):
    configured = True


class GuardedBroker:
    """One binding to a broker, as guests use it.

    :param dialect: how errors look to the guest
    :param replies: where the answers of the workload go
    :param plugin: who brought the backend, for the log
    """

    def __init__(
        self,
        backend: MessagingBackend,
        settings: MessagingSettings,
        scope: Scope,
        dialect: Dialect,
        replies: ReplyRoutes,
        plugin: str = "",
    ) -> None:
        self.origin = Origin(backend, scope.namespace)
        self.replies = replies
        self.max_body = settings.max_body
        self._granted = None if settings.publish is None else matcher(settings.publish)
        self.guard = Guard(
            CASES,
            dialect,
            timeout=settings.timeout,
            granted=scope.granted,
            circuit=backend.circuit,
            plugin=plugin,
            label=scope.label or "",
        )

    @classmethod
    def bind(
        cls, request: ImportRequest, workload: str, dialect: Dialect, replies: ReplyRoutes
    ) -> GuardedBroker:
        """Return the broker for one import of a ``consumer`` interface.

        :raises wasmplex.errors.PluginError: if the binding's backend has not the contract that it claims
        :raises wasmplex.errors.ConfigError: if it asks for a namespace, and the backend has none
        """
        backend, settings = request.backend, request.settings
        if not isinstance(backend, MessagingBackend) or not isinstance(settings, MessagingSettings):
            raise PluginError(f"{type(backend).__name__} is no message broker", where=request.interface)
        if settings.namespace and "namespaces" not in backend.features:
            raise ConfigError(
                f"the backend of {request.interface} has no namespaces: its subjects are the server's",
                fix="remove namespace = ...",
            )
        namespace = settings.namespace or request.namespace
        scope = Scope(workload, request.label, namespace, request.granted)
        return cls(backend, settings, scope, dialect, replies, request.plugin)

    # ------------------------------------------------------------ operations

    @operation("publish", "consumer")
    def publish(self, message: Message) -> Coroutine[Any, Any, None]:
        """Send a message, or the answer to one, to the broker that waits for it."""
        answered = self.replies.find(message.subject)
        if answered is None:
            self._admit(message.subject)
        if message.reply_to is not None:
            check_subject(message.reply_to)
        self._check_size(message.body)
        if answered is not None:
            return self._answer(answered, message)
        return self.origin.backend.publish(self.origin.namespace, message)

    async def _answer(self, origin: Origin, message: Message) -> None:
        await origin.backend.publish(origin.namespace, message)
        self.replies.answered(message.subject)

    async def request(self, subject: str, body: bytes, seconds: float | None = None) -> Message:
        """Send a request and return the first answer; it may take as long as the guest says."""
        guard = self.guard
        guard.admit("request", "consumer")
        try:
            return await within(LONGEST_REQUEST + guard.timeout, self._request(subject, body, seconds))
        except Exception as error:
            raise guard.refusal("request", error) from error

    async def _request(self, subject: str, body: bytes, seconds: float | None) -> Message:
        backend, namespace = self.origin
        if "request" not in backend.features:
            raise Unsupported("request")
        self._admit(subject)
        self._check_size(body)
        patience = min(REQUEST_TIMEOUT if seconds is None else seconds, LONGEST_REQUEST)
        answer = await backend.request(namespace, Message(subject, body), patience)
        if not isinstance(answer, Message):
            raise TypeError(f"request returned a value of type {type(answer).__name__}")
        if answer.reply_to is not None:
            self.replies.expect(answer.reply_to, self.origin)
        return answer

    async def collect(self, name: str, body: IncomingStream[bytes]) -> bytes:
        """Read the body that a guest streams, as much as the binding allows."""
        guard, chunks, left = self.guard, [], self.max_body
        try:
            while (chunk := await within(guard.idle, _read(body))) is not None:
                left -= len(chunk)
                if left < 0:
                    break
                chunks.append(chunk)
            else:
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        except Exception as error:
            body.close()
            raise guard.refusal(name, error) from error
        body.close()
        raise guard.refusal(name, self._too_large())

    # ------------------------------------------------------------ checks

    def _admit(self, subject: str) -> None:
        check_subject(subject)
        if self._granted is not None:
            if not self._granted.fullmatch(subject):
                raise _NotGranted("the configuration does not grant this subject")
        elif subject.startswith(SYSTEM):
            raise _NotGranted("subjects that start with $ have to be granted by name")

    def _check_size(self, body: bytes) -> None:
        if len(body) > self.max_body:
            raise self._too_large()

    def _too_large(self) -> MessageTooLarge:
        return MessageTooLarge(f"the body is over the limit of {self.max_body} bytes")


async def _read(body: IncomingStream[bytes]) -> bytes | None:
    return await body.read()
