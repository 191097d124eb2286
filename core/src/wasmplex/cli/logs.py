"""Log lines on standard error."""

from __future__ import annotations

import logging
import sys

__all__ = ["set_up_logging"]


def set_up_logging(format_: str, level: int | str) -> None:
    """Print the host's records from `level` on, everybody else's from warnings on."""
    logging.basicConfig(format=format_, stream=sys.stderr, level=logging.WARNING, force=True)
    logging.getLogger("wasmplex").setLevel(level)
