"""The standard streams as commands have them."""

from __future__ import annotations

import io
import sys
from typing import TextIO

from wasmplex.cli.descriptors import occupy
from wasmplex.cli.messages import Messages
from wasmplex.cli.output import Output

__all__ = ["take"]


def take() -> None:
    """Have `sys.stdout` say what is wrong when it fails, and `sys.stderr` never fail."""
    occupy()
    # Python leaves None for what was closed when it started.
    sys.stdin = sys.stdin or io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    sys.stdout = _text(sys.stdout, Output())
    sys.stderr = _text(sys.stderr, Messages(2))


def _text(given: TextIO | None, raw: io.RawIOBase) -> io.TextIOWrapper:
    """Return a stream like the given one; what its encoding does not have is written as an escape."""
    encoding = "utf-8" if given is None else given.encoding
    return io.TextIOWrapper(raw, encoding, "backslashreplace", write_through=True)  # type: ignore[arg-type]  # it buffers nothing
