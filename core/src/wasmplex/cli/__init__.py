"""The command line. Each command is a module of its own, imported when it is used."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line and end the process."""
    import sys

    from wasmplex.cli.streams import take

    take()  # before anything else: what is imported might open a descriptor

    from wasmplex.cli.dispatch import run
    from wasmplex.cli.logs import take_over
    from wasmplex.redaction import KNOWN

    KNOWN.forget = False  # what is said when it ends may quote them as well
    take_over()
    sys.exit(run(sys.argv[1:]))
