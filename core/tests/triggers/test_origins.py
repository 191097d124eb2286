"""Whose records are that are logged for a message."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from wasmplex.capabilities.messaging import Message
from wasmplex.triggers.messaging.origins import Origins


class Delivered(SimpleNamespace):
    """A delivery, told from others by what it is."""

    __hash__ = object.__hash__


def test_what_is_asked_when_a_call_is_over_is_not_remembered() -> None:
    origins = Origins("shop")
    delivery: Any = Delivered(message=Message("orders", b"", headers={"x-request-id": "r1"}))
    with origins.of((delivery,)) as origin:
        assert origin.named[0] == "r1"
    origins.forget((delivery,))
    assert origin.named == ("", "", "", "shop")
    assert not origins._named
