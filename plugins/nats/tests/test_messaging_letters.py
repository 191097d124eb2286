"""NATS as a broker: what is kept for the host itself, dead letters above all."""

from __future__ import annotations

import secrets

import pytest
from wasmplex.capabilities.messaging import Message
from wasmplex.testing.servers import NatsServer

from .brokers import durable, heard, opened

pytestmark = pytest.mark.anyio


async def test_a_dead_letter_that_is_sent_twice_is_kept_once(nats_server: NatsServer) -> None:
    """Its removal failed, or nobody said that it was sent."""
    async with opened(nats_server.url) as broker, broker.subscribe("", durable("twice", "twice.>")) as inbox:
        ours = secrets.token_hex(8)
        for number in (1, 1, 2):
            letter = {"Wasmplex-Letter": f"{ours}-{number}", "Trace": "1"}
            await broker.publish("", Message("twice.a", b"%d" % number, None, letter))
        found = await heard(inbox, 2)
        assert [(one.body, (one.headers or {})["Trace"]) for one in found] == [(b"1", "1"), (b"2", "1")]
