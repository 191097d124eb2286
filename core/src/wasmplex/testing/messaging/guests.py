"""Reaching a broker as guests of ``wasmcloud:messaging`` do, in both versions."""

from __future__ import annotations

from typing import Any

from wasmplex.capabilities.messaging import FEATURES, MessagingBackend
from wasmplex.interfaces.messaging.policy import MessagingSettings
from wasmplex.policy import Scope
from wasmplex.testing.kit import Guest, Refused
from wasmplex.testing.kit import GuestDriver as Base
from wasmplex.testing.messaging.driver import MessagingDriver, Sender

__all__ = ["GuestDriver", "OldGuestDriver"]


class GuestDriver(Base[MessagingBackend], MessagingDriver):
    """Through a guest of 0.3.0, whose bodies are streams."""

    features = FEATURES
    component = "messaging.wasm"
    package = "wasmcloud:messaging"
    labels = ("kit",)
    exports = "tests:guests"
    send = "send"

    def refusal(self, error: Any) -> Refused:
        """Return the typed error."""
        return Refused(error.tag, error.value or "")

    async def sender(self, scope: Scope, settings: MessagingSettings) -> Sender:
        """Return a guest that sends through a binding."""
        values = settings.model_dump(exclude_unset=True) | {"namespace": scope.namespace}
        if "namespaces" not in self.backend.features:
            del values["namespace"]
        key = scope.workload, scope.namespace, repr(sorted(values.items()))
        return _GuestSender(await self.bound(key, scope.workload, values), self)


class OldGuestDriver(GuestDriver):
    """Through a guest of 0.2.0, whose errors are text."""

    component = "messaging-old.wasm"
    send = "send-old"

    def refusal(self, error: Any) -> Refused:
        """Return the error that the text begins with."""
        case, _, text = str(error).partition(": ")
        return Refused(case, text)


class _GuestSender:
    def __init__(self, guest: Guest, driver: GuestDriver) -> None:
        self._guest = guest
        self._driver = driver

    async def publish(self, subject: str, body: bytes, reply_to: str | None = None) -> None:
        await self._guest.call(f"{self._driver.send}#publish", subject, body, reply_to)

    async def request(self, subject: str, body: bytes, seconds: float = 10.0) -> bytes:
        milliseconds = int(seconds * 1000)
        answer = await self._guest.call(f"{self._driver.send}#request", subject, body, milliseconds)
        return bytes(answer[1])
