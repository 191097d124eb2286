"""Host functions of the type ``func()``: nothing crosses as a value, so a call costs next to nothing.

What such a function takes and returns lies in a memory that the host sees (`Instance.memories`). It is
generated code that is put into the callback itself, and finds what it needs in an object of its own for each
instance, made when the instance first calls one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["BareFunction"]


@dataclass(frozen=True, slots=True)
class BareFunction:
    """A host function of the type ``func()``.

    :ivar begin: makes the object that the bare functions of an instance are given
    :ivar lines: statements that serve a call; ``s`` is that object. Where they leave early they ``return 0``;
        those of a function that may wait end with a coroutine in ``co``
    :ivar namespace: the globals of the statements
    :ivar finish: for a function that may wait: is given ``s`` and what the coroutine returned
    :ivar fail: for one that may wait: is given ``s`` and the `Err` it raised; None if it has no err case
    :ivar name: what errors call it, if that is not the name that it is linked under
    :ivar counted: whether it is a call of the guest's, of which there may be so many
    :ivar kept: where the store keeps that object: another for each memory that such functions have to do with
    """

    begin: Callable[[Any], Any]
    lines: Sequence[str]
    namespace: Mapping[str, Any]
    finish: Callable[[Any, Any], None] | None = None
    fail: Callable[[Any, Any], None] | None = None
    name: str = ""
    counted: bool = True
    kept: Literal["bare", "bare_aside"] = "bare"
