"""The tree of host errors. Each layer derives its own branch from one of the classes here.

::

    WasmplexError
    +-- UsageError            the input is wrong: configuration, component, command line (exit code 2)
    |   +-- ConfigError       host.toml or host.yaml does not say what it should
    |   +-- ComponentError    the file is not a component, or one that cannot be read
    |   +-- PluginError       a plugin cannot be found, loaded or trusted
    |   +-- RoutingError      imports and bindings do not fit together
    |   +-- LinkError         an import cannot be served as the component types it
    +-- FailureError          the input was right and it failed all the same (exit code 1)
        +-- BackendError      a backend could not be opened or reached
        +-- GuestError        the guest trapped, ran out of a limit, or is gone
            +-- Trap
            |   +-- LimitReached  a guest took more than a limit of its workload allows
            +-- CallCancelled
            +-- DeadlineExceeded
            +-- LimitExceeded
            +-- GuestExit     the guest ended itself, perhaps well
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar

from wasmplex.escaping import escape

__all__ = [
    "BackendError",
    "CallCancelled",
    "ComponentError",
    "ConfigError",
    "DeadlineExceeded",
    "Diagnostic",
    "FailureError",
    "GuestError",
    "GuestExit",
    "LimitExceeded",
    "LimitReached",
    "LinkError",
    "PluginError",
    "RoutingError",
    "Trap",
    "UsageError",
    "WasmplexError",
    "exited_well",
    "nearest",
    "nearest_file",
]


_KNOWN = "known: "


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong, in the parts a reader needs; all but `what` may be empty."""

    what: str
    """One sentence without a full stop at its end."""
    where: str = ""
    """``file:line``, table path, label, plugin, ``distribution==version``."""
    why: str = ""
    """The cause, in one line."""
    fix: str = ""
    """The line to type next."""
    lines: tuple[str, ...] = ()
    """What to write into a file, if that takes more than a line; `fix` says into which."""

    def render(self) -> str:
        """Return at most four lines: the sentence, then `where`, `why` and `fix`, each labelled; and `lines`.

        The parts may quote what a client, a guest or a file says: they are escaped here.
        """
        known = self.fix.startswith(_KNOWN)  # nothing to type, but what there is to choose from
        last = ("known", self.fix.removeprefix(_KNOWN)) if known else ("try", self.fix)
        parts = (("at", self.where), ("because", self.why), last)
        tail = [f"  {label}: {escape(' '.join(text.split()))}" for label, text in parts if text]
        return "\n".join(
            [f"error: {escape(self.what)}", *tail, *(f"      {escape(line)}" for line in self.lines)]
        )


class WasmplexError(Exception):
    """Base of everything the host raises on purpose. Never raised itself.

    :ivar diagnostics: everything found wrong, in the order it was found; at least one
    """

    exit_code: ClassVar[int] = 2

    def __init__(
        self, what: str | Sequence[Diagnostic], *, where: str = "", why: str = "", fix: str = ""
    ) -> None:
        if isinstance(what, str):
            what = (Diagnostic(what, where, why, fix),)
        self.diagnostics: tuple[Diagnostic, ...] = tuple(what)
        super().__init__("\n".join(d.render().removeprefix("error: ") for d in self.diagnostics))

    def render(self) -> str:
        """Return the text for a terminal: every diagnostic, each starting with ``error:``."""
        return "\n".join(d.render() for d in self.diagnostics)


class UsageError(WasmplexError):
    """The input is wrong and trying again will not help: configuration, component, arguments."""


class ConfigError(UsageError):
    """Raised when a configuration file cannot be read, parsed or understood."""


class ComponentError(UsageError):
    """Raised when a file is not a component, or one whose type sections cannot be read."""


class PluginError(UsageError):
    """Raised when a plugin that the configuration names cannot be found, imported or registered."""


class RoutingError(UsageError):
    """Raised when a workload's imports and its bindings do not fit together."""


class LinkError(UsageError):
    """Raised when an import cannot be served with the type the component gives it."""


class FailureError(WasmplexError):
    """The input was right, and the work failed all the same."""

    exit_code = 1


class BackendError(FailureError):
    """Raised when a backend cannot be opened or reached."""


class GuestError(FailureError):
    """Base of what ends a guest's call; the instance it happened in is not used again."""


class Trap(GuestError):
    """Raised when guest code executed a trap, or a host function failed with an untyped error."""


class LimitReached(Trap):
    """Raised in a call whose guest took more than its workload's ``limits`` allow.

    :param workload: whose guest it is
    :param key: the key of ``limits``
    :param why: what the guest did
    """

    def __init__(self, workload: str, key: str, why: str) -> None:
        super().__init__(
            f"workload {workload!r}: the guest reached limits.{key}",
            why=why,
            fix=f"raise limits.{key} of [workload.{workload}] if it needs more",
        )


class CallCancelled(GuestError):
    """Raised when the caller gave a call up before its end: an HTTP client that went away, say."""


class DeadlineExceeded(GuestError):
    """Raised when a call was still running at its deadline and was cancelled."""


class LimitExceeded(GuestError):
    """Raised when no instance may be made: too many of them, or memory above the workload's limit.

    In a call it is raised as well, when more passes to or from the guest than the host takes at once.

    :ivar called: whether it was raised in a call, so that the component may have done something already
    """

    called = False


class GuestExit(GuestError):
    """Raised when the guest asked to end: ``wasi:cli/exit``. With code 0 the call it ends was a success.

    :ivar code: its exit code, 0 to 255
    """

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"the guest exited with code {code}")


def exited_well(error: BaseException) -> bool:
    """Say whether the guest has ended itself with 0, which ends a call as a return does."""
    return isinstance(error, GuestExit) and error.code == 0


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the closest of `known`, or the sorted list of them.

    Returns an empty string when nothing is known.
    """
    names = sorted(set(known))
    if match := get_close_matches(name, names, n=1, cutoff=0.6):
        return f"did you mean {match[0]!r}?"
    return _all_of(names)


def nearest_file(name: str, known: Iterable[str]) -> str:
    """Return what `nearest` does, for names of files: that two end alike does not make them alike."""
    names = sorted(set(known))
    stems = {_stem(one) for one in names}
    alike = {*get_close_matches(_stem(name), stems, n=len(stems) or 1, cutoff=0.6)}
    alike |= {stem for stem in stems if sorted(stem) == sorted(_stem(name))}  # letters swapped: kv, vk
    close = get_close_matches(name, [one for one in names if _stem(one) in alike], n=1, cutoff=0)
    return f"did you mean {close[0]!r}?" if close else _all_of(names)


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _all_of(names: Sequence[str]) -> str:
    return f"{_KNOWN}{', '.join(names)}" if names else ""
