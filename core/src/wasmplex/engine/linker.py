"""Links a compiled component to the Python functions that serve its imports."""

from __future__ import annotations

import ctypes
import inspect
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wasmplex.component.shape import Import, InstanceType, NamedType
from wasmplex.engine import capi
from wasmplex.engine.accounts import Account, LinearMemory, Tenant
from wasmplex.engine.bare import BareFunction
from wasmplex.engine.compiled import Compiled, unsupported
from wasmplex.engine.division import divide
from wasmplex.engine.entry import uninterrupted_entry
from wasmplex.engine.inplace import Fill, InPlaceFunction
from wasmplex.engine.instance import Instance
from wasmplex.engine.leaving import Leaving
from wasmplex.engine.pace import Internal, Pace
from wasmplex.engine.resources import HostObjects
from wasmplex.engine.store import STATES, StoreState, fail, take_error
from wasmplex.engine.traps import too_much
from wasmplex.engine.turns import Share
from wasmplex.errors import Diagnostic, LimitExceeded, LinkError, nearest
from wasmplex.plugins.contracts import HostFunction, HostFunctions
from wasmplex.plugins.limits import Limits
from wasmplex.wit.types import FuncType, Resource

__all__ = ["Linked", "link"]

_PATIENCE = 0.5
"""Part of the time of a call that it may wait for memory to make its instance with."""
_INSTANCES = 1_000
_TABLES = 1_000
_MEMORIES = 100


class Linked:
    """A component with all its imports served: instances are made from it. Made by `Engine.link`.

    :ivar workload: the name that errors give
    :ivar limits: what each instance may take
    :ivar locate: finds, among an instance's memories, that of the guest; None if nobody needs it
    :ivar share: its instances, as they share the event loop with those of others
    :ivar tenant: its instances, as they share memory with those of others
    :ivar leaving: what its ended instances have under way
    :ivar pace: how often its instances call the host, None if they may as often as they like
    """

    def __init__(self, compiled: Compiled, workload: str, limits: Limits, tenant: Tenant) -> None:
        self.compiled = compiled
        self.workload = workload
        self.limits = limits
        self.locate: Callable[[Sequence[LinearMemory]], LinearMemory] | None = None
        self.share = Share()
        self.tenant = tenant
        self.leaving = Leaving(compiled.services.cancelling, limits.calls_in_flight)
        rate = limits.host_calls_per_second
        self.pace = None if rate is None else Pace(workload, rate)
        self._division = divide(compiled.shape.capacity, limits)
        self.linker: int = capi.linker_new(compiled.variant.engine)
        self._callbacks: list[Any] = []
        weakref.finalize(self, _delete_linker, self.linker, self._callbacks)

    async def instantiate(self, *, elsewhere: bool = False) -> Instance:
        """Make an instance.

        :param elsewhere: whether it is better ended in another thread
        :raises wasmplex.errors.LimitExceeded: if it needs more than its limits from the start
        :raises wasmplex.errors.Trap: if its start function traps
        """
        known = self.compiled.needs
        try:
            return await self._instantiate(elsewhere)
        except LimitExceeded:
            if self.compiled.needs == known:
                raise
        return await self._instantiate(elsewhere)  # now it is known how much memory to wait for

    async def _instantiate(self, elsewhere: bool) -> Instance:
        if self.leaving:
            await self.leaving.room()
        instance = self.prepare(elsewhere=elsewhere)
        try:
            await instance.start(self.limits.timeout * _PATIENCE)
        except BaseException:
            instance.close()
            raise
        return instance

    def prepare(self, *, elsewhere: bool = False) -> Instance:
        """Return an instance that has not been started; see `instantiate`.

        :raises wasmplex.errors.LimitExceeded: if it needs more than its limits, as far as that is known
        """
        compiled, division = self.compiled, self._division
        if division.refused:
            raise too_much(self.workload, division.refused, division.why)
        bounds = (division.elements, _INSTANCES, _TABLES, _MEMORIES)
        objects = HostObjects(self.workload, self.limits.handles)
        account = Account(self.tenant, division.memory)
        store = StoreState(compiled.variant, compiled.services, self.share, account, objects, bounds)
        store.pace = self.pace
        store.elsewhere = elsewhere
        return Instance(self, store)

    def keep(self, callback: Any) -> int:
        """Keep a callback alive as long as the linker; return its address."""
        self._callbacks.append(callback)
        return capi.address(callback)


def _delete_linker(linker: int, callbacks: list[Any]) -> None:
    capi.linker_delete(linker)
    callbacks.clear()


def link(
    compiled: Compiled, imports: Mapping[str, Any], workload: str, limits: Limits, tenant: Tenant
) -> Linked:
    """Link a component; see `Engine.link`."""
    linked = Linked(compiled, workload, limits, tenant)
    problems: list[Diagnostic] = []
    root = capi.linker_root(linked.linker)
    try:
        for item in compiled.shape.imports:
            problems += _Importer(linked, item.name).link(root, item, imports)
    finally:
        capi.linker_instance_delete(root)
    if problems:
        raise LinkError(problems)
    return linked


class _Importer:
    """Links one import, collecting what is wrong with it."""

    def __init__(self, linked: Linked, name: str) -> None:
        self._linked = linked
        self._name = name
        self._problems: list[Diagnostic] = []

    def link(self, root: int, item: Import, imports: Mapping[str, Any]) -> list[Diagnostic]:
        match item.type:
            case InstanceType():
                self._instance(root, item.type, imports)
            case FuncType():
                served = imports.get("", {}).get(item.name) or imports.get(item.name)
                self._function(root, item.name, item.name, item.type, {item.name: served} if served else {})
            case Resource():
                self._resource(root, item.name, item.type)
            case _:
                if not isinstance(item.type, NamedType):
                    self._problem("it imports a module or component", "the host has none to give")
        return self._problems

    def _problem(self, what: str, why: str, fix: str = "") -> None:
        where = f"workload {self._linked.workload!r}, import {self._name!r}"
        self._problems.append(Diagnostic(what, where, why, fix))

    def _instance(self, root: int, type: InstanceType, imports: Mapping[str, Any]) -> None:
        served: HostFunctions | None = imports.get(self._name)
        if served is None and type.functions:
            self._problem("nothing serves this import", f"it has {len(type.functions)} functions",
                          nearest(self._name, imports))  # fmt: skip
            return
        instance = self._open(root)
        if not instance:
            return
        try:
            for name, extern in type.exports.items():
                if not isinstance(extern, (FuncType, Resource, NamedType)):
                    why = (
                        f"{name!r} in it is no function, resource or type: the host has nothing else to give"
                    )
                    self._problem("it cannot be linked", why)
            for name, resource in type.resources.items():
                self._resource(instance, name, resource)
            for name, function in type.functions.items():
                self._function(instance, name, f"{self._name}#{name}", function, served or {})
        finally:
            capi.linker_instance_delete(instance)

    def _open(self, root: int) -> int:
        out = (ctypes.c_uint64 * 1)()
        name = self._name.encode()
        self._check(capi.add_instance(root, name, len(name), ctypes.addressof(out)), self._name)
        return out[0]

    def _resource(self, instance: int, name: str, resource: Resource) -> None:
        resource_type = capi.resource_type_new_host(resource.id)
        try:
            drop = self._linked.keep(capi.DESTRUCTOR(destructor(f"[resource-drop]{name}")))
            text = name.encode()
            self._check(capi.add_resource(instance, text, len(text), resource_type, drop, 0, 0), name)
        finally:
            capi.resource_type_delete(resource_type)

    def _function(
        self, instance: int, name: str, full_name: str, type: FuncType, served: HostFunctions
    ) -> None:  # fmt: skip
        codec, text = self._linked.compiled.codec, name.encode()
        match found := served.get(name):
            case BareFunction():
                self._bare(instance, name, full_name, found)
                return
            case Fill():
                callback = self._linked.keep(capi.sync_callback(codec.fill_import(full_name)))
                self._check(capi.add_func(instance, text, len(text), callback, 0, 0), name)
                return
            case InPlaceFunction(of, _, _, type):
                full_name = f"{self._name}#{of}"
                served = {name: HostFunction(found.call, context=found.context)}
        if (function := self._served(name, type, served)) is None:
            return
        pace = None if isinstance(function, Internal) else self._linked.pace
        if _is_async(function.call):
            body = codec.async_import(full_name, type, function.call, function.context, pace)
            callback = self._linked.keep(capi.ASYNC_CALLBACK(body))
            error = capi.add_func_async(instance, text, len(text), callback, 0, 0)
        else:
            body = codec.sync_import(full_name, type, function.call, function.context, pace)
            callback = self._linked.keep(capi.sync_callback(body))
            error = capi.add_func(instance, text, len(text), callback, 0, 0)
        self._check(error, name)

    def _bare(self, instance: int, name: str, full_name: str, function: BareFunction) -> None:
        full_name = function.name or full_name
        body = self._linked.compiled.codec.bare_import(
            full_name, function, self._linked.pace if function.counted else None
        )
        text = name.encode()
        if function.finish is None:
            callback = self._linked.keep(capi.sync_callback(body))
            error = capi.add_func(instance, text, len(text), callback, 0, 0)
        else:
            callback = self._linked.keep(capi.ASYNC_CALLBACK(body))
            error = capi.add_func_async(instance, text, len(text), callback, 0, 0)
        self._check(error, name)

    def _served(self, name: str, type: FuncType, served: HostFunctions) -> HostFunction | None:
        if name not in served:
            self._problem(
                f"nothing serves its function {name!r}", nearest(name, served) or "nothing is served"
            )
            return None
        given = served[name]
        function = given if isinstance(given, HostFunction) else HostFunction(given)
        if (reason := unsupported(type)) is not None:
            self._problem(f"its function {name!r} cannot be linked directly", reason)
        elif not callable(function.call):
            self._problem(f"what serves its function {name!r} cannot be called", repr(function.call))
        elif (reason := _arity_problem(function, type)) is not None:
            self._problem(f"what serves its function {name!r} has another signature", reason)
        else:
            return function
        return None

    def _check(self, error: int, name: str) -> None:
        if error:
            self._problem(f"wasmtime refused {name!r}", take_error(error))


def destructor(name: str) -> Callable[[int, int, int], int]:
    """Return the body of a `capi.DESTRUCTOR` for the host's resources."""

    def destroy(data: int, ctx: int, rep: int) -> int:
        try:
            try:
                STATES[ctx].objects.drop(rep)
            except BaseException as error:  # noqa: BLE001  nothing may be raised through wasmtime
                return fail(ctx, name, error)
            return 0
        except BaseException as error:  # noqa: BLE001  a signal's handler raised while the first was kept
            return fail(ctx, name, error)

    return uninterrupted_entry(destroy)


def _is_async(call: Callable[..., Any]) -> bool:
    # Either a wrapper or what it wraps may be the one that is `async def`.
    targets = (call, inspect.unwrap(call), getattr(call, "__call__", None))  # noqa: B004  an async __call__
    return any(map(inspect.iscoroutinefunction, targets))


def _arity_problem(function: HostFunction, type: FuncType) -> str | None:
    try:
        signature = inspect.signature(function.call)
    except (TypeError, ValueError):
        return None  # some functions written in C do not tell
    expected = len(type.params) + function.context
    try:
        signature.bind(*[None] * expected)
    except TypeError as error:
        names = ", ".join([*(["instance"] if function.context else []), *(p.name for p in type.params)])
        return f"it is called with ({names}), and {error}"
    return None
