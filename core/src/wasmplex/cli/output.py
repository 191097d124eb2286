"""Standard output: what a command was asked for, and nothing else.

While a command of the host runs, descriptor 1 and `sys.stdout` lead to standard error, and the command has a
descriptor of its own to print to. What a plugin or a library of it prints, when it is imported say, is then a
message, and what is read by programs is what the command meant.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import click

from wasmplex.cli.descriptors import wait_until_writable
from wasmplex.errors import FailureError
from wasmplex.escaping import escape

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = [
    "Output",
    "OutputError",
    "claimed",
    "columns",
    "descriptor",
    "echo",
    "echo_lines",
    "echo_safe",
    "encodable",
]


_USUAL, _ERROR = 1, 2
_DIGITS = 6


class OutputError(FailureError):
    """Raised when standard output does not take what is printed.

    :ivar unread: whether that is because nobody reads it any more, which nobody needs to be told
    """

    def __init__(self, error: OSError) -> None:
        closed = error.errno == errno.EBADF
        why = "it is closed" if closed else (error.strerror or str(error)).lower()
        super().__init__(f"standard output cannot be written: {why}")
        self.unread = error.errno == errno.EPIPE


class Output(io.RawIOBase):
    """Standard output as bytes; they are written at once.

    :ivar descriptor: where to
    """

    def __init__(self) -> None:
        self.descriptor = _USUAL

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self.descriptor

    def isatty(self) -> bool:
        """Say whether it is a terminal."""
        return os.isatty(self.descriptor)

    def move(self) -> bool:
        """Take another descriptor, and let the usual one lead to standard error; False if it is so."""
        if self.descriptor != _USUAL:
            return False
        self.descriptor = os.dup(_USUAL)
        os.dup2(_ERROR, _USUAL)
        return True

    def move_back(self) -> None:
        """Undo `move`."""
        if sys.__stdout__ is not None:
            sys.__stdout__.flush()  # to where it belongs
        os.dup2(self.descriptor, _USUAL)
        os.close(self.descriptor)
        self.descriptor = _USUAL

    def write(self, data: ReadableBuffer) -> int:
        """Write all of it.

        :raises OutputError: if that fails
        """
        left = memoryview(data).cast("B")
        size = len(left)
        while left:
            try:
                left = left[os.write(self.descriptor, left) :]
            except BlockingIOError:
                wait_until_writable(self.descriptor)
            except OSError as error:
                raise OutputError(error) from None
        return size


_claimed: list[TextIO] = []


def _ours() -> TextIO:
    return _claimed[-1] if _claimed else sys.stdout


def echo(line: str = "") -> None:
    """Print a line of what a command was asked for; what is in it may be foreign.

    :raises OutputError: if that fails
    """
    echo_safe(escape(line))


def echo_lines(text: str) -> None:
    """Print a text whose lines are the host's own, though what is in them may be foreign.

    :raises OutputError: if that fails
    """
    echo_safe("\n".join([escape(line, keep="\t") for line in text.removesuffix("\n").split("\n")]))


def echo_safe(text: str) -> None:
    """Print a text in which all that is foreign has been escaped.

    :raises OutputError: if that fails
    """
    click.echo(text, file=_ours())


def descriptor() -> int:
    """Return the descriptor of standard output, wherever the usual one leads."""
    return _ours().fileno()


def columns() -> int | None:
    """Return how many characters a line of standard output may have; None if any number will do.

    What is no terminal has room for a row a line, whatever ``COLUMNS`` says.
    """
    ours = _ours()
    try:
        if not ours.isatty():
            return None
        size = os.get_terminal_size(ours.fileno()).columns
    except (OSError, ValueError):
        return None
    said = os.environ.get("COLUMNS", "")
    return (int(said) if said.isdecimal() and len(said) < _DIGITS else size) or None


def encodable(text: str) -> bool:
    """Say whether the encoding of standard output has all of a text."""
    try:
        text.encode(getattr(_ours(), "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def claimed(*, for_good: bool = False) -> Iterator[None]:
    """Keep standard output for `echo`; what others print goes to standard error.

    :param for_good: for the rest of a process that is the host's own: libraries in C have buffers that are
        written when it ends, and others say good-bye then
    """
    if _claimed:
        yield
        return
    ours, raw = sys.stdout, getattr(sys.stdout, "buffer", None)
    _claimed.append(ours)
    sys.stdout = sys.stderr
    own = raw if isinstance(raw, Output) and raw.move() else None
    try:
        yield
    finally:
        if own is None or not for_good:
            sys.stdout = ours
            _claimed.clear()
        if own is not None and not for_good:
            own.move_back()
