"""What the error trees of all capabilities have in common.

Each capability has a tree of its own, one class for each case of its WIT package's error. What the host does
with an error, whatever the capability, hangs on what stands here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

__all__ = ["CapabilityError", "ErrorCases"]


class CapabilityError(Exception):
    """Base of the errors that reach a guest. Never raised itself.

    :param text: the cause, in a few words that a guest may see: no secret, no path of the host
    :cvar case: the case of the WIT package's error
    :cvar summary: the case in words, for interfaces that lack it
    :cvar configured: whether it says what the configuration denies, and nothing of the server
    :cvar unavailable: whether it says that the server cannot be reached: the host then asks the server
        itself, and spares others the attempt until it answers
    """

    case: ClassVar[str]
    summary: ClassVar[str]
    unavailable: ClassVar[bool] = False
    configured: ClassVar[bool] = False

    def __init__(self, text: str = "") -> None:
        super().__init__(text or self.summary)


@dataclass(frozen=True, slots=True)
class ErrorCases:
    """Which classes of a capability stand for what may go wrong with any backend.

    :ivar capability: what the log calls it, ``"key-value"``
    :ivar base: the base of the tree
    :ivar timeout: no answer before the deadline
    :ivar unavailable: the connection was refused or lost
    :ivar exceeded: out of memory or disk, over a quota
    :ivar denied: no permission, or the configuration does not grant it
    :ivar other: what has no case
    """

    capability: str
    base: type[CapabilityError]
    timeout: type[CapabilityError]
    unavailable: type[CapabilityError]
    exceeded: type[CapabilityError]
    denied: type[CapabilityError]
    other: type[CapabilityError]
