"""Runs one command and turns whatever it raises into a message and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from wasmplex.cli.failure import Failure, report
from wasmplex.cli.messages import finish
from wasmplex.cli.output import OutputError
from wasmplex.cli.root import root

__all__ = ["run"]


def run(args: Sequence[str]) -> int:
    """Run the command line.

    :returns: the exit code: 0 done, 1 the guest, a backend or the output failed, 2 bad usage or configuration
    """
    try:
        return _run(args)
    finally:
        finish()


def _run(args: Sequence[str]) -> int:
    try:
        result = root.main(list(args), prog_name="wasmplex", standalone_mode=False)
        sys.stdout.flush()
    except OutputError as error:
        return 1 if error.unread else report(Failure.of(error))
    except (KeyboardInterrupt, click.Abort):
        return 130
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except Exception as error:  # noqa: BLE001  the last place before the user
        return report(Failure.of(error))
    return result if isinstance(result, int) else 0
