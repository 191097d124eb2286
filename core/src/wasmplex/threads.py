"""The thread that a host lives in: its event loop, its guests and its backends know no other."""

from __future__ import annotations

from threading import get_ident
from typing import NoReturn

from wasmplex.errors import UsageError

__all__ = ["OwnThread"]


class OwnThread:
    """Remembers the thread that it was made in.

    :ivar ident: what `threading.get_ident` returns in it
    """

    __slots__ = ("ident",)

    def __init__(self) -> None:
        self.ident = get_ident()

    def require(self, what: str) -> None:
        """Do nothing in that thread.

        :param what: what is being used
        :raises wasmplex.errors.UsageError: in any other thread
        """
        if get_ident() != self.ident:
            self.refuse(what)

    def refuse(self, what: str) -> NoReturn:
        """Say that `what` is being used in another thread; `require` for those who cannot wait for a call.

        :raises wasmplex.errors.UsageError: always
        """
        raise UsageError(
            f"{what} is used in a thread that is not its own",
            why="a host runs on one event loop in one thread, and is not safe in others",
            fix="anyio.from_thread.run(host.call, ...), or a host of its own for each thread",
        )
