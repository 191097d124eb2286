"""Whose records are that are logged for a message."""

from __future__ import annotations

from typing import Any

from wasmplex.capabilities.messaging import Message
from wasmplex.triggers.messaging.origins import Origins


class Delivered:
    """A delivery with its message."""

    message = Message("orders", b"", headers={"x-request-id": "r1"})


def test_what_is_asked_when_a_call_is_over_is_not_remembered() -> None:
    origins = Origins("shop")
    delivery: Any = Delivered()
    with origins.of((delivery,)) as origin:
        assert origin.named[0] == "r1"
    origins.forget((delivery,))
    assert origin.named == ("", "", "", "shop")
    assert not origins._named
