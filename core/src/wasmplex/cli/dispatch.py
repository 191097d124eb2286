"""Runs one command and turns whatever it raises into a message and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from wasmplex.cli.failure import Failure, report
from wasmplex.cli.root import root

__all__ = ["run"]


def run(args: Sequence[str]) -> int:
    """Run the command line.

    :returns: the exit code: 0 done, 1 the guest or a backend failed, 2 bad usage or configuration
    """
    try:
        result = root.main(list(args), prog_name="wasmplex", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone; without this, Python would say so once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KeyboardInterrupt, click.Abort):
        return 130
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except Exception as error:  # noqa: BLE001  the last place before the user
        return report(Failure.of(error))
    return result if isinstance(result, int) else 0
