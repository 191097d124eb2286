"""A host for tests of components: started in a line, called without ``await``.

The host runs on an event loop in a thread of its own, so a test needs no async of any kind.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import anyio
from anyio.abc import TaskStatus
from anyio.from_thread import BlockingPortal, start_blocking_portal

from wasmplex.capabilities.messaging import Message, MessagingBackend
from wasmplex.config import load
from wasmplex.errors import UsageError
from wasmplex.host import Host
from wasmplex.plugins.backends import Backend, BackendProvider, OpenContext
from wasmplex.settings import Settings
from wasmplex.testing.doubles import plugin
from wasmplex.testing.publishing import Published, published

__all__ = ["Binding", "HostFactory", "WasmHost", "host_factory"]

Binding: TypeAlias = "str | Mapping[str, Any] | BackendProvider[Any]"
"""What serves an import: a backend by name, a provider, or the keys of its binding, either as `backend`."""

_WORKLOAD = "under-test"


class WasmHost:
    """A running host. What its methods raise is what `wasmplex.Host` raises."""

    def __init__(self, host: Host, portal: BlockingPortal) -> None:
        self.host = host
        self._portal = portal

    def __repr__(self) -> str:
        return repr(self.host)

    @property
    def url(self) -> str:
        """Where the workloads answer HTTP requests, ``http://127.0.0.1:40123``.

        :raises wasmplex.errors.UsageError: if none does
        """
        if "http" not in self.host.addresses:
            raise UsageError("no workload has a trigger.http", fix="workload={'trigger': {'http': {}}}")
        return str(self.host.addresses["http"]["url"])

    def call(self, export: str, *args: Any, workload: str = "") -> Any:
        """Call an export: ``"run"``, or ``"acme:shop/cart@1.0.0#add"``.

        :param workload: its name, where there are several
        :raises wasmplex.values.Err: if the function returned the err case of its result
        :raises wasmplex.errors.GuestError: if it trapped or outlived its deadline
        """
        name = workload or next(iter(self.host.workloads))
        return self._portal.call(partial(self.host.call, name, export, *args))

    def publish(
        self, subject: str, body: bytes, *, seconds: float = 10.0, workload: str = ""
    ) -> list[Published]:
        """Send a message through the broker that a workload's ``trigger.messaging`` takes messages from.

        Returns when each handler that takes it has had it once, one outcome for each; tables that share a
        queue group or a durable name have one of them. ``"done"``, ``"retry"`` (it is delivered again, which
        is not waited for), ``"dead letter"``, or ``"given up"`` where there are no dead letters.

        A handler that fails raises nothing: that is an outcome.

        :param workload: its name, where there are several
        :raises wasmplex.capabilities.messaging.MessagingError: if the broker does not take it
        :raises wasmplex.errors.UsageError: if there is no such trigger, or none takes the subject
        :raises TimeoutError: if there are not all outcomes so many `seconds` after the broker has taken it
        """
        broker, namespace = self._broker(workload)
        message = Message(subject, body)
        return self._portal.call(published, self.host, broker, namespace, message, seconds)

    def request(self, subject: str, body: bytes, *, seconds: float = 10.0, workload: str = "") -> bytes:
        """Send a request in the same way, and return the body of the answer.

        :raises wasmplex.capabilities.messaging.MessagingError: if nobody answers
        """
        broker, namespace = self._broker(workload)
        return self._portal.call(broker.request, namespace, Message(subject, body), seconds).body

    def _broker(self, workload: str) -> tuple[MessagingBackend, str]:
        for binding in self.host.trigger_bindings("messaging"):
            if binding.workload.name == (workload or binding.workload.name) and binding.source is not None:
                assert isinstance(binding.source.backend, MessagingBackend)
                return binding.source.backend, binding.source.namespace
        raise UsageError(
            "no workload has a trigger.messaging", fix="workload={'trigger': {'messaging': ...}}"
        )


class HostFactory:
    """Starts hosts that run until the test ends; the fixture ``wasm_host`` is one.

    .. code-block:: python

        def test_a_slow_cache(wasm_host):
            shop = wasm_host("shop.wasm", cache=Delayed(MemoryProvider(), 2), store="memory")
            assert shop.call("price", "book") == 12
    """

    def __init__(self, portal: BlockingPortal, stack: ExitStack, directory: Path) -> None:
        self._portal = portal
        self._stack = stack
        self._directory = directory
        self._count = 0

    def __call__(
        self,
        component: Path | str,
        bindings: Mapping[str, Binding] | None = None,
        *,
        default: Mapping[str, Binding] | None = None,
        plugins: tuple[object, ...] = (),
        workload: Mapping[str, Any] | None = None,
        **labels: Binding,
    ) -> WasmHost:
        """Start a host with one component, or with a whole configuration.

        :param component: the component, or a configuration file (``.toml``, ``.yaml``), which takes no
            bindings
        :param bindings: what serves each label; those that are Python names may be keywords
        :param default: what serves each package that is imported without a label, ``"wasi:keyvalue"``
        :param plugins: plugins of this process, modules or objects
        :param workload: further keys of the workload: ``env``, ``limits``, ``trigger``, ...; what `bindings`,
            `default` and keywords say of an import wins over ``import`` and ``default`` in it
        :raises wasmplex.errors.WasmplexError: whatever keeps the host from starting
        """
        path, added = Path(component), list(plugins)
        if path.suffix not in (".toml", ".yaml", ".yml"):
            tables = dict(workload or {}, component=str(path.resolve()))
            for key, given in (("import", {**(bindings or {}), **labels}), ("default", default or {})):
                tables[key] = self._tables({**tables.get(key, {}), **given}, added)
            self._count += 1
            path = self._directory / f"wasm-host-{self._count}.yaml"
            text = {"http": {"listen": "127.0.0.1:0"}, "workload": {_WORKLOAD: tables}}
            path.write_text(json.dumps(text), "utf-8")  # JSON is YAML
        host = Host(load(path), plugins=added)
        self._stack.enter_context(self._running(host))
        return WasmHost(host, self._portal)

    def _tables(self, bindings: Mapping[str, Binding], plugins: list[object]) -> dict[str, Any]:
        tables: dict[str, Any] = {}
        for name, binding in bindings.items():
            table = dict(binding) if isinstance(binding, Mapping) else {"backend": binding}
            if isinstance(backend := table.get("backend"), BackendProvider):
                double = _Named(backend, f"double-{len(plugins) + 1}")
                plugins.append(plugin(double))
                table["backend"] = double.name
            tables[name] = table
        return tables

    @contextmanager
    def _running(self, host: Host) -> Iterator[None]:
        stop = self._portal.call(anyio.Event)
        future, _ = self._portal.start_task(_run, host, stop)
        try:
            yield
        finally:
            self._portal.call(stop.set)
            future.result(60)


async def _run(host: Host, stop: anyio.Event, *, task_status: TaskStatus[None]) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(host)
        await host.serve(stop, started=task_status.started, drain_timeout=5.0)


@contextmanager
def host_factory(directory: Path) -> Iterator[HostFactory]:
    """Start an event loop in a thread; on leaving, stop the hosts that were started in it.

    :param directory: where configurations are written, and relative paths in bindings start
    """
    with start_blocking_portal("asyncio") as portal, ExitStack() as stack:
        yield HostFactory(portal, stack, directory)


class _Named(BackendProvider[Settings]):
    """A provider under another name, so that one may serve several labels with a store for each."""

    def __init__(self, inner: BackendProvider[Any], name: str) -> None:
        own = {"name": name, "capability": inner.capability, "settings": inner.settings}
        vars(self).update(own, features=inner.features, durability=inner.durability)
        self._inner = inner

    async def open(self, settings: Settings, context: OpenContext) -> Backend:
        return await self._inner.open(settings, context)
