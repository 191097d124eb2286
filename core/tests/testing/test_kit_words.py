"""What the kit says to the author of a backend."""

from __future__ import annotations

from wasmplex.capabilities.keyvalue import AccessDenied, Timeout
from wasmplex.testing.keyvalue import driver


def test_a_batch_that_takes_too_long_says_what_to_override() -> None:
    late = Timeout("no answer before the deadline")
    assert "override set_many: by default" in driver._refused("set-many", late).text
    assert "override" not in driver._refused("set", late).text
    assert "override" not in driver._refused("set-many", AccessDenied("no")).text
