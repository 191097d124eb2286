"""Serves a WIT package of a plugin's own with plain Python classes, one for each interface.

Class and WIT are compared when the plugin is loaded, so that what does not fit is said before anything runs.
"""

from __future__ import annotations

import inspect
import keyword
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from wasmplex.errors import nearest
from wasmplex.logs import get_logger
from wasmplex.plugins.contracts import (
    BoundInterfaces,
    HostFunctions,
    ImportRequest,
    InterfaceProvider,
    WorkloadContext,
)
from wasmplex.plugins.validation import InvalidHookResult
from wasmplex.settings import Settings
from wasmplex.wit.names import FunctionName
from wasmplex.wit.source import WitFunction, WitInterface, WitPackage, WitSyntaxError, parse

__all__ = ["wit_package"]

_CLOSE_TIMEOUT = 10.0
logger = get_logger("wasmplex.plugins")


def wit_package(
    wit: Path | str,
    classes: Mapping[str, type],
    *,
    settings: type[Settings] = Settings,
    capability: str | None = None,
) -> InterfaceProvider:
    """Serve a WIT package with classes.

    .. code-block:: python

        class Lookup:
            def __init__(self, request: ImportRequest) -> None:
                self.settings = request.settings

            async def find(self, place: str) -> dict[str, float] | None: ...

        wit_package(Path(__file__).with_name("geo.wit"), {"lookup": Lookup})

    Each import, labelled or not, gets an object of its own, made with the `ImportRequest` or with nothing,
    as the class has it. A function ``find-all`` is the method ``find_all``; a resource ``cursor`` is a class
    ``Cursor`` inside the interface's class. Its ``__init__`` gets the `ImportRequest` as well, if it has a
    parameter ``request`` that is keyword-only. A method ``close`` is called when the workload ends.

    :param wit: the file, or the text itself if it has several lines
    :param classes: the class of each interface that is served, by the interface's name
    :param settings: the keys that a binding may have; the object finds them in `ImportRequest.settings`
    :param capability: the capability that a binding must bring a backend for; None if none is needed
    :raises wasmplex.plugins.validation.InvalidHookResult: with everything in which classes and WIT differ
    """
    package = _parsed(wit)
    if problems := list(_problems(package, classes)):
        raise InvalidHookResult("; ".join(problems))
    return _PlainPackage(package, dict(classes), settings, capability)


def _parsed(wit: Path | str) -> WitPackage:
    name = wit.name if isinstance(wit, Path) else "the WIT text"
    try:
        return parse(wit.read_text("utf-8") if isinstance(wit, Path) else wit)
    except OSError as error:
        raise InvalidHookResult(f"{name} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except WitSyntaxError as error:
        raise InvalidHookResult(f"{name}, {error}") from None


# ---------------------------------------------------------------- comparing


def _problems(package: WitPackage, classes: Mapping[str, type]) -> Iterator[str]:
    for name, class_ in classes.items():
        interface = package.interfaces.get(name)
        if interface is None:
            guess = nearest(name, package.interfaces)
            yield f"{package.name} has no interface {name!r}" + (f" ({guess})" if guess else "")
        elif not isinstance(class_, type):
            yield f"what serves {package.name}/{name} is no class"
        else:
            yield from _interface_problems(f"{package.name}/{name}", interface, class_)


def _interface_problems(where: str, interface: WitInterface, class_: type) -> Iterator[str]:
    scopes: dict[str | None, tuple[str, type | None]] = {None: (class_.__qualname__, class_)}
    for resource in interface.resources:
        name = _camel(resource)
        inner = getattr(class_, name, None)
        scopes[resource] = f"{class_.__qualname__}.{name}", inner if isinstance(inner, type) else None
    for owner, (name, scope) in scopes.items():
        functions = {
            _attribute(function): function
            for function in interface.functions.values()
            if FunctionName.parse(function.name).resource == owner
        }
        if scope is None:
            if functions:
                yield f"{name} is missing: the class of the resource {owner} of {where}"
            continue
        yield from _missing(where, name, scope, functions)
        yield from _extra(where, name, scope, functions)


def _missing(where: str, name: str, scope: type, functions: Mapping[str, WitFunction]) -> Iterator[str]:
    for attribute, function in functions.items():
        found = scope if attribute == "__init__" else getattr(scope, attribute, None)
        if not callable(found):
            own = [n for n in _public(scope) if n not in functions]
            guess = nearest(attribute, own)
            hint = f" ({guess})" if guess.startswith("did you") else ""
            yield f"{name} has no method {attribute}{hint} for {where}#{function}"
        elif reason := _arity_problem(scope, attribute, function):
            yield f"{name}.{attribute} does not fit {where}#{function}: {reason}"


def _extra(where: str, name: str, scope: type, functions: Mapping[str, WitFunction]) -> Iterator[str]:
    for attribute in _public(scope):
        if attribute not in functions and attribute not in ("close", "drop"):
            yield f"{name}.{attribute} is no function of {where}; if it is for the class alone: _{attribute}"


def _public(scope: type) -> list[str]:
    return [
        name
        for name, _ in inspect.getmembers(scope, callable)
        if not name.startswith("_") and not isinstance(getattr(scope, name), type)
    ]


def _arity_problem(scope: type, attribute: str, function: WitFunction) -> str:
    """Return why a method cannot be called with the parameters of a function, empty if it can."""
    static = FunctionName.parse(function.name).kind in ("static", "constructor")
    target: Callable[..., Any] = scope if attribute == "__init__" else getattr(scope, attribute)
    try:
        signature = inspect.signature(target)
        request = {"request": None} if attribute == "__init__" and _wants_keyword(scope) else {}
        signature.bind(*[None] * (len(function.params) + (not static)), **request)
    except TypeError as error:
        return f"it is called with ({', '.join(param for param, _ in function.params)}), and {error}"
    except ValueError:  # some functions written in C do not tell
        return ""
    return ""


def _attribute(function: WitFunction) -> str:
    """Return the name in Python."""
    parsed = FunctionName.parse(function.name)
    if parsed.kind == "constructor":
        return "__init__"
    name = parsed.name.replace("-", "_").lower()
    return f"{name}_" if keyword.iskeyword(name) else name


def _camel(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.split("-"))


# ---------------------------------------------------------------- serving


class _PlainPackage(InterfaceProvider):
    """One package and its classes."""

    def __init__(
        self,
        package: WitPackage,
        classes: Mapping[str, type],
        settings: type[Settings],
        capability: str | None,
    ) -> None:
        # Class variables of an ordinary provider; of this one there may be several.
        own = {"package": package.name, "version": package.version, "interfaces": frozenset(classes)}
        vars(self).update(own, settings=settings, capability=capability)
        self._package = package
        self._classes = classes

    def __repr__(self) -> str:
        return f"<wit_package {self.package}: {', '.join(sorted(self.interfaces))}>"

    def wit(self) -> WitPackage | None:
        """Return the text that the classes were compared with."""
        return self._package

    @asynccontextmanager
    async def bind(self, workload: WorkloadContext) -> AsyncIterator[BoundInterfaces]:
        """Make the objects of one workload, and close them at its end."""
        bound = _Bound(self._package, self._classes)
        try:
            yield bound
        finally:
            for served in reversed(bound.objects):
                await _close(served)


class _Bound(BoundInterfaces):
    def __init__(self, package: WitPackage, classes: Mapping[str, type]) -> None:
        self._package = package
        self._classes = classes
        self.objects: list[object] = []

    def serve(self, request: ImportRequest) -> HostFunctions:
        class_ = self._classes[request.name]
        served = class_(request) if _wants_request(class_) else class_()
        self.objects.append(served)
        functions: dict[str, Callable[..., Any]] = {}
        for name, function in self._package.interfaces[request.name].functions.items():
            resource = FunctionName.parse(name).resource
            scope = served if resource is None else getattr(class_, _camel(resource))
            attribute = _attribute(function)
            functions[name] = (
                _constructor(scope, request) if attribute == "__init__" else getattr(scope, attribute)
            )
        return functions


def _constructor(class_: type, request: ImportRequest) -> Callable[..., Any]:
    """Return what makes a resource for a guest: the class, told which import it is for if it asks."""
    return partial(class_, request=request) if _wants_keyword(class_) else class_


def _wants_keyword(class_: type) -> bool:
    try:
        found = inspect.signature(class_).parameters.get("request")
    except (TypeError, ValueError):
        return False
    return found is not None and found.kind is inspect.Parameter.KEYWORD_ONLY


def _wants_request(class_: type) -> bool:
    try:
        inspect.signature(class_).bind(None)
    except (TypeError, ValueError):
        return False
    return True


async def _close(served: object) -> None:
    close = getattr(served, "close", None)
    if not callable(close):
        return
    try:
        with anyio.move_on_after(_CLOSE_TIMEOUT, shield=True) as scope:
            result = close()
            if inspect.isawaitable(result):
                await result
        if scope.cancelled_caught:
            logger.warning("%s was not closed within %g s", type(served).__qualname__, _CLOSE_TIMEOUT)
    except Exception as error:  # noqa: BLE001  the others are to be closed as well
        logger.warning("%s failed to close: %s: %s", type(served).__qualname__, type(error).__name__, error)
