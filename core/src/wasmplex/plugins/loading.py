"""Imports one plugin and registers it, so that nothing it does can reach further than itself.

Each plugin gets a pluggy manager of its own. A registration that fails half-way is dropped with that manager,
so there is no half-registered state to roll back and no plugin can hear of another one's hooks.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import traceback
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import CodeType
from typing import Any

import pluggy

from wasmplex.errors import nearest
from wasmplex.plugins import hooks
from wasmplex.plugins.identity import PluginIdentity
from wasmplex.plugins.installation import installation
from wasmplex.plugins.validation import HOOKS, Contribution, InvalidHookResult, collect, sort_pieces

__all__ = ["LoadFailure", "import_file", "import_object", "load_object"]


class LoadFailure(Exception):
    """Raised when a plugin cannot be imported or registered.

    :ivar cause: one line
    :ivar fix: what to type next
    :ivar detail: the traceback, for the plugin's author
    """

    def __init__(self, cause: str, fix: str = "", detail: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.fix = fix
        self.detail = detail


class _FileLoader(SourceFileLoader):
    """Compiles a file each time that it is loaded.

    Bytecode that was kept counts as good if the source has the same size and second of change: what was
    edited a moment ago would not be seen.
    """

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def import_object(value: str, identity: PluginIdentity) -> Any:
    """Import what an entry point names: ``module`` or ``module:attribute``.

    :raises LoadFailure: whatever the module does, `SystemExit` included; only `KeyboardInterrupt` passes
    """
    module_name, _, attributes = value.partition("[")[0].strip().partition(":")
    try:
        found: Any = importlib.import_module(module_name.strip())
        for name in attributes.strip().split(".") if attributes.strip() else ():
            found = getattr(found, name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _import_failure(error, module_name.strip(), identity) from error
    return found


def import_file(path: Path, identity: PluginIdentity) -> Any:
    """Import a one-file plugin by its path; its directory is not added to `sys.path`.

    :raises LoadFailure: if the file is missing, or for whatever it does
    """
    if not path.is_file():
        raise LoadFailure("there is no such file", 'correct the path in plugins = ["..."]')
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    name = f"wasmplex_plugin_file_{digest}"  # never a name that Python could find on the import path
    try:
        loader = _FileLoader(name, str(path))
        spec = spec_from_loader(name, loader)  # it asks the loader where the module is: __file__ and the rest
        assert spec is not None  # noqa: S101  there is a loader
        module = module_from_spec(spec)
        sys.modules[name] = module  # dataclasses and pydantic look their own module up there
        loader.exec_module(module)
    except KeyboardInterrupt:
        sys.modules.pop(name, None)
        raise
    except BaseException as error:
        sys.modules.pop(name, None)
        raise _import_failure(error, name, identity) from error
    return module


def _import_failure(error: BaseException, module: str, identity: PluginIdentity) -> LoadFailure:
    """Tell an entry point that leads nowhere from a plugin whose own imports fail."""
    detail = "".join(traceback.format_exception(error))
    here, distribution = installation(), identity.distribution
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing and (missing == module or module.startswith(f"{missing}.")):
        return LoadFailure(
            f"its entry point names the module {module}, which is not there",
            f"{here.reinstall(distribution)}   (or: {here.uninstall(distribution)})",
            detail,
        )
    text = " ".join(str(error).split()) or "no message"
    if isinstance(error, SystemExit):
        text = f"it tried to end the process with code {error.code!r}"
    fix = here.reinstall(distribution) if missing and identity.version else ""
    return LoadFailure(f"its import failed: {type(error).__name__}: {text}", fix, detail)


def load_object(plugin: object) -> Contribution:
    """Register a plugin object (a module, an instance, or one bare provider) and return what it brings.

    :raises LoadFailure: naming the hook, if it registers nothing or something unusable
    """
    if isinstance(plugin, type):
        raise LoadFailure(f"it is the class {plugin.__name__}, not an object", f"write {plugin.__name__}()")
    try:
        if fields := sort_pieces(plugin):
            return Contribution(**fields)
    except InvalidHookResult as error:
        raise LoadFailure(str(error)) from error
    manager = _registered(plugin)
    contribution = Contribution(**{hook.field: _call(manager, name) for name, hook in HOOKS.items()})
    _refuse_twins(contribution)
    return contribution


def _registered(plugin: object) -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hooks.PROJECT)
    manager.add_hookspecs(hooks)
    try:
        manager.register(plugin, name="plugin")
        callers = manager.get_hookcallers(plugin) or []
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        text = " ".join(str(error).split())
        raise LoadFailure(
            f"it cannot be registered: {type(error).__name__}: {text}",
            detail="".join(traceback.format_exception(error)),
        ) from error
    unknown = sorted(caller.name for caller in callers if not caller.has_spec())
    if unknown:
        raise LoadFailure(f"it implements an unknown hook {unknown[0]!r}", nearest(unknown[0], HOOKS))
    if not callers:
        raise LoadFailure(
            "it registers nothing: it has no function marked with @hookimpl",
            f"write @hookimpl before def wasmplex_backends(); hooks: {', '.join(HOOKS)}",
        )
    return manager


def _call(manager: pluggy.PluginManager, name: str) -> tuple[Any, ...]:
    """Call one hook; whatever it raises names the hook."""
    caller = getattr(manager.hook, name)
    if not caller.get_hookimpls():
        return ()
    hook = HOOKS[name]
    try:
        results = caller()  # pluggy leaves None out
        return collect(results[0] if results else None, hook.kind(), hook.check)
    except InvalidHookResult as error:
        raise LoadFailure(f"hook {name}: {error}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        text = " ".join(str(error).split()) or "no message"
        raise LoadFailure(
            f"hook {name} raised {type(error).__name__}: {text}",
            detail="".join(traceback.format_exception(error)),
        ) from error


def _refuse_twins(contribution: Contribution) -> None:
    """Refuse a name that is registered twice for one capability, a package twice in one version."""
    seen: set[tuple[str, ...]] = set()
    keys: list[tuple[str, ...]] = [("backend", b.name, b.capability) for b in contribution.backends]
    keys += [("interface package", i.package, i.version) for i in contribution.interfaces]
    keys += [("trigger", t.name) for t in contribution.triggers]
    keys += [("command", c.name or "") for c in contribution.commands]
    for key in keys:
        if key in seen:
            raise LoadFailure(f"it registers the {key[0]} {' '.join(key[1:])} twice")
        seen.add(key)
