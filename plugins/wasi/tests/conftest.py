"""Fixtures: calls the functions of a bound package by their full names, as the linker would."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from inspect import isawaitable
from typing import Any

import pytest
from host_plugin_wasi.packages import PROVIDERS
from wasmplex.component import read
from wasmplex.component.shape import InstanceType
from wasmplex.engine import Engine, EngineSettings
from wasmplex.engine.instance import Instance
from wasmplex.engine.linker import Linked
from wasmplex.plugin import Grants, HostFunction, ImportRequest, Limits, WorkloadContext
from wasmplex.testing.loops import EVENT_LOOPS, EventLoop

EMPTY = InstanceType({})


class FakeInstance:
    """The part of a guest instance that host functions see."""

    def __init__(self, workload: str = "w") -> None:
        self.workload = workload
        self.state: dict[Any, Any] = {}

    async def call(self, export: str, *args: Any) -> Any:
        raise NotImplementedError


class Package:
    """One bound package: ``await package("interface#function", ...)``."""

    def __init__(self, bound: Any, package: str, instance: FakeInstance) -> None:
        self.bound = bound
        self.package = package
        self.instance = instance

    async def __call__(self, function: str, *args: Any) -> Any:
        interface, _, name = function.partition("#")
        request = ImportRequest(f"{self.package}/{interface}@0.2.9", None, EMPTY)
        target = self.bound.serve(request)[name]
        if isinstance(target, HostFunction):
            if target.context:
                args = (self.instance, *args)
            target = target.call
        result = target(*args)
        return await result if isawaitable(result) else result


@asynccontextmanager
async def bind(
    package: str,
    grants: Grants | None = None,
    shared: dict[Any, Any] | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[Package]:
    """Bind one package for a workload named ``w``."""
    provider = next(p for p in PROVIDERS if p.package == package)()
    context = WorkloadContext("w", grants or Grants(), {} if shared is None else shared, limits or Limits())
    async with provider.bind(context) as interfaces:
        yield Package(interfaces, package, FakeInstance())


class Guest:
    """A component linked to the packages of this plugin, and what is needed to make instances of it."""

    def __init__(self, linked: Linked) -> None:
        self.linked = linked

    @asynccontextmanager
    async def instance(self) -> AsyncIterator[Instance]:
        instance = await self.linked.instantiate()
        try:
            yield instance
        finally:
            instance.close()

    async def call(self, export: str, *args: Any) -> Any:
        """Call an export of a fresh instance."""
        async with self.instance() as instance:
            return await instance.call(export, *args)


@asynccontextmanager
async def link(wasm: bytes, grants: Grants | None = None) -> AsyncIterator[Guest]:
    """Link a component as the workload ``w``."""
    shape = read(wasm)
    context = WorkloadContext("w", grants or Grants())
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(Engine(EngineSettings(use_cache=False)))
        packages = {
            provider.package: await stack.enter_async_context(provider().bind(context))
            for provider in PROVIDERS
        }
        imports = {
            item.name: packages[item.name.partition("/")[0]].serve(ImportRequest(item.name, None, item.type))
            for item in shape.imports
            if isinstance(item.type, InstanceType)
        }
        yield Guest(engine.link(await engine.compile(wasm, shape), imports, "w"))


@pytest.fixture
def linked() -> Callable[..., AbstractAsyncContextManager[Guest]]:
    return link


@pytest.fixture
def bound() -> Callable[..., AbstractAsyncContextManager[Package]]:
    return bind


@pytest.fixture(params=EVENT_LOOPS.values(), ids=list(EVENT_LOOPS))
def anyio_backend(request: pytest.FixtureRequest) -> EventLoop:
    loop: EventLoop = request.param
    return loop
