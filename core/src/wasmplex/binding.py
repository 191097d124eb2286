"""Opens what a workload's imports need and has plugins serve them, whatever the plugins do."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import NamedTuple

from wasmplex.assembly import PlannedWorkload
from wasmplex.backends import BackendPool
from wasmplex.errors import PluginError, WasmplexError
from wasmplex.logs import get_logger
from wasmplex.metering import metered
from wasmplex.metrics import Figures
from wasmplex.plugins.backends import Backend
from wasmplex.plugins.contracts import BoundInterfaces, HostFunctions, InterfaceProvider, WorkloadContext
from wasmplex.plugins.secrecy import secrets_of
from wasmplex.plugins.triggers import TriggerSource
from wasmplex.policy.deadline import within
from wasmplex.redaction import KNOWN, Redactor, secrets_in
from wasmplex.routing import BackendRoute, Plan, Route, TriggerRoute

__all__ = ["Served", "serve"]

logger = get_logger("wasmplex.plugins")

_TIMEOUT = 10.0
"""Seconds that a provider may take to be bound, and to be released."""


class Served(NamedTuple):
    """What a workload has been given.

    :ivar imports: the functions that serve each import, by its name
    :ivar sources: where the messages of each of its triggers come from, in the order of `Plan.triggers`
    :ivar layers: the same as `imports` for each of its middleware
    """

    imports: dict[str, HostFunctions]
    sources: list[TriggerSource | None]
    layers: tuple[dict[str, HostFunctions], ...] = ()


async def serve(
    planned: PlannedWorkload, pool: BackendPool, stack: AsyncExitStack, figures: Figures | None = None
) -> Served:
    """Open what a workload's imports and triggers need.

    :param figures: where calls of what a backend serves are counted, if they are

    :raises wasmplex.errors.BackendError: if a backend cannot be opened
    :raises wasmplex.errors.PluginError: if a provider raises, hangs or returns something else
    """
    layers = [(await _serve(layer, pool, stack, figures)).imports for layer in planned.middleware]
    served = await _serve(planned, pool, stack, figures)
    return served._replace(layers=tuple(layers))


async def _serve(
    planned: PlannedWorkload, pool: BackendPool, stack: AsyncExitStack, figures: Figures | None
) -> Served:
    """Open what one component needs, with its own grants."""
    for route in planned.plan.routes:
        settings = [route.settings, *(part.settings for part in route.parts.values())]
        stack.enter_context(KNOWN.holding(secrets_in(settings)))
    backends = await _open_backends(planned, pool, stack)
    context = WorkloadContext(planned.config.name, planned.plan.grants, limits=planned.config.limits)
    bound: dict[int, BoundInterfaces] = {}
    served: dict[str, HostFunctions] = {}
    for route in planned.plan.routes:
        if route.provider is None:
            continue
        if id(route.provider) not in bound:
            bound[id(route.provider)] = await stack.enter_async_context(_bound(route, context))
        functions = _served(route, bound[id(route.provider)], backends)
        if figures is not None and route.backends:
            label = route.import_.label or route.import_.interface or route.import_.name
            functions = metered(functions, figures, planned.config.name, label)
        served[route.import_.name] = functions
    sources = [_source(route, backends, served) for route in planned.plan.triggers]
    return Served(served, [source and replace(source, shared=context.shared) for source in sources])


def _source(
    route: TriggerRoute, backends: Mapping[int, Backend], served: Mapping[str, HostFunctions]
) -> TriggerSource | None:
    if (own := route.backend) is not None:
        return TriggerSource(backends[id(own)], {}, route.namespace, str(own.plugin))
    backend, namespace = route.origin
    if route.source is None or backend is None:
        return None
    functions = served[route.source.import_.name]
    return TriggerSource(backends[id(backend)], functions, namespace, str(backend.plugin))


@asynccontextmanager
async def _bound(route: Route, context: WorkloadContext) -> AsyncIterator[BoundInterfaces]:
    """Bind a provider and release it at the end; an error in that is logged, for nobody can act on it."""
    provider = route.provider
    assert provider is not None  # noqa: S101  see serve()
    what = f"{provider.package} cannot be bound for workload {context.name!r}"
    try:
        manager = provider.bind(context)
        bound: object = await within(_TIMEOUT, _entered(manager))
    except WasmplexError:
        raise
    except TimeoutError as error:
        why = f"bind() did not return within {_TIMEOUT:g} s"
        raise PluginError(what, where=str(route.plugin), why=why) from error
    except (Exception, SystemExit) as error:
        raise _failed(what, route, error) from error
    if not isinstance(bound, BoundInterfaces):
        why = f"bind() gave a {type(bound).__name__}, which is no BoundInterfaces"
        raise PluginError(what, where=str(route.plugin), why=why)
    try:
        yield bound
    finally:
        try:
            await within(_TIMEOUT, _left(manager))
        except (Exception, SystemExit) as error:  # noqa: BLE001  the others are to be released as well
            logger.warning("%s: releasing %s failed: %s", route.plugin, provider.package, _text(route, error))


# `within` and no cancel scope: a provider may enter scopes of its own here that last until it is released.


async def _entered(manager: AbstractAsyncContextManager[BoundInterfaces]) -> BoundInterfaces:
    return await manager.__aenter__()


async def _left(manager: AbstractAsyncContextManager[BoundInterfaces]) -> None:
    await manager.__aexit__(None, None, None)


def _served(route: Route, bound: BoundInterfaces, backends: Mapping[int, Backend]) -> HostFunctions:
    what = f"the import {route.import_.name!r} cannot be served"
    try:
        functions: object = bound.serve(route.request(backends))
    except WasmplexError:
        raise
    except (Exception, SystemExit) as error:
        raise _failed(what, route, error) from error
    if isinstance(functions, Mapping):
        return functions
    if inspect.iscoroutine(functions):
        functions.close()
        raise PluginError(
            what, where=str(route.plugin), why="serve() is async", fix="write it with plain def"
        )
    why = f"serve() returned a {type(functions).__name__}, which is no mapping of functions"
    raise PluginError(what, where=str(route.plugin), why=why)


def _failed(what: str, route: Route, error: BaseException) -> PluginError:
    assert isinstance(route.provider, InterfaceProvider)  # noqa: S101  see serve()
    logger.debug("%s: %s", route.plugin, what, exc_info=error)
    where = "; ".join(filter(None, (str(route.plugin), str(route.where or ""))))
    fix = "report it to the author of the plugin"
    return PluginError(what, where=where, why=_text(route, error), fix=fix)


def _text(route: Route, error: BaseException) -> str:
    """Return what a plugin raised, without the secrets of the binding."""
    secrets = secrets_in(route.settings)
    for backend in route.backends:
        secrets |= secrets_of(backend.provider, backend.settings, backend.hidden)
    text = Redactor(secrets).error(error)
    return text if str(error).strip() else f"{text} no message"


async def _open_backends(
    planned: PlannedWorkload, pool: BackendPool, stack: AsyncExitStack
) -> dict[int, Backend]:
    backends: dict[int, Backend] = {}
    for route in planned.plan.backends:
        lease = pool.lease(
            route.provider,
            route.settings,
            where=str(route.where),
            plugin=route.plugin.requirement,
            hidden=route.hidden,
            holder=f"{planned.config.name}/{_user(planned.plan, route)}",
            reread=route.reread,
        )
        backends[id(route)] = await stack.enter_async_context(lease)
    return backends


def _user(plan: Plan, backend: BackendRoute) -> str:
    """Return what uses a backend: a label, an interface, or a trigger."""
    for route in plan.routes:
        if any(one is backend for one in route.backends):
            return route.import_.label or route.import_.interface
    return next(f"trigger.{route.name}" for route in plan.triggers if route.backend is backend)
