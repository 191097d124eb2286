"""The thread that a host lives in: its event loop, its guests and its backends know no other."""

from __future__ import annotations

from threading import get_ident

from wasmplex.errors import UsageError

__all__ = ["OwnThread"]


class OwnThread:
    """Remembers the thread that it was made in."""

    __slots__ = ("_ident",)

    def __init__(self) -> None:
        self._ident = get_ident()

    def require(self, what: str) -> None:
        """Do nothing in that thread.

        :param what: what is being used
        :raises wasmplex.errors.UsageError: in any other thread
        """
        if get_ident() != self._ident:
            raise UsageError(
                f"{what} is used in a thread that is not its own",
                why="a host runs on one event loop in one thread, and is not safe in others",
                fix="anyio.from_thread.run(host.call, ...), or a host of its own for each thread",
            )
