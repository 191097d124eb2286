"""Why a request is not taken."""

from __future__ import annotations

__all__ = ["Refused"]


class Refused(Exception):
    """Raised for what is not a request, or not one that is taken.

    :ivar status: the status to answer with, before the connection is closed
    :ivar reason: what is wrong, in words that the client gets; nothing that it sent is in them
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
