"""How component-model values look in Python.

===================  ==========================================================
WIT                  Python
===================  ==========================================================
bool                 bool
s8 ... u64           int
f32, f64             float
char, string         str
list<u8>             bytes (any bytes-like object is accepted from the host)
list<T>              list (any sequence is accepted)
tuple<A, B>          tuple
record               dict, keyed by the WIT field names (``"ttl-ms"``)
variant              `Variant`
enum                 str, the case name
flags                frozenset of str
option<T>            None, or the value itself; `Some` only when T is itself an
                     option (``option<option<T>>``), where None is ambiguous
result<T, E>         as the result of a function: the value is returned, `Err`
                     is raised. Anywhere else: `Ok` or `Err` as a value
map<K, V>            dict
own<R>, borrow<R>    a resource the host implements: the Python object itself;
                     a resource the guest implements: an opaque handle
===================  ==========================================================
"""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar, overload

__all__ = ["Err", "Ok", "Some", "Variant"]

T = TypeVar("T")


class Variant(NamedTuple):
    """One case of a WIT ``variant``: the case's name and its payload (None without one)."""

    tag: str
    value: Any = None


class Some(NamedTuple, Generic[T]):
    """A present ``option`` whose own type is an option; elsewhere the bare value is used."""

    value: T


class Ok(NamedTuple, Generic[T]):
    """The ``ok`` case of a ``result`` that is not the result of a function."""

    value: T | None = None


class Err(Exception, Generic[T]):
    """The ``err`` case of a ``result``.

    Raised by a host function to make the guest see ``err(value)``; raised to the caller of a guest
    function that returned one; and used as a plain value where a ``result`` is nested.
    """

    value: T

    @overload
    def __init__(self: Err[None]) -> None: ...
    @overload
    def __init__(self, value: T) -> None: ...
    def __init__(self, value: Any = None) -> None:
        super().__init__(value)
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Err) and self.value == other.value

    def __hash__(self) -> int:
        return hash(("err", self.value))

    def __repr__(self) -> str:
        return f"Err({self.value!r})"
