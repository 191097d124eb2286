"""What the conformance kit of every capability is made of.

A kit has drivers (`Driver`), which reach a backend through its contract or through a guest; a `Bench`, which
opens the backend for a test; tests in subclasses of `Conformance`, `LifecycleTests` among them; and a
state machine (`ClientMachine`) that does what clients may do and compares with a model.
"""

from __future__ import annotations

from wasmplex.testing.kit.bench import Bench
from wasmplex.testing.kit.conformance import Conformance, expressible, long, needs
from wasmplex.testing.kit.drivers import Driver, Refused, outcome, refused
from wasmplex.testing.kit.guests import Guest, GuestDriver, by_transport
from wasmplex.testing.kit.lifecycle import LifecycleTests
from wasmplex.testing.kit.machine import ClientMachine, run_machine

__all__ = [
    "Bench", "ClientMachine", "Conformance", "Driver", "Guest", "GuestDriver", "LifecycleTests", "Refused",
    "by_transport", "expressible", "long", "needs", "outcome", "refused", "run_machine",
]  # fmt: skip
