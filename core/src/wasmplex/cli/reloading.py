"""What is said when a configuration that was read again is not the one that is served from now on."""

from __future__ import annotations

from wasmplex.cli.failure import Failure, report
from wasmplex.cli.logs import say

__all__ = ["refused"]


def refused(error: Exception | None = None) -> None:
    """Say what is wrong, and that what is served goes on.

    :param error: None if that has been said
    """
    if error is not None:
        report(Failure.of(error))
    say("not reloaded: what was served before goes on")
