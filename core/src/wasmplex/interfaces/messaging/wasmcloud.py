"""``wasmcloud:messaging`` in both versions: ``consumer`` under any label, and ``handler``, which is exported.

0.3.0 streams bodies and has typed errors; 0.2.0 has bodies as values and errors as text.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from wasmplex.capabilities.messaging import Message, MessagingError
from wasmplex.capabilities.messaging.handling import (
    Handle,
    HandlerFailed,
    HandlerRejected,
    MessageHandler,
    Outcome,
)
from wasmplex.component.shape import Export, InstanceType
from wasmplex.interfaces.messaging.policy import GuardedBroker, MessagingSettings
from wasmplex.interfaces.messaging.replies import Origin, ReplyRoutes
from wasmplex.plugins.contracts import (
    BoundInterfaces,
    GuestInstance,
    HostFunctions,
    ImportRequest,
    InterfaceProvider,
    WorkloadContext,
)
from wasmplex.plugins.hooks import hookimpl
from wasmplex.plugins.triggers import ExportAdapter, TriggerBinding
from wasmplex.policy import Dialect
from wasmplex.streams import IncomingStream
from wasmplex.values import Err, Variant
from wasmplex.wit.served import served
from wasmplex.wit.source import WitPackage

__all__ = ["WasmcloudMessaging", "WasmcloudMessaging02"]

PACKAGE = "wasmcloud:messaging"


def _typed(operation: str, error: MessagingError) -> Err[Variant]:
    """Return the package's ``error``; it has a case for each of ours, and a text in ``other`` only."""
    return Err(Variant(error.case, f"{operation}: {error}" if error.case == "other" else None))


def _text(operation: str, error: MessagingError) -> Err[str]:
    """Return the text that stands for an error in 0.2.0; the case comes first."""
    return Err(f"{error.case}: {operation}: {error}")


# ---------------------------------------------------------------- what guests import


class _Consumer:
    """One import of ``consumer``."""

    def __init__(self, broker: GuardedBroker) -> None:
        self._broker = broker

    async def publish(self, message: dict[str, Any]) -> None:
        body = message["body"]
        if not isinstance(body, bytes):
            body = await self._broker.collect("publish", body)
        await self._broker.publish(Message(message["subject"], body, message["reply-to"]))

    async def request(
        self, subject: str, body: bytes | IncomingStream[bytes], timeout_ms: int | None
    ) -> dict[str, Any]:
        if not isinstance(body, bytes):
            body = await self._broker.collect("request", body)
        seconds = None if timeout_ms is None else timeout_ms / 1000
        return _record(await self._broker.request(subject, body, seconds))


def _record(message: Message) -> dict[str, Any]:
    """Return a message as the WIT has it; bytes are good for a stream as well."""
    return {"subject": message.subject, "body": message.body, "reply-to": message.reply_to}


def _calls(messages: Sequence[Message]) -> list[tuple[dict[str, Any]]]:
    """Return the arguments of calls with messages: each as the WIT has it."""
    return [
        ({"subject": subject, "body": body, "reply-to": reply_to},) for subject, body, reply_to, _ in messages
    ]


class _Bound(BoundInterfaces):
    def __init__(self, workload: WorkloadContext, dialect: Dialect) -> None:
        self._workload = workload.name
        self._dialect = dialect
        self._replies: ReplyRoutes = workload.shared.setdefault(ReplyRoutes, ReplyRoutes())

    def serve(self, request: ImportRequest) -> HostFunctions:
        if request.name != "consumer":
            return {}
        consumer = _Consumer(GuardedBroker.bind(request, self._workload, self._dialect, self._replies))
        return {"publish": consumer.publish, "request": consumer.request}


class WasmcloudMessaging(InterfaceProvider):
    """Serves ``wasmcloud:messaging@0.3.0`` from any message broker."""

    package = PACKAGE
    version = "0.3.0"
    interfaces = frozenset({"types", "consumer"})
    capability = "messaging"
    settings = MessagingSettings
    routes_by_resource = frozenset({"types"})

    def wit(self) -> WitPackage | None:
        """Return the text that comes with the host."""
        return served(self.package, self.version)

    def __init__(self, dialect: Dialect = _typed) -> None:
        self._dialect = dialect

    def features(self, interface: str, type: InstanceType) -> frozenset[str]:
        """Return nothing: whether a guest ever calls ``request`` is not known."""
        return frozenset()

    @asynccontextmanager
    async def bind(self, workload: WorkloadContext) -> AsyncIterator[BoundInterfaces]:
        """Bind for one workload."""
        yield _Bound(workload, self._dialect)


class WasmcloudMessaging02(WasmcloudMessaging):
    """Serves ``wasmcloud:messaging@0.2.0``."""

    version = "0.2.0"

    def __init__(self) -> None:
        super().__init__(_text)


# ---------------------------------------------------------------- what guests export


class _Handle:
    """Calls one export with the messages of one table of the trigger.

    :param judge: returns what an error that the component returned asks for
    """

    def __init__(self, function: str, binding: TriggerBinding, judge: Callable[[Any], Exception]) -> None:
        source = binding.source
        assert source is not None  # noqa: S101  the trigger asks for one
        self._function = function
        self._judge = judge
        self._replies: ReplyRoutes | None = source.shared.get(ReplyRoutes)
        self._origin = Origin(source.backend, source.namespace)  # type: ignore[arg-type]

    async def __call__(self, instance: GuestInstance, message: Message) -> None:
        self._expect(message)
        try:
            await instance.call(self._function, _record(message))
        except Err as error:
            raise self._judge(error.value) from error

    def _expect(self, message: Message) -> None:
        if message.reply_to is not None and self._replies is not None:
            self._replies.expect(message.reply_to, self._origin)


class _HandleEach(_Handle):
    """Calls it with several messages in one go, where that is possible."""

    def several(self, instance: GuestInstance) -> bool:
        return instance.calls_each(self._function)

    async def each(
        self,
        instance: GuestInstance,
        messages: Sequence[Message],
        outcomes: list[Outcome],
        paused: Callable[[], None],
    ) -> None:
        results: list[Any] = []
        failed, told = 1, 0

        def tell() -> None:
            nonlocal told
            fresh, told = results[told:], len(results)
            outcomes.extend(map(self._failure, fresh) if any(fresh) else fresh)

        def pause() -> None:
            tell()
            paused()

        for message in messages:
            if message.reply_to is not None:
                self._expect(message)
        try:
            await instance.call_each(self._function, _calls(messages), results, pause)
            failed = 0
        finally:
            tell()
            for message in messages[len(results) + failed :]:  # the component has not seen them
                self._forget(message)

    def _failure(self, error: Err[Any] | None) -> Outcome:
        if error is None:
            return None
        made = self._judge(error.value)
        made.__cause__ = error
        return made

    def _forget(self, message: Message) -> None:
        if message.reply_to is not None and self._replies is not None:
            self._replies.answered(message.reply_to)


class MessagingHandler(ExportAdapter):
    """Calls ``handle-message`` of 0.3.0, whose errors say what is to become of the message."""

    trigger = "messaging"
    interface = f"{PACKAGE}/handler@0.3.0"

    def adapt(self, export: Export) -> MessageHandler:
        """Return what calls the export for one table of the trigger."""
        function = f"{export.name}#handle-message"

        async def bound(binding: TriggerBinding) -> Handle:
            return _HandleEach(function, binding, self.judge)

        return bound

    def judge(self, error: Any) -> Exception:
        """Return what an error that the component returned asks for."""
        if error.tag == "reject":
            return HandlerRejected("the handler rejected it")
        return HandlerFailed("the handler asked for it again" if error.tag == "retry" else str(error.value))


class MessagingHandler02(MessagingHandler):
    """Calls ``handle-message`` of 0.2.0, whose errors are text: each counts as retry."""

    interface = f"{PACKAGE}/handler@0.2.0"

    def judge(self, error: Any) -> Exception:
        """Return the same for whatever text."""
        return HandlerFailed(str(error))


@hookimpl
def wasmplex_export_adapters() -> Iterable[ExportAdapter]:
    """Register what the trigger ``messaging`` calls."""
    return [MessagingHandler(), MessagingHandler02()]


@hookimpl
def wasmplex_interfaces() -> Iterable[InterfaceProvider]:
    """Register the package in both versions."""
    return [WasmcloudMessaging(), WasmcloudMessaging02()]
