"""Checks what a plugin's hooks return before anything else sees it, and tells its author what is wrong."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from wasmplex.plugins.backends import BackendProvider
from wasmplex.plugins.contracts import InterfaceProvider
from wasmplex.plugins.identity import Group
from wasmplex.plugins.triggers import ExportAdapter, Trigger
from wasmplex.settings import Settings
from wasmplex.wit.names import InterfaceId, SemVer

if TYPE_CHECKING:
    import click

__all__ = ["HOOKS", "RESERVED_KEYS", "Contribution", "InvalidHookResult", "collect", "sort_pieces"]

RESERVED_KEYS = frozenset({"backend", "from", "interface", "interfaces", "version"})
"""Keys of a binding that mean the same for every backend; no settings model may have one of them."""

_MOST_PIECES = 1000
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_PACKAGE = re.compile(r"[a-z][a-z0-9-]*(:[a-z][a-z0-9-]*)+")


class InvalidHookResult(Exception):
    """Raised when a hook returned something that cannot be used; the message says what and how to mend it."""


@dataclass(frozen=True)
class Contribution:
    """Everything that one plugin registered."""

    backends: tuple[BackendProvider[Any], ...] = ()
    interfaces: tuple[InterfaceProvider, ...] = ()
    export_adapters: tuple[ExportAdapter, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    commands: tuple[click.Command, ...] = ()

    @property
    def pieces(self) -> tuple[object, ...]:
        """All of them."""
        return (*self.backends, *self.interfaces, *self.export_adapters, *self.triggers, *self.commands)

    @property
    def capabilities(self) -> Mapping[str, tuple[str, ...]]:
        """What each of its backends is for."""
        names = {b.name for b in self.backends}
        return {name: tuple(b.capability for b in self.backends if b.name == name) for name in names}

    @property
    def offers(self) -> Mapping[Group, tuple[str, ...]]:
        """The names it offers in each group, for plugins without entry points."""
        triggers = {t.name for t in self.triggers}
        # Adapters of its own triggers are found by the names of these.
        others = [a for a in self.export_adapters if a.trigger not in triggers]
        packages = {i.package for i in self.interfaces}
        packages |= {InterfaceId.parse(a.interface).package_name for a in others}
        names = {
            Group.BACKENDS: {b.name for b in self.backends},
            Group.INTERFACES: packages,
            Group.TRIGGERS: triggers,
            Group.COMMANDS: {c.name or "" for c in self.commands},
        }
        return {group: tuple(sorted(found)) for group, found in names.items() if found}

    def describe(self) -> tuple[str, ...]:
        """Return one line for each piece."""
        backends = [f"backend {b.name}: {_list(b.capability, b.features)}" for b in self.backends]
        interfaces = [
            f"interface {_list('@'.join(filter(None, (i.package, i.version))), i.interfaces)}"
            for i in self.interfaces
        ]
        adapters = [f"export {a.interface} (trigger {a.trigger})" for a in self.export_adapters]
        triggers = [f"trigger {t.name}" for t in self.triggers]
        return (*backends, *interfaces, *adapters, *triggers, *(f"command {c.name}" for c in self.commands))


def _list(head: str, names: Iterable[str]) -> str:
    tail = ", ".join(sorted(names))
    return f"{head} ({tail})" if tail else head


def collect(result: object, kind: type[Any], check: Callable[[Any], None]) -> tuple[Any, ...]:
    """Return the pieces in what a hook returned; None is an empty list.

    :param kind: the class that each piece has to be an instance of
    :param check: raises `InvalidHookResult` for a piece that is of the class and still wrong
    :raises InvalidHookResult: if it is not an iterable of such pieces
    """
    if result is None:
        return ()
    if inspect.iscoroutine(result):
        result.close()
        raise InvalidHookResult("it is an async function; hooks only register, write it with plain def")
    if inspect.isasyncgen(result) or inspect.isawaitable(result):
        raise InvalidHookResult(f"it returned {_kind(result)}, which nobody awaits; hooks only register")
    if isinstance(result, kind):
        raise InvalidHookResult(f"it returned one {kind.__name__}, not a list of them; put it in [ ]")
    if isinstance(result, (str, bytes, Mapping)) or not isinstance(result, Iterable):
        raise InvalidHookResult(f"it returned {_kind(result)}; return a list of {kind.__name__} objects")
    pieces = tuple(islice(result, _MOST_PIECES + 1))
    if len(pieces) > _MOST_PIECES:
        raise InvalidHookResult(f"it returned more than {_MOST_PIECES} items; does its generator ever end?")
    for piece in pieces:
        if isinstance(piece, type) and issubclass(piece, kind):
            raise InvalidHookResult(f"it returned a class; return an object: {piece.__name__}()")
        if not isinstance(piece, kind):
            raise InvalidHookResult(f"it returned {_kind(piece)} in its list; each item is a {kind.__name__}")
        check(piece)
    return pieces


def _kind(value: object) -> str:
    name = f"class {value.__name__}" if isinstance(value, type) else f"value of type {type(value).__name__}"
    return f"a {name}"


# ---------------------------------------------------------------- one check for each kind of piece


def _check_backend(provider: BackendProvider[Any]) -> None:
    _text(provider, "name", _NAME, 'a short name in lower case, as a binding writes it: "redis"')
    _text(provider, "capability", _NAME, 'the capability it is a backend for: "keyvalue"')
    _settings(provider, "settings", RESERVED_KEYS)
    _strings(provider, "features")
    _asynchronous(provider, "open")


def _check_interface(provider: InterfaceProvider) -> None:
    _text(provider, "package", _PACKAGE, 'a WIT package without version: "wasi:keyvalue"')
    _version(provider, provider.version)
    _strings(provider, "interfaces")
    _strings(provider, "routes_by_resource")
    if not provider.interfaces:
        raise InvalidHookResult(f"{type(provider).__name__}.interfaces is empty; name those it serves")
    if unknown := provider.routes_by_resource - provider.interfaces:
        raise InvalidHookResult(
            f"{type(provider).__name__}.routes_by_resource names {', '.join(sorted(unknown))}, "
            "which its interfaces do not"
        )
    if provider.capability is not None:
        _text(provider, "capability", _NAME, 'a capability, "keyvalue", or None')
    _settings(provider, "settings", RESERVED_KEYS)
    _synchronous(provider, "features")
    _synchronous(provider, "bind", "an async context manager, as @asynccontextmanager makes one")


def _check_adapter(adapter: ExportAdapter) -> None:
    _text(adapter, "trigger", _NAME, 'the trigger that uses it: "http"')
    interface = getattr(adapter, "interface", None)
    if not isinstance(interface, str) or InterfaceId.try_parse(interface) is None:
        raise InvalidHookResult(
            f"{type(adapter).__name__}.interface is {interface!r}; "
            'write an interface id: "wasi:http/incoming-handler@0.2.12"'
        )
    _synchronous(adapter, "adapt", "the async function that handles what happens")


def _check_trigger(trigger: Trigger) -> None:
    _text(trigger, "name", _NAME, 'what stands behind "trigger." in the configuration: "http"')
    _settings(trigger, "settings", frozenset())
    _settings(trigger, "host_settings", frozenset())
    if trigger.capability is not None:
        _text(trigger, "capability", _NAME, 'a capability, "messaging", or None')
    _asynchronous(trigger, "share")
    for method in ("source", "address"):
        _synchronous(trigger, method)
    _synchronous(trigger, "start", "a RunningTrigger")


def _check_command(command: click.Command) -> None:
    if not command.name:
        raise InvalidHookResult('a command has no name; write @click.command("name")')
    if command.callback is not None and inspect.iscoroutinefunction(inspect.unwrap(command.callback)):
        raise InvalidHookResult(
            f"command {command.name!r} is async; write it with plain def, and anyio.run in it"
        )


def _text(piece: object, attribute: str, pattern: re.Pattern[str], meaning: str) -> None:
    value = getattr(piece, attribute, None)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise InvalidHookResult(f"{type(piece).__name__}.{attribute} is {value!r}; it is {meaning}")


def _asynchronous(piece: object, method: str) -> None:
    if not inspect.iscoroutinefunction(getattr(piece, method)):
        raise InvalidHookResult(f"{type(piece).__name__}.{method} has to be an async function")


def _synchronous(piece: object, method: str, returns: str = "") -> None:
    """Refuse an async function whose coroutine nobody would await."""
    found = getattr(piece, method)
    if inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found):
        tail = f"; it returns {returns}" if returns else ""
        raise InvalidHookResult(f"{type(piece).__name__}.{method} is async; write it with plain def{tail}")


def _version(piece: object, value: object) -> None:
    try:
        valid = isinstance(value, str) and (not value or bool(SemVer.parse(value)))
    except ValueError:
        valid = False
    if not valid:
        raise InvalidHookResult(f'{type(piece).__name__}.version is {value!r}; write a version: "0.2.12"')


def _strings(piece: object, attribute: str) -> None:
    value = getattr(piece, attribute, None)
    if not isinstance(value, (set, frozenset)) or not all(isinstance(item, str) for item in value):
        raise InvalidHookResult(
            f"{type(piece).__name__}.{attribute} is {value!r}; write frozenset({{...}}) of strings"
        )


def _settings(piece: object, attribute: str, reserved: frozenset[str]) -> None:
    model = getattr(piece, attribute, None)
    if not isinstance(model, type) or not issubclass(model, Settings):
        raise InvalidHookResult(f"{type(piece).__name__}.{attribute} has to be a subclass of Settings")
    keys = {field.alias or name for name, field in model.model_fields.items()}
    if taken := sorted(keys & reserved):
        raise InvalidHookResult(
            f"{model.__name__} has the key {taken[0]!r}, which every binding has; give it another name"
        )


# ---------------------------------------------------------------- hooks


@dataclass(frozen=True, slots=True)
class Hook:
    """One hook and what it may return.

    :ivar field: where its pieces go in a `Contribution`
    :ivar kind: finds the class of its pieces (a function, so that click is not imported for nothing)
    """

    field: str
    kind: Callable[[], type[Any]]
    check: Callable[[Any], None]


def _command_class() -> type[Any]:
    import click

    return click.Command


HOOKS: Mapping[str, Hook] = {
    "wasmplex_backends": Hook("backends", lambda: BackendProvider, _check_backend),
    "wasmplex_interfaces": Hook("interfaces", lambda: InterfaceProvider, _check_interface),
    "wasmplex_export_adapters": Hook("export_adapters", lambda: ExportAdapter, _check_adapter),
    "wasmplex_triggers": Hook("triggers", lambda: Trigger, _check_trigger),
    "wasmplex_commands": Hook("commands", _command_class, _check_command),
}
"""Every hook that a plugin may implement."""


def sort_pieces(piece: object) -> dict[str, tuple[Any, ...]]:
    """Return a bare provider under the field of `Contribution` that it belongs to; empty if it is none.

    :raises InvalidHookResult: if it is a provider with something wrong about it
    """
    for hook in HOOKS.values():
        if hook.field == "commands" and "click" not in sys.modules:  # then it is no click command either
            continue
        if isinstance(piece, hook.kind()):
            hook.check(piece)
            return {hook.field: (piece,)}
    return {}
